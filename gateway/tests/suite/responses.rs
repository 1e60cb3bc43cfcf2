//! What clients are sent, and how their connections end: RFC 9110 and 9112, and what peers do.

#[path = "responses/error_pages.rs"]
mod error_pages;
#[path = "responses/redirects.rs"]
mod redirects;

use crate::support::{Client, Gateway, Origin, PATIENCE, config, eventually, forward_all, tool};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Nobody listens there.
fn dead_address() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn answering(response: &'static str) -> Origin {
    Origin::start(move |_, stream| stream.write_all(response.as_bytes()).is_ok())
}

/// What comes on one connection for `request`, to its end.
fn everything(gateway: &Gateway, request: &str) -> String {
    let mut client = Client::connect(gateway.web());
    client.send(request);
    let mut text = Vec::new();
    drop(client.stream().read_to_end(&mut text));
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn rfc9112_9_6_a_refused_upload_is_answered_before_its_connection_closes() {
    let origin = Origin::named("a");
    let refusing = TcpListener::bind("127.0.0.1:0").unwrap();
    let slow = refusing.local_addr().unwrap();
    // Answers when it has seen the head, and resets what it has not read.
    std::thread::spawn(move || {
        for mut stream in refusing.incoming().map_while(Result::ok) {
            let read = stream.read(&mut [0; 1024]);
            assert!(read.is_ok());
        }
    });
    let yaml = config(&format!(
        "limits: {{ request_body_bytes: 64KiB }}\nupstreams:\n  - {{ name: up, endpoints: [{{ address: \"{}\" }}] }}\n  \
         - {{ name: dead, endpoints: [{{ address: \"{}\" }}] }}\n  \
         - {{ name: resetting, endpoints: [{{ address: \"{slow}\" }}] }}\n\
         virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    routes:\n      \
         - {{ name: own, match: {{ path: {{ exact: /own }} }}, respond: {{ status: 401, body: no }} }}\n      \
         - {{ name: moved, match: {{ path: {{ exact: /moved }} }}, redirect: {{ path: /else }} }}\n      \
         - {{ name: dead, match: {{ path: {{ exact: /dead }} }}, forward: {{ upstream: dead }} }}\n      \
         - {{ name: resetting, match: {{ path: {{ exact: /reset }} }}, forward: {{ upstream: resetting }} }}\n      \
         - {{ name: rest, match: {{ path: {{ prefix: /up }} }}, forward: {{ upstream: up }} }}\n",
        origin.address,
        dead_address(),
    ));
    let gateway = Gateway::start(&yaml);
    let part = vec![b'x'; 64 << 10];
    for (path, length, status) in [
        ("/up", Some(16 << 20), 413),
        ("/up", None, 413),
        ("/own", None, 401),
        ("/moved", None, 302),
        ("/none", None, 404),
        ("/dead", None, 502),
        ("/reset", None, 502),
    ] {
        for round in 0..15 {
            let mut client = Client::connect(gateway.web());
            let framing = length
                .map_or("Transfer-Encoding: chunked".to_owned(), |length: usize| {
                    format!("Content-Length: {length}")
                });
            client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"));
            // As Python's http.client does: all of the body, and only then a look at the answer.
            for _ in 0..64 {
                let line = format!("{:x}\r\n", part.len());
                let stream = client.stream();
                let sent = match length {
                    Some(_) => stream.write_all(&part),
                    None => stream.write_all(&[line.as_bytes(), &part, b"\r\n"].concat()),
                };
                sent.unwrap_or_else(|error| panic!("{path}, round {round}: {error}"));
            }
            let response = client.receive();
            // The limit may be reached before the origin's reset is seen.
            let limited = path == "/reset" && response.status == 413;
            assert!(response.status == status || limited, "{path}, round {round}: {response:?}");
            assert_eq!(response.field("connection").as_deref(), Some("close"), "{path}");
            assert!(client.is_closed());
        }
    }
}

#[test]
fn rfc9112_9_6_a_client_that_never_stops_is_not_read_for_ever() {
    let gateway = Gateway::start(&config("limits: { request_body_bytes: 1B }\n"));
    let mut client = Client::connect(gateway.web());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000000\r\n\r\n");
    let started = Instant::now();
    let part = vec![b'x'; 1 << 20];
    while client.stream().write_all(&part).is_ok() {
        assert!(started.elapsed() < PATIENCE * 2, "it is still read");
    }
}

#[test]
fn an_endpoint_that_cannot_be_had_costs_a_client_no_connection() {
    let yaml = config(&format!(
        "upstreams:\n  - {{ name: dead, endpoints: [{{ address: \"{}\" }}] }}\n\
         virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    routes:\n      \
         - {{ name: dead, forward: {{ upstream: dead }} }}\n",
        dead_address()
    ));
    let gateway = Gateway::start(&yaml);
    let mut client = Client::connect(gateway.web());
    for _ in 0..5 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let response = client.receive();
        assert_eq!(response.status, 502);
        assert_eq!(response.field("connection").as_deref(), Some("keep-alive"));
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.receive().status, 502);
    }
}

