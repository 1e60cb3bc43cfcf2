//! Guests that call services of gRPC, before a service of tonic.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::{assembled, routes};
use crate::grpc::service::Server;
use crate::origins::grpc::runtime;
use crate::support::{Gateway, Origin, eventually, get};

/// Tells what comes of a call in the request's field `x-told`, each with a letter and two digits, and
/// lets the request go on at the end.
const TELLS: &str = r#"
(data (i32.const 16) "calls")
(data (i32.const 32) "grpc.testing.TestService")
(data (i32.const 160) "x-told")
(data (i32.const 176) "content-type")
(data (i32.const 192) "grpc-status")
(global $stream (mut i32) (i32.const 0))
(global $end (mut i32) (i32.const 1024))
(func $tell (param $what i32) (param $number i32)
  (i32.store8 (global.get $end) (local.get $what))
  (i32.store8 (i32.add (global.get $end) (i32.const 1))
    (i32.add (i32.const 48) (i32.div_u (local.get $number) (i32.const 10))))
  (i32.store8 (i32.add (global.get $end) (i32.const 2))
    (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
  (global.set $end (i32.add (global.get $end) (i32.const 3))))
(func $finish
  (drop (call $choose (global.get $stream)))
  (drop (call $replace (i32.const 0) (i32.const 160) (i32.const 6)
    (i32.const 1024) (i32.sub (global.get $end) (i32.const 1024))))
  (drop (call $continue (i32.const 0))))
(func (export "proxy_on_grpc_receive_initial_metadata") (param i32 i32 i32)
  (if (call $get (i32.const 4) (i32.const 176) (i32.const 12) (i32.const 512) (i32.const 516))
    (then unreachable))
  (call $tell (i32.const 73) (i32.load (i32.const 516))))
(func (export "proxy_on_grpc_receive_trailing_metadata") (param i32 i32 i32)
  (if (call $get (i32.const 5) (i32.const 192) (i32.const 11) (i32.const 512) (i32.const 516))
    (then unreachable))
  (call $tell (i32.const 84) (i32.load (i32.const 516))))
(func (export "proxy_on_grpc_close") (param i32 i32 i32)
  (call $tell (i32.const 67) (local.get 2))
  (call $finish))
"#;

/// Makes one call of `method` with `message`, given as WebAssembly text has bytes.
fn calling(method: &str, message: &str, timeout_ms: u32) -> String {
    // Each byte of a message is written as a backslash and two digits.
    let (method_bytes, message_bytes) = (method.len(), message.len() / 3);
    format!(
        r#"{TELLS}
        (data (i32.const 64) "{method}")
        (data (i32.const 96) "{message}")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (global.set $stream (local.get 0))
          (if (call $grpc_call (i32.const 16) (i32.const 5) (i32.const 32) (i32.const 24)
              (i32.const 64) (i32.const {method_bytes}) (i32.const 0) (i32.const 0)
              (i32.const 96) (i32.const {message_bytes}) (i32.const {timeout_ms}) (i32.const 520))
            (then unreachable))
          (i32.const 1))
        (func (export "proxy_on_grpc_receive") (param i32 i32 i32)
          (call $tell (i32.const 82) (local.get 2))
          (call $finish))"#
    )
}

/// Begins a stream of `method` in the request's head and does `then`, with its number at 520.
fn streaming(method: &str, then: &str) -> String {
    let method_bytes = method.len();
    format!(
        r#"{TELLS}
        (data (i32.const 64) "{method}")
        (data (i32.const 96) "\12\02\08\05")
        (data (i32.const 100) "\12\02\08\06")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (global.set $stream (local.get 0))
          (if (call $grpc_stream (i32.const 16) (i32.const 5) (i32.const 32) (i32.const 24)
              (i32.const 64) (i32.const {method_bytes}) (i32.const 0) (i32.const 0)
              (i32.const 520))
            (then unreachable))
          {then})
        (func (export "proxy_on_grpc_receive") (param i32 i32 i32)
          (call $tell (i32.const 82) (local.get 2)))"#
    )
}

/// A gateway with this guest before `origin`; the guest's calls go to `calls`.
fn gateway(guest: &str, origin: SocketAddr, calls: SocketAddr, protocol: &str) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    let module = assembled(folder.path(), guest);
    let settings = format!("module: {}, deadline: 5s, upstreams: [calls]", module.display());
    let yaml = routes(&[("up", origin), ("calls", calls)], &settings)
        .replace("name: calls, ", &format!("name: calls, protocol: {protocol}, "));
    Gateway::start_single(&yaml)
}

