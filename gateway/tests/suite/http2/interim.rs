//! What a client is told before its answer (RFC 9110, 15.2; RFC 9113, 8.1).

use std::future::poll_fn;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};

use super::client::{DATA, END_STREAM, Frames, HEADERS, with_h2, with_h2c};
use crate::support::{Gateway, Origin, config, forward_all};

/// An origin that hands each connection to `serve` once a head was read.
fn origin(serve: impl Fn(&mut BufReader<TcpStream>) + Send + Sync + Copy + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while stream.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
                    line.clear();
                }
                serve(&mut stream);
            });
        }
    });
    address
}

fn write(stream: &mut BufReader<TcpStream>, text: &str) {
    stream.get_mut().write_all(text.as_bytes()).ok();
}

/// What a client is told, in order, which sends its body of `body` when it is told to or is answered.
fn told(
    address: SocketAddr,
    request: http::request::Builder,
    body: &'static str,
) -> Vec<(StatusCode, HeaderMap)> {
    with_h2(address, async |client| {
        let mut client = client.ready().await.unwrap();
        let request = request.uri("http://x.test/").body(()).unwrap();
        let (mut answer, mut upload) = client.send_request(request, body.is_empty()).unwrap();
        let mut told = Vec::new();
        while let Some(interim) = poll_fn(|context| answer.poll_informational(context)).await {
            let interim = interim.unwrap().into_parts().0;
            if interim.status == StatusCode::CONTINUE && !body.is_empty() {
                upload.send_data(Bytes::from_static(body.as_bytes()), true).unwrap();
            }
            told.push((interim.status, interim.headers));
        }
        let answer = answer.await.unwrap().into_parts().0;
        told.push((answer.status, answer.headers));
        told
    })
}

/// A request whose client waits to be told to send its body.
fn expecting() -> http::request::Builder {
    let request = Request::builder().method("POST").header("expect", "100-continue");
    request.header("content-length", "4")
}

fn statuses(told: &[(StatusCode, HeaderMap)]) -> Vec<u16> {
    told.iter().map(|(status, _)| status.as_u16()).collect()
}

#[test]
fn rfc9110_15_2_interim_responses_reach_the_client_as_they_come() {
    let origin = Origin::start(|_, stream| {
        let early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: x-hop\r\n\
            X-Hop: 1\r\nContent-Length: 3\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n";
        stream.write_all(early.as_bytes()).ok();
        thread::sleep(Duration::from_millis(50));
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_ok()
    });
    let gateway = Gateway::start_single(&with_h2c(&forward_all(&[origin.address]), ""));
    for method in ["GET", "HEAD"] {
        let told = told(gateway.web(), Request::builder().method(method), "");
        assert_eq!(statuses(&told), [103, 102, 200]);
        let (_, early) = &told[0];
        assert_eq!(early["link"], "</a.css>; rel=preload");
        // What was said to this hop and what would frame a body goes no further.
        assert_eq!(early.len(), 1, "{early:?}");
    }
    // Without END_STREAM, and nothing between them and the answer.
    let mut client = Frames::connect(gateway.web());
    client.request(1, "GET", END_STREAM, &[]);
    let heads: Vec<_> = (0..3).map(|_| client.receive_kind(HEADERS).unwrap()).collect();
    assert!(heads.iter().all(|head| head.flags & END_STREAM == 0));
    assert_eq!(client.receive_kind(DATA).unwrap().content, b"ok");
}

#[test]
fn rfc9110_10_1_1_an_origins_100_is_passed_on() {
    let address = origin(|stream| {
        write(stream, "HTTP/1.1 100 Continue\r\n\r\n");
        let mut body = [0; 4];
        stream.read_exact(&mut body).ok();
        assert_eq!(&body, b"body");
        write(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let gateway = Gateway::start(&with_h2c(&forward_all(&[address]), ""));
    assert_eq!(statuses(&told(gateway.web(), expecting(), "body")), [100, 200]);
}

#[test]
fn rfc9110_10_1_1_where_the_origin_is_silent_the_gateway_tells_the_client_to_go_on() {
    let address = origin(|stream| {
        let mut body = [0; 4];
        stream.read_exact(&mut body).ok();
        assert_eq!(&body, b"body");
        write(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let gateway = Gateway::start(&with_h2c(&forward_all(&[address]), ""));
    assert_eq!(statuses(&told(gateway.web(), expecting(), "body")), [100, 200]);
}

#[test]
fn nobody_is_told_to_go_on_who_does_not_ask_or_is_answered() {
    const ANSWER: &str = "virtual_hosts:
  - name: all
    domains: [\"*\"]
    routes:
      - { name: no, respond: { status: 403, body: no } }
";
    let gateway = Gateway::start(&with_h2c(&config(ANSWER), ""));
    assert_eq!(statuses(&told(gateway.web(), expecting(), "body")), [403]);
    let address = origin(|stream| {
        thread::sleep(Duration::from_millis(400));
        write(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let gateway = Gateway::start(&with_h2c(&forward_all(&[address]), ""));
    let request = Request::builder().method("POST").header("content-length", "4");
    assert_eq!(statuses(&told(gateway.web(), request, "body")), [200]);
}

#[test]
fn an_origin_that_never_stops_hinting_fills_no_memory() {
    let origin = Origin::start(|_, stream| {
        for _ in 0..1_000 {
            stream.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").ok();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_ok()
    });
    let gateway = Gateway::start(&with_h2c(&forward_all(&[origin.address]), ""));
    let told = statuses(&told(gateway.web(), Request::builder(), ""));
    assert_eq!(told.len(), 17, "{told:?}");
    assert_eq!(told.last(), Some(&200));
}
