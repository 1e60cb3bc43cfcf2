//! What a guest is told of the exchange with the origin.

use super::{assembled, routes};
use crate::support::{Gateway, Origin, get};

/// Tells the client what it reads: the path is at 16, 22 bytes long, the field at 48, 6 bytes.
const TELLS: &str = r#"
(data (i32.const 16) "upstream.local_address")
(data (i32.const 48) "x-read")
(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
  (if (i32.eqz (call $property (i32.const 16) (i32.const 22) (i32.const 64) (i32.const 68)))
    (then (drop (call $replace (i32.const 2) (i32.const 48) (i32.const 6)
      (i32.load (i32.const 64)) (i32.load (i32.const 68))))))
  (i32.const 0))"#;

#[test]
fn the_local_end_of_the_connection_to_the_origin_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let module = assembled(folder.path(), TELLS);
    let origin = Origin::start(|_, stream| {
        let peer = stream.peer_addr().unwrap();
        let reply = format!("HTTP/1.1 200 OK\r\nX-Peer: {peer}\r\nContent-Length: 0\r\n\r\n");
        std::io::Write::write_all(stream, reply.as_bytes()).is_ok()
    });
    let settings = format!("module: {}, deadline: 1s", module.display());
    let gateway = Gateway::start(&routes(&[("up", origin.address)], &settings));
    for _ in 0..2 {
        let response = get(gateway.web(), "a", "/guest");
        assert_eq!(response.fields("x-read"), response.fields("x-peer"), "{response:?}");
        assert_eq!(response.fields("x-read").len(), 1);
    }
}
