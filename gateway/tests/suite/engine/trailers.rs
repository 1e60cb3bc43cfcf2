//! Trailers between clients and origins of HTTP/1 (RFC 9110, 6.5; RFC 9112, 7.1.2).

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};

use crate::http2::{with_h2, with_h2c};
use crate::support::{Client, Gateway, PATIENCE, forward_all};

/// An origin that reads until what has come ends with `end`, tells it in lower case, and writes
/// `answer`, byte by byte where `slowly`.
fn origin(end: &'static str, answer: &'static str, slowly: bool) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (received, seen) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            stream.set_nodelay(true).unwrap();
            let mut bytes = Vec::new();
            let mut part = [0; 4096];
            while !bytes.ends_with(end.as_bytes()) {
                match stream.read(&mut part) {
                    Ok(length) if length > 0 => bytes.extend_from_slice(&part[..length]),
                    _ => break,
                }
            }
            received.send(String::from_utf8(bytes).unwrap().to_lowercase()).ok();
            for piece in answer.as_bytes().chunks(if slowly { 1 } else { answer.len() }) {
                stream.write_all(piece).ok();
                if slowly {
                    thread::sleep(Duration::from_millis(1));
                }
            }
        }
    });
    (address, seen)
}

fn gateway(origin: SocketAddr) -> Gateway {
    let yaml =
        forward_all(&[origin]).replace("upstreams:", "insecure: { engine: auto }\nupstreams:");
    Gateway::start(&with_h2c(&yaml, ""))
}

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let fields = fields.iter();
    fields
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

/// Sends `body` with `trailers`. Returns the answer's body and trailers.
fn exchange(
    gateway: &Gateway,
    fields: &[(&'static str, &'static str)],
    body: &'static str,
    trailers: Option<HeaderMap>,
) -> (String, Option<HeaderMap>) {
    with_h2(gateway.web(), async |client| {
        let mut client = client.ready().await.unwrap();
        let mut request = Request::builder().method("PUT").uri("http://a.test/").body(()).unwrap();
        *request.headers_mut() = map(fields);
        let is_bodiless = body.is_empty() && trailers.is_none();
        let (answer, mut upload) = client.send_request(request, is_bodiless).unwrap();
        if !is_bodiless {
            upload.send_data(Bytes::from_static(body.as_bytes()), trailers.is_none()).unwrap();
        }
        if let Some(trailers) = trailers {
            upload.send_trailers(trailers).unwrap();
        }
        let mut answer = answer.await.unwrap().into_body();
        let mut text = Vec::new();
        while let Some(part) = answer.data().await {
            text.extend_from_slice(&part.unwrap());
        }
        (String::from_utf8(text).unwrap(), answer.trailers().await.unwrap())
    })
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn rfc9112_7_1_2_a_clients_trailers_end_the_last_chunk_at_the_origin() {
    let (address, seen) = origin("x-checksum: 1\r\n\r\n", OK, false);
    let own = gateway(address);
    let trailers = map(&[
        ("x-checksum", "1"),
        ("authorization", "x"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-sallyport-zone", "office"),
        ("x-user", "root"),
        ("x_odd", "1"),
    ]);
    let (body, none) = exchange(&own, &[("x-user", "ann")], "abc", Some(trailers));
    assert_eq!((body.as_str(), none), ("ok", None));
    let received = seen.recv_timeout(PATIENCE).unwrap();
    assert!(received.contains("transfer-encoding: chunked\r\n"), "{received}");
    assert!(received.ends_with("\r\n\r\n3\r\nabc\r\n0\r\nx-checksum: 1\r\n\r\n"), "{received}");
    // A body whose length was said has no place for them.
    let fields = [("content-length", "3")];
    let (address, seen) = origin("abc", OK, false);
    let own = gateway(address);
    exchange(&own, &fields, "abc", Some(map(&[("x-checksum", "1")])));
    let received = seen.recv_timeout(PATIENCE).unwrap();
    assert!(received.contains("content-length: 3\r\n"), "{received}");
    assert!(!received.contains("checksum"), "{received}");
}

#[test]
fn rfc9112_7_1_2_an_origins_trailers_reach_the_client_however_they_come() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n\
        0\r\nX-Checksum:  1 \r\nSet-Cookie: a=b\r\nContent-Length: 9\r\ngrpc-status: 0\r\n\r\n";
    for slowly in [false, true] {
        let (address, seen) = origin("\r\n\r\n", ANSWER, slowly);
        let own = gateway(address);
        let (body, trailers) = exchange(&own, &[("te", "trailers")], "", None);
        assert_eq!(body, "hi");
        assert_eq!(trailers, Some(map(&[("x-checksum", "1"), ("grpc-status", "0")])));
        let received = seen.recv_timeout(PATIENCE).unwrap();
        assert!(received.contains("te: trailers\r\n"), "{received}");
        assert!(received.contains("connection: te\r\n"), "{received}");
    }
}

#[test]
fn an_origin_is_asked_for_trailers_by_clients_that_ask_only() {
    let (address, seen) = origin("\r\n\r\n", OK, false);
    let own = gateway(address);
    exchange(&own, &[], "", None);
    let received = seen.recv_timeout(PATIENCE).unwrap();
    assert!(!received.contains("\r\nte:") && !received.contains("connection:"), "{received}");
}

#[test]
fn trailers_alone_end_a_response_without_a_body() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx-t: 1\r\n\r\n";
    let (address, _) = origin("\r\n\r\n", ANSWER, false);
    let (body, trailers) = exchange(&gateway(address), &[], "", None);
    assert_eq!((body.as_str(), trailers), ("", Some(map(&[("x-t", "1")]))));
}

