//! What RFC 9110, 9112 and 9113 ask of a gateway.

#[path = "conformance/targets.rs"]
mod targets;

use crate::support::{Client, Gateway, Origin, Received, forward_all, get, request, tool};
use std::io::Write;
use std::process::Command;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn field(request: &Received, name: &str) -> Option<String> {
    request.fields(name).into_iter().next()
}

#[test]
fn rfc9112_9_3_connections_are_kept_on_both_sides() {
    let origin = Origin::named("a");
    let gateway = Gateway::start_single(&forward_all(&[origin.address]));
    let mut client = Client::connect(gateway.web());
    for _ in 0..5 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.receive().status, 200);
    }
    assert_eq!(*origin.connections.lock().unwrap(), 1, "the origin's connection is reused");
    gateway.counts("sallyport_connection_reuse_total{reused=\"true\",upstream=\"up\"}", 4.0);
    gateway.counts("sallyport_connection_reuse_total{reused=\"false\",upstream=\"up\"}", 1.0);
}

#[test]
fn rfc9112_9_3_2_pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(|request, stream| {
        let path = request.request_line().split(' ').nth(1).unwrap().to_owned();
        let length = path.len();
        stream
            .write_all(
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{path}").as_bytes(),
            )
            .is_ok()
    });
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let mut client = Client::connect(gateway.web());
    let one = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    client.send(["/1", "/2", "/3"].map(one).concat());
    let bodies = [client.receive().body, client.receive().body, client.receive().body];
    assert_eq!(bodies, ["/1", "/2", "/3"]);
}

#[test]
fn rfc9112_9_3_a_kept_connection_takes_requests_in_any_pieces() {
    let origin = Origin::named("a");
    let gateway = Gateway::start_single(&forward_all(&[origin.address]));
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let sized = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let chunked =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for body in [get, sized, chunked] {
        let mut client = Client::connect(gateway.web());
        // Alone; with the next one; with a part of the next one, which comes when the first is answered.
        let rounds = [vec![get], vec![body], vec![body, get], vec![get, body, get], vec![body]];
        for (round, requests) in rounds.iter().enumerate() {
            let bytes = requests.concat();
            for cut in [bytes.len(), requests[0].len(), requests[0].len() + 7, 9] {
                let (now, later) = bytes.split_at(cut.min(bytes.len()));
                client.send(now);
                let answered = usize::from(now.len() >= requests[0].len());
                for _ in 0..answered {
                    assert_eq!(client.receive().status, 200, "{round}: {cut}: {bytes}");
                }
                client.send(later);
                for _ in answered..requests.len() {
                    assert_eq!(client.receive().status, 200, "{round}: {cut}: {bytes}");
                }
            }
        }
    }
}

#[test]
fn rfc9110_7_6_1_hop_by_hop_fields_end_here() {
    let origin = Origin::start(|_, stream| {
        let response = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: timeout=9\r\nX-Hop: 1\r\n\
                        Connection: keep-alive, X-Hop\r\nProxy-Connection: x\r\nX-End: 1\r\n\r\n";
        stream.write_all(response.as_bytes()).is_ok()
    });
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let response = request(
        gateway.web(),
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Mine, close\r\nX-Mine: 1\r\nTE: trailers\r\n\
         Keep-Alive: 5\r\nProxy-Connection: y\r\nX-End: 1\r\n\r\n",
    );
    for gone in ["keep-alive", "x-hop", "proxy-connection"] {
        assert_eq!(response.field(gone), None, "{gone} in the response");
    }
    assert_eq!(response.field("x-end").as_deref(), Some("1"));
    let seen = origin.last();
    for gone in ["x-mine", "te", "keep-alive", "proxy-connection", "connection"] {
        assert_eq!(field(&seen, gone), None, "{gone} in the request");
    }
    assert_eq!(field(&seen, "x-end").as_deref(), Some("1"));
}

#[test]
fn rfc9112_3_2_2_absolute_form_becomes_origin_form() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let response = request(
        gateway.web(),
        "GET http://shop.example/x/./y?q HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(response.status, 200);
    assert_eq!(origin.last().request_line(), "GET /x/y?q HTTP/1.1");
}

#[test]
fn rfc3986_6_2_2_what_goes_upstream_is_what_was_matched() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    for (sent, received) in [
        ("/%7euser/%2Fx?a=%7e", "/~user/%2Fx?a=%7e"),
        ("/a/b/../c", "/a/c"),
        ("/a/%2e%2E/c", "/c"),
        ("/a//b/", "/a//b/"),
        ("/%e4%bd%a0", "/%E4%BD%A0"),
    ] {
        assert_eq!(get(gateway.web(), "a", sent).status, 200, "{sent}");
        assert_eq!(origin.last().request_line(), format!("GET {received} HTTP/1.1"), "{sent}");
    }
}

#[test]
fn rfc9110_9_3_2_head_has_no_body() {
    let origin = Origin::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n").is_ok()
    });
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let mut client = Client::connect(gateway.web());
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        let response = client.try_receive(true).unwrap();
        assert_eq!(
            (response.status, response.field("content-length").as_deref()),
            (200, Some("1234"))
        );
    }
}

