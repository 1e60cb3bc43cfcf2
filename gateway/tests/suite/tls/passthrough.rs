//! Connections that are passed on by the name that their client asks for, without being terminated.

#[path = "passthrough/counting.rs"]
mod counting;
#[path = "passthrough/mistakes.rs"]
mod mistakes;
#[path = "passthrough/staying.rs"]
mod staying;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::pki::{Pki, ask, trusting};
use super::{answering, with_tls};
use crate::support::{Client, Gateway, PATIENCE, eventually};

/// Nothing listens there: to connect is to be refused.
const NOBODY: &str = "127.0.0.1:1";

/// What a client is sent that asks for a name which nobody serves: a fatal alert.
pub(crate) const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// What a client is sent whose origin cannot be reached.
pub(crate) const INTERNAL_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

/// An origin that sends back `mark` with the first bytes of each connection, and then what it gets.
/// That it speaks no TLS shows that nobody but it has to.
pub(crate) fn echo(mark: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut part = [0; 4096];
                let mut answer = mark.as_bytes().to_vec();
                while let Ok(bytes @ 1..) = stream.read(&mut part) {
                    answer.extend_from_slice(&part[..bytes]);
                    if stream.write_all(&answer).is_err() {
                        return;
                    }
                    answer.clear();
                }
                stream.shutdown(Shutdown::Write).ok();
            });
        }
    });
    address
}