#[test]
fn rfc9112_9_6_answers_say_close_once_the_server_shuts_down() {
    let (sender, waits) = mpsc::channel();
    let (go, goes) = mpsc::channel::<()>();
    let goes = std::sync::Mutex::new(goes);
    let origin = Origin::start(move |_, stream| {
        sender.send(()).unwrap();
        goes.lock().unwrap().recv().unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate").is_ok()
    });
    let mut gateway = Gateway::start(&forward_all(&[origin.address]));
    let mut client = Client::connect(gateway.web());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    waits.recv_timeout(PATIENCE).unwrap();
    let idle = Client::connect(gateway.web());
    gateway.signal("-TERM");
    // Listeners are closed by now.
    eventually("no more connections", || std::net::TcpStream::connect(gateway.web()).err());
    drop(idle);
    go.send(()).unwrap();
    let response = client.receive();
    assert_eq!((response.status, &*response.body), (200, "late"));
    assert_eq!(response.field("connection").as_deref(), Some("close"));
    assert!(client.is_closed());
    assert!(gateway.wait().success());
}

#[test]
fn rfc9110_15_2_http_1_0_clients_get_no_interim_response() {
    let origin = answering(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
         HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    for expect in ["", "Expect: 100-continue\r\n"] {
        let request = format!("POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 1\r\n{expect}\r\nx");
        let text = everything(&gateway, &request);
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        assert!(origin.last().fields("expect").is_empty());
    }
    let mut client = Client::connect(gateway.web());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.try_receive(true).unwrap().status, 102, "HTTP/1.1 has them");
}

#[test]
fn rfc9112_6_1_http_1_0_clients_get_no_chunks() {
    let origin = answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n",
    );
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    for keep in ["", "Connection: keep-alive\r\n"] {
        let text = everything(&gateway, &format!("GET / HTTP/1.0\r\nHost: a\r\n{keep}\r\n"));
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "{head}");
        assert!(head.to_ascii_lowercase().contains("connection: close"), "{head}");
        assert_eq!(body, "abcd");
    }
}

