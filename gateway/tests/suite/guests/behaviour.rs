//! What the examples do, in both languages.

use super::{LANGUAGES, guest, routes};
use crate::support::{Gateway, Origin, Response, get, request};

fn each(name: &str, test: impl Fn(&str)) {
    for language in LANGUAGES {
        if let Some(module) = guest(&format!("{name}_{language}")) {
            test(&format!("module: {}", module.display()));
        }
    }
}

fn post(gateway: &Gateway, fields: &str, body: &str) -> Response {
    let head = "POST /guest HTTP/1.1\r\nHost: a\r\nConnection: close";
    request(gateway.web(), &format!("{head}\r\n{fields}\r\n{body}"))
}

#[test]
fn header_changes_both_heads() {
    each("header", |module| {
        let origin = Origin::named("one");
        let settings = format!("{module}, configuration: greetings");
        let gateway = Gateway::start(&routes(&[("up", origin.address)], &settings));
        let response = post(&gateway, "X-Remove-Me: 1\r\nX-Wasm: forged\r\n", "");
        assert_eq!(response.fields("x-wasm-response"), ["hello"]);
        let got = origin.last();
        assert_eq!(got.fields("x-wasm"), ["greetings"]);
        assert!(got.fields("x-remove-me").is_empty());
        assert!(get(gateway.web(), "a", "/plain").field("x-wasm-response").is_none());
    });
}

#[test]
fn body_rewrites_both_bodies() {
    each("body", |module| {
        let origin = Origin::named("a cat's name");
        // The host is not optimised here, and its share of a call counts.
        let settings = format!("{module}, deadline: 1s");
        let gateway = Gateway::start(&routes(&[("up", origin.address)], &settings));
        let response = post(
            &gateway,
            "Transfer-Encoding: chunked\r\n",
            "3\r\nmy \r\n2\r\nca\r\n1\r\nt\r\n0\r\n\r\n",
        );
        assert_eq!(response.body, "a giraffe's name");
        assert_eq!(origin.last().body, b"my giraffe");
        let long = "cat ".repeat(50_000);
        let fields = format!("Content-Length: {}\r\n", long.len());
        assert_eq!(post(&gateway, &fields, &long).status, 200);
        assert_eq!(origin.last().body.len(), "giraffe ".len() * 50_000);
    });
}

#[test]
fn auth_asks_and_decides() {
    let asked = Origin::start(|request, stream| {
        let good = request.fields("authorization") == ["good"];
        let reply = match good {
            true => "HTTP/1.1 200 OK\r\nX-User: ann\r\nContent-Length: 0\r\n\r\n",
            false => "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
        };
        std::io::Write::write_all(stream, reply.as_bytes()).is_ok()
    });
    each("auth", |module| {
        let origin = Origin::named("one");
        let upstreams = [("up", origin.address), ("auth", asked.address)];
        let settings = format!("{module}, configuration: auth, upstreams: [auth]");
        let gateway = Gateway::start(&routes(&upstreams, &settings));
        let good = post(&gateway, "Authorization: good\r\nX-Auth-User: root\r\n", "");
        assert_eq!(good.status, 200, "{good:?}");
        assert_eq!(origin.last().fields("x-auth-user"), ["ann"]);
        let bad = post(&gateway, "Authorization: bad\r\n", "");
        assert_eq!((bad.status, bad.body.as_str()), (401, "denied\n"));
        assert_eq!(origin.requests().len(), 1);

        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let upstreams = [("up", origin.address), ("auth", closed)];
        let gateway = Gateway::start(&routes(&upstreams, &settings));
        assert_eq!(post(&gateway, "Authorization: good\r\n", "").status, 503);
    });
}