/// The hello of a client that asks for `name`; an address is no name to ask for.
pub(crate) fn hello(name: &str) -> Vec<u8> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(trusting(), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// `hello`, which is one record, in records of three bytes: some of the 1,024 that it may have.
fn in_small_records(hello: &[u8]) -> Vec<u8> {
    let record = |part: &[u8]| [&[22, 3, 1, 0, part.len() as u8][..], part].concat();
    hello[5..].chunks(3).flat_map(record).collect()
}

/// An upstream with these endpoints, and `more` keys.
fn upstream(name: &str, endpoints: &[&str], more: &str) -> String {
    let endpoints: Vec<_> =
        endpoints.iter().map(|address| format!("{{ address: \"{address}\" }}")).collect();
    format!("  - {{ name: {name}, endpoints: [{}]{more} }}\n", endpoints.join(", "))
}

/// A gateway's file with this `tls` and these upstreams.
fn file(tls: &str, upstreams: &[String], rest: &str) -> String {
    with_tls(tls, &format!("upstreams:\n{}{rest}", upstreams.concat()))
}

/// Sends `hello` by a new connection, and returns it with what comes back first.
fn passed(web: SocketAddr, hello: &[u8], bytes: usize) -> (Client, Vec<u8>) {
    let mut client = Client::connect(web);
    client.send(hello);
    let answer = client.read_exact(bytes);
    (client, answer)
}

/// The first byte that comes back, which is the mark of the origin.
fn origin_of(web: SocketAddr, name: &str) -> String {
    String::from_utf8_lossy(&passed(web, &hello(name), 1).1).into_owned()
}

#[test]
fn the_closest_name_decides_and_what_is_not_named_is_terminated() {
    let pki = Pki::new("test");
    pki.issue("site", &["shop.example.com", "www.other.example"]);
    let marks = ["a", "b", "c", "d"];
    let upstreams = marks.map(|mark| upstream(mark, &[&echo(mark).to_string()], ""));
    let tls = format!(
        "{{ certificates: [{}], default: refuse, passthrough: [\
         {{ sni: [db.example.com, Db2.Example.COM.], upstream: a }}, \
         {{ sni: [\"*.example.com\"], upstream: b }}, \
         {{ sni: [\"**.example.com\"], upstream: c }}, \
         {{ sni: [www.other.example], upstream: d }}] }}",
        pki.entry("site")
    );
    let gateway = Gateway::start(&file(&tls, &upstreams, &answering("hello")));
    let web = gateway.web();
    for (name, mark) in [
        ("db.example.com", "a"),
        ("db2.example.com", "a"),
        ("api.example.com", "b"),
        ("x.api.example.com", "c"),
        // As close as the certificate.
        ("www.other.example", "d"),
    ] {
        assert_eq!(origin_of(web, name), mark, "{name}");
    }
    // The certificate's name is closer than the wildcard.
    let seen = ask(&pki.client(None), web, "shop.example.com", "shop.example.com").unwrap();
    assert!(seen.answer.contains("hello"), "{}", seen.answer);
    for name in ["example.com", "elsewhere.example", "192.0.2.1"] {
        let mut client = Client::connect(web);
        client.send(hello(name));
        assert_eq!(client.read_to_end(), UNRECOGNIZED_NAME, "{name}");
    }
    let refused = r#"listener="web",version="1.3",result="unknown_name""#;
    gateway.counts(&format!("sallyport_tls_handshakes_total{{{refused}}}"), 3.0);
}

#[test]
fn without_certificates_the_star_takes_all_and_handshakes_are_the_origins() {
    let pki = Pki::new("test");
    pki.issue("site", &["shop.example.com"]);
    let certificate = format!("{{ certificates: [{}] }}", pki.entry("site"));
    let origin = Gateway::start(&with_tls(&certificate, &answering("hello")));
    let tls = "{ passthrough: [{ sni: [shop.example.com], upstream: site }, \
               { sni: [\"*\"], upstream: rest }] }";
    let upstreams = [
        upstream("site", &[&origin.web().to_string()], ""),
        upstream("rest", &[&echo("r").to_string()], ""),
    ];
    let gateway = Gateway::start(&file(tls, &upstreams, ""));
    let web = gateway.web();
    let seen = ask(&pki.client(None), web, "shop.example.com", "shop.example.com").unwrap();
    assert!(seen.answer.contains("hello"), "{}", seen.answer);
    for name in ["example.com", "192.0.2.1"] {
        assert_eq!(origin_of(web, name), "r", "{name}");
    }
    // Nobody but the origin has to know the client's version.
    let mut old = hello("example.com");
    let supported = old.windows(2).position(|it| it == [0, 43]).unwrap();
    old[supported + 1] = 99;
    (old[9], old[10]) = (3, 1);
    assert_eq!(passed(web, &old, 1).1, b"r");
}

#[test]
fn what_was_read_is_passed_on_as_it_came_and_ends_are_too() {
    let tls = "{ passthrough: [{ sni: [db.example.com], upstream: db }] }";
    let gateway = Gateway::start(&file(tls, &[upstream("db", &[&echo("").to_string()], "")], ""));
    let web = gateway.web();
    for sent in [hello("db.example.com"), in_small_records(&hello("db.example.com"))] {
        let (mut client, answer) = passed(web, &sent, sent.len());
        assert!(answer == sent);
        let upload: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        let mut writer = client.stream().try_clone().unwrap();
        let copy = upload.clone();
        let writing = thread::spawn(move || {
            writer.write_all(&copy).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        // Only the way to the origin is closed.
        assert!(client.read_to_end() == upload);
        writing.join().unwrap();
    }
    // A hello that comes byte by byte is one as well.
    let sent = hello("db.example.com");
    let mut client = Client::connect(web);
    for byte in &sent {
        client.send([*byte]);
    }
    assert!(client.read_exact(sent.len()) == sent);
}

#[test]
fn what_is_no_hello_is_bounded_as_on_any_listener_with_tls() {
    let tls = "{ handshake_timeout: 1s, passthrough: [{ sni: [\"*\"], upstream: db }] }";
    let gateway = Gateway::start(&file(tls, &[upstream("db", &[&echo("e").to_string()], "")], ""));
    let web = gateway.web();
    let mut huge = vec![1, 0, 0xff, 0xf0, 3, 3];
    huge.resize(0xffff, 7);
    let records: Vec<u8> = huge.iter().flat_map(|byte| [22, 3, 1, 0, 1, *byte]).collect();
    for (bytes, result) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "http"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not_tls"),
        (b"\x16\x03\x01\xff\xff", "malformed"),
        (&records, "malformed"),
        // Begun and never ended.
        (&hello("db.example.com")[..100], "timeout"),
    ] {
        let count = |version: &str| {
            let labels = format!(r#"listener="web",version="{version}",result="{result}""#);
            gateway.metric(&format!("sallyport_tls_handshakes_total{{{labels}}}")).unwrap_or(0.0)
        };
        let before = count("");
        let mut client = Client::connect(web);
        client.send(bytes);
        let said = client.read_to_end();
        assert!(!said.starts_with(b"e"), "{result}: it was passed on");
        eventually(result, || (count("") > before).then_some(()));
    }
    gateway.counts(r#"sallyport_tls_handshakes_active{listener="web"}"#, 0.0);
    assert_eq!(origin_of(web, "db.example.com"), "e");
}

#[test]
fn another_endpoint_is_tried_and_who_cannot_be_reached_is_told() {
    let tls =
        "{ passthrough: [{ sni: [a.example], upstream: a }, { sni: [b.example], upstream: b }] }";
    let upstreams =
        [upstream("a", &[NOBODY, &echo("a").to_string()], ""), upstream("b", &[NOBODY], "")];
    let gateway = Gateway::start(&file(tls, &upstreams, ""));
    for _ in 0..4 {
        assert_eq!(origin_of(gateway.web(), "a.example"), "a");
    }
    let failures =
        r#"sallyport_upstream_connect_failures_total{upstream="a",endpoint="127.0.0.1:1"}"#;
    eventually("a failure", || gateway.metric(failures).filter(|count| *count > 0.0));
    let retries = r#"sallyport_retries_total{upstream="a",reason="connect"}"#;
    assert!(gateway.metric(retries) > Some(0.0));
    let mut client = Client::connect(gateway.web());
    client.send(hello("b.example"));
    assert_eq!(client.read_to_end(), INTERNAL_ERROR);
    let labels = r#"listener="web",upstream="b",result="connect""#;
    gateway.counts(&format!("sallyport_passthrough_connections_total{{{labels}}}"), 1.0);
}

#[test]
fn the_origin_is_told_whose_connection_it_is() {
    let tls = "{ passthrough: [{ sni: [db.example.com], upstream: db }] }";
    let db = upstream("db", &[&echo("").to_string()], ", send_proxy_protocol: v1");
    let gateway = Gateway::start(&file(tls, &[db], ""));
    let sent = hello("db.example.com");
    let mut client = Client::connect(gateway.web());
    let (own, web) = (client.stream().local_addr().unwrap(), gateway.web());
    let header = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", own.port(), web.port());
    client.send(&sent);
    let answer = client.read_exact(header.len() + sent.len());
    assert_eq!(String::from_utf8_lossy(&answer[..header.len()]), header);
    assert!(answer[header.len()..] == sent);
}

#[test]
fn several_upstreams_have_their_shares() {
    let tls = "{ passthrough: [{ sni: [\"*\"], split: [{ upstream: a, weight: 1 }, \
               { upstream: b, weight: 1 }, { upstream: c, weight: 0 }] }] }";
    let upstreams = ["a", "b", "c"].map(|mark| upstream(mark, &[&echo(mark).to_string()], ""));
    let gateway = Gateway::start(&file(tls, &upstreams, ""));
    let mut seen = std::collections::BTreeSet::new();
    eventually("both to be used", || {
        seen.insert(origin_of(gateway.web(), "x.example"));
        (seen.len() == 2).then_some(())
    });
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn silence_ends_a_connection_and_a_limit_refuses_one() {
    let tls =
        "{ passthrough: [{ sni: [a.example], upstream: a }, { sni: [b.example], upstream: b }] }";
    let upstreams = [
        upstream("a", &[&echo("a").to_string()], ", timeouts: { upgraded: 3s }"),
        upstream(
            "b",
            &[&echo("b").to_string()],
            ", limits: { connections: 1, pending: 1 }, timeouts: { connect: 2s }",
        ),
    ];
    let gateway = Gateway::start(&file(tls, &upstreams, ""));
    let sent = hello("a.example");
    let (mut client, _) = passed(gateway.web(), &sent, 1 + sent.len());
    assert!(client.read_to_end().is_empty());
    let sent = hello("b.example");
    let (mut first, _) = passed(gateway.web(), &sent, 1 + sent.len());
    let mut second = Client::connect(gateway.web());
    second.send(&sent);
    assert_eq!(second.read_to_end(), INTERNAL_ERROR);
    let labels = r#"listener="web",upstream="b",result="limit""#;
    gateway.counts(&format!("sallyport_passthrough_connections_total{{{labels}}}"), 1.0);
    // The first goes on, and gives its place back with its end.
    assert_eq!(first.send("more").read_exact(4), b"more");
    drop(first);
    eventually("a free place", || {
        let mut third = Client::connect(gateway.web());
        third.send(&sent);
        let answer = third.read_exact(1);
        (answer == b"b").then_some(())
    });
}

#[test]
fn a_reset_is_passed_on() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            stream.read_exact(&mut [0; 64]).unwrap();
            // Closed with bytes that were not read: a reset.
            thread::sleep(Duration::from_millis(20));
        }
    });
    let tls = "{ passthrough: [{ sni: [a.example], upstream: a }] }";
    let gateway = Gateway::start(&file(tls, &[upstream("a", &[&address.to_string()], "")], ""));
    let mut stream = TcpStream::connect(gateway.web()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&hello("a.example")).unwrap();
    let error = stream.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let labels = r#"listener="web",upstream="a",result="reset""#;
    gateway.counts(&format!("sallyport_passthrough_connections_total{{{labels}}}"), 1.0);
}