#[test]
fn rfc9110_10_1_1_expect_continue_is_answered() {
    let origin = Origin::start(|request, stream| {
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len());
        stream.write_all(response.as_bytes()).is_ok() && stream.write_all(&request.body).is_ok()
    });
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let mut client = Client::connect(gateway.web());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    client.send("body");
    assert_eq!(client.receive().body, "body");
}

#[test]
fn rfc9112_7_1_chunked_bodies_stream_both_ways() {
    let origin = Origin::start(|request, stream| {
        let chunk = format!("{:x}\r\n", request.body.len());
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_ok()
            && stream.write_all(chunk.as_bytes()).is_ok()
            && stream.write_all(&request.body).is_ok()
            && stream.write_all(b"\r\n0\r\n\r\n").is_ok()
    });
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let mut client = Client::connect(gateway.web());
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
        assert_eq!(client.receive().body, "hello world");
    }
}

#[test]
fn rfc1945_http_1_0_clients_are_served() {
    let origin = Origin::named("old");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let response = request(gateway.web(), "GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert_eq!((response.status, &*response.body), (200, "old"));
    assert_eq!(response.field("connection").as_deref(), Some("close"));
}

#[test]
fn rfc6455_websockets_pass_through() {
    let origin = Origin::start(echo_after_upgrade);
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let mut client = Client::connect(gateway.web());
    client.send(
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    assert_eq!(client.receive().status, 101);
    client.send("ping");
    assert_eq!(client.read_exact(4), b"ping");
    let seen = origin.last();
    assert_eq!(field(&seen, "upgrade").as_deref(), Some("websocket"));
    assert_eq!(field(&seen, "sec-websocket-version").as_deref(), Some("13"));
}

#[test]
fn rfc9110_7_8_other_upgrades_pass_through() {
    let origin = Origin::start(echo_after_upgrade);
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let mut client = Client::connect(gateway.web());
    client.send(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: dance/2\r\nTE: x\r\n\r\n",
    );
    assert_eq!(client.receive().status, 101);
    client.send("step");
    assert_eq!(client.read_exact(4), b"step");
    let seen = origin.last();
    assert_eq!(field(&seen, "upgrade").as_deref(), Some("dance/2"));
    assert_eq!(field(&seen, "te"), None);
}

/// Switches protocols and sends back whatever comes.
pub(crate) fn echo_after_upgrade(request: &Received, stream: &mut std::net::TcpStream) -> bool {
    let Some(protocol) = field(request, "upgrade") else {
        return stream.write_all(OK.as_bytes()).is_ok();
    };
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n\r\n"
    );
    if stream.write_all(response.as_bytes()).is_ok() {
        let mut reader = stream.try_clone().unwrap();
        drop(std::io::copy(&mut reader, stream));
    }
    false
}

#[test]
fn rfc9113_8_3_1_authority_is_the_host() {
    if !tool("curl") {
        return;
    }
    let origin = Origin::named("h2");
    let yaml = forward_all(&[origin.address])
        .replace("address: 127.0.0.1:0 }\nadmin", "address: 127.0.0.1:0, h2c: true }\nadmin")
        .replace("domains: [\"*\"]", "domains: [shop.example]");
    let gateway = Gateway::start(&yaml);
    let web = gateway.web();
    let curl = |protocol: &str, host: &str| {
        let output = Command::new("curl")
            .args([
                "-s",
                "--max-time",
                "20",
                protocol,
                "-o",
                "-",
                "-w",
                " %{http_version} %{http_code}",
            ])
            .args(["--connect-to", &format!("{host}:80:127.0.0.1:{}", web.port())])
            .arg(format!("http://{host}/over"))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(curl("--http2-prior-knowledge", "shop.example"), "h2 2 200");
    assert_eq!(field(&origin.last(), "host").as_deref(), Some("shop.example"));
    assert_eq!(field(&origin.last(), "x-forwarded-host").as_deref(), Some("shop.example"));
    assert!(curl("--http2-prior-knowledge", "other.example").ends_with("2 404"));
    assert_eq!(curl("--http1.1", "shop.example"), "h2 1.1 200");
}

#[test]
fn rfc9113_3_4_a_preface_may_come_in_pieces_and_an_http1_request_be_shorter() {
    let origin = Origin::named("a");
    let yaml = forward_all(&[origin.address])
        .replace("address: 127.0.0.1:0 }\nadmin", "address: 127.0.0.1:0, h2c: true }\nadmin");
    let gateway = Gateway::start(&yaml);
    let mut http1 = Client::connect(gateway.web());
    http1.send("GET / HTTP/1.0\r\n\r\n");
    assert!(http1.try_receive(false).is_some());
    let mut http2 = Client::connect(gateway.web());
    http2.send("PRI * HTTP/2.0\r\n").send("\r\nSM\r\n\r\n").send([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    let [_, _, _, kind, ..] = http2.read_exact(9)[..] else { unreachable!() };
    assert_eq!(kind, 4, "SETTINGS come first");
}
