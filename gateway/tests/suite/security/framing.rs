//! Where a request ends: one reading, whoever reads.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::sync::mpsc;
use std::thread;

use crate::support::{Client, Gateway, Origin, PATIENCE, forward_all};

const POST: &str = "POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const NEXT: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn rfc9112_7_1_a_malformed_chunk_is_400_and_never_the_end_of_a_request() {
    let origin = Origin::named("never");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    for line in [
        "\r\n",
        " \r\n",
        ";x\r\n",
        "5;\n",
        "5;a\0\r\n",
        "5;a\nb\r\n",
        "5 \r\n",
        "+5\r\n",
        "0x5\r\n",
        "5\n",
        "10000000000000000\r\n",
        "5\r\nhello5\r\n",
        "5\r\nhello\n",
        "0\r\nno colon\r\n\r\n",
        "0\r\nA: b\nC: d\r\n\r\n",
        "0\n\r\n",
        "0\r\n\n",
    ] {
        for before in ["", "3\r\nabc\r\n"] {
            let mut client = Client::connect(gateway.web());
            client.send(format!("{POST}{before}{line}\r\n0\r\n\r\n{NEXT}"));
            let response = client.receive();
            assert_eq!(response.status, 400, "{before}{line:?}: {}", response.head);
            assert_eq!(response.error().as_deref(), Some("bad_request"), "{line:?}");
            assert!(client.try_receive(false).is_none(), "{line:?}: a second response");
            assert!(origin.requests().is_empty(), "{line:?}: {:?}", origin.requests());
        }
    }
}

#[test]
fn rfc9112_7_1_extensions_and_trailers_are_read_over() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let mut client = Client::connect(gateway.web());
    for body in [
        "5;a=\"b c\";d\r\nhello\r\n0;e\r\n\r\n",
        "05 ;x\r\nhello\r\n000\r\nX-Sum: 1\r\nX-Empty:\r\n\r\n",
    ] {
        client.send(format!("{POST}{body}"));
        assert_eq!(client.receive().status, 200, "{body:?}");
        assert_eq!(origin.last().body, b"hello", "{body:?}");
    }
}

#[test]
fn rfc9112_9_3_2_a_pipelined_request_is_checked_like_the_first() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let good = "GET /good HTTP/1.1\r\nHost: a\r\n\r\n";
    let sized = "POST /sized HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let chunked = format!("{POST}3\r\nabc\r\n0\r\n\r\n");
    for first in [good, sized, &chunked] {
        for second in [
            "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        ] {
            let before = origin.requests().len();
            let mut client = Client::connect(gateway.web());
            client.send(format!("{first}{second}{NEXT}"));
            assert_eq!(client.receive().status, 200, "{first:?}");
            let refused = client.receive();
            assert_eq!(refused.status, 400, "{second:?}: {}", refused.head);
            assert_eq!(refused.field("server"), None, "{second:?}");
            assert!(client.try_receive(false).is_none(), "{second:?}: a third response");
            assert_eq!(origin.requests().len(), before + 1, "{second:?}");
        }
    }
}

#[test]
fn a_target_goes_upstream_in_the_form_that_was_matched_or_not_at_all() {
    let origin = Origin::named("a");
    let yaml = forward_all(&[origin.address]).replace(
        "    routes:\n",
        "    filters: [{ headers: { request: { set: { x-a: b } } } }]\n    routes:\n",
    );
    for yaml in [forward_all(&[origin.address]), yaml] {
        let gateway = Gateway::start(&yaml);
        let before = origin.requests().len();
        for letters in [10_000, 11_000, 20_000] {
            let target = format!("/admin/../pub/{}", "\u{e9}".repeat(letters));
            let response = crate::support::get(gateway.web(), "a", &target);
            let expected = if letters == 10_000 { 200 } else { 414 };
            assert_eq!(response.status, expected, "{letters}: {}", response.head);
        }
        assert_eq!(origin.requests().len(), before + 1);
        let escaped = format!("GET /pub/{} HTTP/1.1", "%C3%A9".repeat(10_000));
        assert_eq!(origin.last().request_line(), escaped);
        let logged: usize = gateway.log().iter().map(String::len).sum();
        assert!(logged < 16 << 10, "{logged} bytes of log");
    }
}

/// An origin that has answered may be asked no more, but is still being sent to: how the upload ends
/// is what it goes by.
#[test]
fn rfc9112_8_a_cut_upload_has_no_last_chunk_after_an_early_answer_either() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, received) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut text = vec![0; 4096];
            let read = stream.read(&mut text).unwrap();
            text.truncate(read);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
            // However it ends, what came before counts.
            drop(stream.read_to_end(&mut text));
            sender.send(String::from_utf8_lossy(&text).into_owned()).unwrap();
        }
    });
    let gateway = Gateway::start(&forward_all(&[address]));
    for (fields, how) in [
        ("", Some(Shutdown::Both)),
        ("", Some(Shutdown::Write)),
        ("", None),
        ("Expect: 100-continue\r\n", Some(Shutdown::Both)),
        ("Connection: close\r\n", Some(Shutdown::Both)),
        ("Connection: upgrade\r\nUpgrade: websocket\r\n", Some(Shutdown::Both)),
    ] {
        let mut client = Client::connect(gateway.web());
        let head = POST.replace("\r\n\r\n", &format!("\r\n{fields}\r\n"));
        client.send(format!("{head}5\r\nhello\r\n"));
        assert_eq!(client.receive().status, 200, "{fields:?}");
        match how {
            Some(how) => client.stream().shutdown(how).unwrap(),
            // What is no chunk ends it as well.
            None => drop(client.send("nonsense\r\n\r\n")),
        }
        let text = received.recv_timeout(PATIENCE).expect("the origin's connection ends");
        assert!(text.contains("\r\n\r\n5\r\nhello\r\n"), "{text:?}");
        assert!(!text.contains("\r\n0\r\n"), "{fields:?} {how:?}: {text:?}");
    }
}