#[test]
fn rfc9110_8_6_one_length_goes_to_the_client_and_none_with_a_204() {
    for (answer, status, lengths) in [
        ("200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", 200, vec!["2"]),
        ("200 OK\r\nContent-Length: 2, 2\r\n\r\nok", 200, vec!["2"]),
        ("200 OK\r\nContent-Length: 2, 3\r\n\r\nok", 502, vec![]),
        ("200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", 502, vec![]),
        ("200 OK\r\nContent-Length: +2\r\n\r\nok", 502, vec![]),
        ("204 No Content\r\nContent-Length: 0\r\n\r\n", 204, vec![]),
        ("204 No Content\r\nContent-Length: 2\r\n\r\n", 204, vec![]),
        ("204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 204, vec![]),
    ] {
        let answer = format!("HTTP/1.1 {answer}");
        let origin = Origin::start(move |_, stream| {
            let written = stream.write_all(answer.as_bytes());
            drop(written.and_then(|()| stream.shutdown(Shutdown::Write)));
            false
        });
        let gateway = Gateway::start(&forward_all(&[origin.address]));
        let mut client = Client::connect(gateway.web());
        let response = client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").receive();
        assert_eq!(response.status, status, "{response:?}");
        if status != 502 {
            assert_eq!(response.fields("content-length"), lengths, "{response:?}");
            assert!(response.fields("transfer-encoding").is_empty(), "{response:?}");
        } else {
            assert_eq!(response.error().as_deref(), Some("bad_response"));
        }
    }
}

#[test]
fn rfc9112_6_1_codings_that_were_not_asked_for_are_a_bad_response() {
    for coding in [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{coding}\r\n\r\n2\r\nok\r\n0\r\n\r\n");
        let origin = Origin::start(move |_, stream| {
            drop(stream.write_all(answer.as_bytes()));
            false
        });
        let gateway = Gateway::start(&forward_all(&[origin.address]));
        let mut client = Client::connect(gateway.web());
        let response = client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").receive();
        assert_eq!((response.status, response.error().as_deref()), (502, Some("bad_response")));
    }
}

#[test]
fn rfc9110_15_5_22_a_426_names_its_protocol() {
    let origin = answering(
        "HTTP/1.1 426 Upgrade Required\r\nUpgrade: HTTP/3.0\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n",
    );
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let mut client = Client::connect(gateway.web());
    let response = client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").receive();
    assert_eq!((response.status, response.field("upgrade").as_deref()), (426, Some("HTTP/3.0")));
}

#[test]
fn rfc9110_10_1_1_a_client_is_told_to_go_on_when_the_origin_says_nothing() {
    // `Origin` says nothing before it has the body.
    let origin = Origin::named("got it");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let mut client = Client::connect(gateway.web());
    for _ in 0..2 {
        client
            .send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
        assert_eq!(client.read_exact(25), b"HTTP/1.1 100 Continue\r\n\r\n");
        let response = client.send("body").receive();
        assert_eq!((response.status, &*response.body), (200, "got it"));
        assert_eq!(origin.last().body, b"body");
    }
}

#[test]
fn rfc9110_10_1_1_a_client_is_not_told_to_go_on_after_its_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let refusing = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        assert!(stream.read(&mut head).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 417 No\r\nContent-Length: 3\r\n\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(600));
        stream.write_all(b"no!").unwrap();
        stream
    });
    let gateway = Gateway::start(&forward_all(&[address]));
    let mut client = Client::connect(gateway.web());
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    let response = client.receive();
    assert_eq!((response.status, &*response.body), (417, "no!"));
    drop(refusing.join().unwrap());
}

#[test]
fn rfc9112_9_6_a_client_that_has_sent_all_and_closed_its_side_is_answered() {
    let origin = Origin::start(|_, stream| {
        std::thread::sleep(Duration::from_millis(50));
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_ok()
    });
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ] {
        for _ in 0..10 {
            let mut client = Client::connect(gateway.web());
            client.send(request).stream().shutdown(Shutdown::Write).unwrap();
            let response = client.receive();
            assert_eq!((response.status, &*response.body), (200, "ok"), "{request}");
            assert!(client.is_closed());
        }
    }
}

#[test]
fn rfc9110_15_2_2_a_101_to_an_http_2_client_is_a_bad_response() {
    if !tool("curl") {
        return;
    }
    let origin = answering(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    let yaml = forward_all(&[origin.address])
        .replace("address: 127.0.0.1:0 }\nadmin", "address: 127.0.0.1:0, h2c: true }\nadmin");
    let gateway = Gateway::start(&yaml);
    let output = Command::new("curl")
        .args(["-s", "--max-time", "20", "--http2-prior-knowledge", "-o", "/dev/null", "-w"])
        .args(["%{http_version} %{http_code}", &format!("http://{}/", gateway.web())])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "2 502");
}