const WITH_TRAILERS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n\
    0\r\nX-Checksum: 1\r\nSet-Cookie: a=b\r\n\r\n";

/// Asks over HTTP/1 with these fields and this body in chunks. Returns all that comes back.
fn exchange_http1(gateway: &Gateway, fields: &str, body: &str) -> String {
    let mut client = Client::connect(gateway.web());
    client.send(format!(
        "PUT / HTTP/1.1\r\nHost: a\r\n{fields}Transfer-Encoding: chunked\r\n\r\n{body}"
    ));
    String::from_utf8(client.read_to_end()).unwrap()
}

fn dropped(gateway: &Gateway, direction: &str, count: f64) {
    let sample = format!("sallyport_trailers_dropped_total{{direction=\"{direction}\"}}");
    gateway.counts(&sample, count);
}

const UPLOAD: &str =
    "3\r\nabc\r\n0\r\nX-Checksum: 1\r\nX-Forwarded-For: 1.2.3.4\r\nX-User: root\r\n\r\n";

#[test]
fn rfc9112_7_1_2_trailers_pass_over_http1_to_who_asks_for_them() {
    for slowly in [false, true] {
        let (address, seen) = origin("x-checksum: 1\r\n\r\n", WITH_TRAILERS, slowly);
        let own = gateway(address);
        let fields = "TE: gzip, trailers\r\nConnection: close, te\r\nX-User: ann\r\n";
        let answer = exchange_http1(&own, fields, UPLOAD);
        assert!(answer.ends_with("\r\n0\r\nx-checksum: 1\r\n\r\n"), "{answer}");
        let received = seen.recv_timeout(PATIENCE).unwrap();
        assert!(received.ends_with("abc\r\n0\r\nx-checksum: 1\r\n\r\n"), "{received}");
        assert!(received.contains("te: trailers\r\n"), "{received}");
        dropped(&own, "request", 0.0);
        dropped(&own, "response", 0.0);
    }
}

#[test]
fn a_client_of_http1_that_asks_for_no_trailers_gets_none_and_that_is_counted() {
    let (address, seen) = origin("x-checksum: 1\r\n\r\n", WITH_TRAILERS, false);
    let own = gateway(address);
    let answer = exchange_http1(&own, "Connection: close\r\nX-User: ann\r\n", UPLOAD);
    assert!(answer.ends_with("hi\r\n0\r\n\r\n"), "{answer}");
    let received = seen.recv_timeout(PATIENCE).unwrap();
    assert!(!received.contains("\r\nte:"), "{received}");
    dropped(&own, "request", 0.0);
    dropped(&own, "response", 1.0);
}

#[test]
fn trailers_that_the_other_engine_cannot_send_are_counted() {
    let (address, seen) = origin("0\r\n\r\n", OK, false);
    let yaml =
        forward_all(&[address]).replace("upstreams:", "insecure: { engine: pingora }\nupstreams:");
    let own = Gateway::start(&yaml);
    let answer = exchange_http1(&own, "Connection: close\r\n", UPLOAD);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let received = seen.recv_timeout(PATIENCE).unwrap();
    assert!(!received.contains("checksum"), "{received}");
    dropped(&own, "request", 1.0);
}
