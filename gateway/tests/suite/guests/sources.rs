//! A client whose requests make a guest trap takes the filter from nobody else.

use std::net::Ipv4Addr;

use super::{assembled, routes};
use crate::support::{Client, Gateway, Origin};

/// Traps where the request says so.
const TRAPS: &str = r#"
(data (i32.const 16) "x-trap")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (i32.eqz (call $get (i32.const 0) (i32.const 16) (i32.const 6) (i32.const 64) (i32.const 68)))
    (then unreachable))
  (i32.const 0))"#;

#[test]
fn a_filter_serves_others_while_one_source_makes_it_trap() {
    let folder = tempfile::tempdir().unwrap();
    let module = assembled(folder.path(), TRAPS);
    let origin = Origin::named("one");
    let settings = format!("module: {}", module.display());
    let gateway = Gateway::start_single(&routes(&[("up", origin.address)], &settings));
    let ask = |client: &mut Client, fields: &str| {
        client.send(format!("GET /guest HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        client.receive().status
    };
    let mut others = Client::connect(gateway.web());
    for round in 0..300 {
        let mut bad = Client::connect_from(Ipv4Addr::new(127, 0, 0, 2), gateway.web());
        bad.send("GET /guest HTTP/1.1\r\nHost: a\r\nX-Trap: 1\r\nConnection: close\r\n\r\n");
        assert_eq!(bad.receive().status, 503);
        assert_eq!(ask(&mut others, ""), 200, "{round}");
    }
    let traps = "sallyport_wasm_failures_total{filter=\"wasm\",reason=\"trap\"}";
    assert!(gateway.metric(traps).unwrap() < 100.0);
    assert!(gateway.metric("sallyport_wasm_bypassed_total{filter=\"wasm\"}").unwrap() > 200.0);
}