fn told(guest: &str, calls: SocketAddr, protocol: &str) -> Vec<String> {
    let origin = Origin::named("one");
    let gateway = gateway(guest, origin.address, calls, protocol);
    assert_eq!(get(gateway.web(), "a", "/guest").status, 200);
    origin.last().fields("x-told")
}

#[test]
fn a_call_is_answered_with_a_message_or_with_a_status() {
    let runtime = runtime();
    let server = Server::start(&runtime, None);
    // A `SimpleRequest` for a payload of five bytes, which takes nine.
    let unary = calling("UnaryCall", r"\10\05", 20_000);
    assert_eq!(told(&unary, server.address, "http2"), ["R09"]);
    // One for the status 9.
    let failing = calling("UnaryCall", r"\3a\06\08\09\12\02\6e\6f", 20_000);
    assert_eq!(told(&failing, server.address, "http2"), ["C09"]);
    let unknown = calling("UnknownCall", "", 20_000);
    assert_eq!(told(&unknown, server.address, "http2"), ["C12"]);
    // A stream that ends without a message is none for a call.
    let empty = calling("FullDuplexCall", "", 20_000);
    assert_eq!(told(&empty, server.address, "http2"), ["C13"]);
}

#[test]
fn a_call_that_cannot_be_made_is_a_status_too() {
    let unary = calling("UnaryCall", "", 20_000);
    let http1 = Origin::named("plain");
    assert_eq!(told(&unary, http1.address, "http1"), ["C12"]);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(told(&unary, nobody, "http2"), ["C14"]);
    // Its connections are taken by the kernel, and nobody reads them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let impatient = calling("UnaryCall", "", 300);
    assert_eq!(told(&impatient, silent.local_addr().unwrap(), "http2"), ["C04"]);
}

#[test]
fn a_stream_is_told_part_by_part_in_order() {
    let runtime = runtime();
    let server = Server::start(&runtime, None);
    let duplex = streaming(
        "FullDuplexCall",
        "(if (call $grpc_send (i32.load (i32.const 520)) (i32.const 96) (i32.const 4) (i32.const 0))
           (then unreachable))
         (if (call $grpc_send (i32.load (i32.const 520)) (i32.const 100) (i32.const 4) (i32.const 1))
           (then unreachable))
         ;; Nothing more can be sent.
         (if (i32.eqz (call $grpc_send (i32.load (i32.const 520)) (i32.const 0) (i32.const 0)
             (i32.const 0)))
           (then unreachable))
         (i32.const 1)",
    );
    assert_eq!(told(&duplex, server.address, "http2"), ["I16R09R10T01C00"]);
    let closed = streaming(
        "StreamingInputCall",
        "(if (call $grpc_close (i32.load (i32.const 520))) (then unreachable))
         (i32.const 1)",
    );
    assert_eq!(told(&closed, server.address, "http2"), ["I16R00T01C00"]);
}

#[test]
fn a_stream_ends_when_it_is_cancelled_and_with_its_request() {
    let runtime = runtime();
    let server = Arc::new(Server::start(&runtime, None));
    for cancels in [false, true] {
        let wanted = server.clone();
        let origin = Origin::start(move |request, stream| {
            let is_open = request.request_line().contains("/guest/open");
            let begun = || (wanted.under_way() == 1).then_some(());
            if is_open {
                eventually("the stream at its service", begun);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_ok()
        });
        let then = match cancels {
            // Once is enough.
            true => {
                "(if (call $grpc_cancel (i32.load (i32.const 520))) (then unreachable))
                 (if (i32.ne (call $grpc_cancel (i32.load (i32.const 520))) (i32.const 1))
                   (then unreachable))
                 (i32.const 0)"
            }
            false => "(i32.const 0)",
        };
        let guest = streaming("StreamingInputCall", then);
        let gateway = gateway(&guest, origin.address, server.address, "http2");
        let path = if cancels { "/guest/cancelled" } else { "/guest/open" };
        assert_eq!(get(gateway.web(), "a", path).status, 200);
        eventually("the stream's end", || (server.under_way() == 0).then_some(()));
        assert_eq!(origin.last().fields("x-told"), [""; 0]);
    }
}
