//! gRPC-web of browsers to origins of gRPC, over HTTP/1 and HTTP/2.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};

use super::grpc::{Origin, connect, echo, endpoint, forwarding, in_time, runtime, unary};
use crate::support::{Client, Gateway, Origin as Http1Origin, Response as Answer, get};

/// A message of gRPC: not compressed, five bytes.
const MESSAGE: &[u8] = b"\0\0\0\0\x05hello";

/// What `echo` answers to it, with its trailers in the body.
const ANSWER: &[u8] = b"\0\0\0\0\x05hello\x80\0\0\0\x21grpc-status: 0\r\nx-trailer: kept\r\n";

/// A call over HTTP/1, its body in chunks of this size.
fn call(gateway: &Gateway, fields: &str, body: &[u8], chunk: usize) -> Answer {
    let mut client = Client::connect(gateway.web());
    client.send(format!(
        "POST /e.E/Unary HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{fields}\r\n"
    ));
    for part in body.chunks(chunk) {
        client.send([format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat());
    }
    client.send("0\r\n\r\n").receive()
}

#[test]
fn a_call_over_http1_becomes_grpc_and_its_trailers_a_frame() {
    let runtime = runtime();
    let origin = Origin::start(&runtime, None, 100, echo);
    let gateway = forwarding(&endpoint(&origin));
    for kind in ["application/grpc-web", "application/grpc-web+proto"] {
        let answer = call(&gateway, &format!("Content-Type: {kind}\r\n"), MESSAGE, 100);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body.as_bytes(), String::from_utf8_lossy(ANSWER).as_bytes());
        assert_eq!(answer.field("content-type").unwrap(), "application/grpc-web");
        let seen = origin.seen().headers;
        assert_eq!(seen["content-type"].to_str().unwrap(), kind.replace("-web", ""));
        assert_eq!(seen["te"], "trailers");
    }
}

#[test]
fn the_textual_form_is_base64_in_both_directions_however_it_is_cut() {
    let runtime = runtime();
    let origin = Origin::start(&runtime, None, 100, echo);
    let gateway = forwarding(&endpoint(&origin));
    // Flushed within the message, which pads in the middle.
    let text = STANDARD.encode(&MESSAGE[..4]) + &STANDARD.encode(&MESSAGE[4..]);
    for chunk in [1, 3, 100] {
        let fields = "Content-Type: application/grpc-web-text\r\n\
                      Accept: application/grpc-web-text\r\n";
        let answer = call(&gateway, fields, text.as_bytes(), chunk);
        assert_eq!(answer.field("content-type").unwrap(), "application/grpc-web-text");
        let read: Vec<u8> = answer
            .body
            .as_bytes()
            .chunks(4)
            .flat_map(|four| STANDARD.decode(four).unwrap())
            .collect();
        assert_eq!(read, ANSWER, "in chunks of {chunk}");
        assert_eq!(origin.seen().headers["content-type"], "application/grpc");
        assert!(!origin.seen().headers.contains_key("content-length"));
    }
    // The two directions may differ.
    let fields =
        "Content-Type: application/grpc-web-text\r\nAccept: application/grpc-web+proto\r\n";
    let answer = call(&gateway, fields, text.as_bytes(), 7);
    assert_eq!(answer.body.as_bytes(), String::from_utf8_lossy(ANSWER).as_bytes());
}

#[test]
fn a_call_over_http2_has_its_trailers_in_the_body_as_well() {
    let runtime = runtime();
    let origin = Origin::start(&runtime, None, 100, echo);
    let gateway = forwarding(&endpoint(&origin));
    let called = in_time(&runtime, async {
        let mut client = connect(gateway.web()).await;
        let request = Request::post("http://api.internal/e.E/Unary")
            .header("content-type", "application/grpc-web+proto")
            .body(())
            .unwrap();
        unary(&mut client, request, MESSAGE).await
    });
    assert_eq!((called.status, &*called.body), (StatusCode::OK, ANSWER));
    assert_eq!(called.headers["content-type"], "application/grpc-web");
    assert_eq!(called.grpc(), None, "a browser sees no trailers");
}

#[test]
fn each_message_of_a_stream_is_whole_when_it_comes() {
    let runtime = runtime();
    let origin = Origin::start(&runtime, None, 100, echo);
    let gateway = forwarding(&endpoint(&origin));
    in_time(&runtime, async {
        let mut client = connect(gateway.web()).await;
        let request = Request::post("http://api.internal/e.E/Both")
            .header("content-type", "application/grpc-web-text")
            .body(())
            .unwrap();
        let (response, mut send) = client.send_request(request, false).unwrap();
        let mut received = response.await.unwrap().into_body();
        for message in [&b"\0\0\0\0\x01a"[..], b"\0\0\0\0\x02bc", b"\0\0\0\0\x03def"] {
            send.send_data(STANDARD.encode(message).into(), false).unwrap();
            let mut read = Vec::new();
            while read.len() < message.len() {
                let part = received.data().await.unwrap().unwrap();
                received.flow_control().release_capacity(part.len()).unwrap();
                read.extend(STANDARD.decode(part).unwrap());
            }
            assert_eq!(read, message);
        }
    });
}

#[test]
fn what_fails_is_a_status_that_a_browser_reads() {
    let runtime = runtime();
    let origin = Origin::start(&runtime, None, 100, |_, body, mut respond| async move {
        drop(body);
        // What gRPC calls Trailers-Only.
        let head = Response::builder().header("content-type", "application/grpc+proto");
        let head = head.header("grpc-status", "7").body(()).unwrap();
        respond.send_response(head, true).ok();
    });
    let gateway = forwarding(&endpoint(&origin));
    let kind = "Content-Type: application/grpc-web+proto\r\n";
    let answer = call(&gateway, kind, MESSAGE, 100);
    assert_eq!((answer.status, answer.field("grpc-status").as_deref()), (200, Some("7")));
    assert_eq!(answer.field("content-type").unwrap(), "application/grpc-web+proto");
    assert_eq!(answer.body, "");

    let origin = Origin::start(&runtime, None, 100, |_, mut body, respond| async move {
        while let Some(Ok(_)) = body.data().await {}
        drop(respond);
    });
    let gateway = forwarding(&endpoint(&origin));
    let answer = call(&gateway, "Content-Type: application/grpc-web-text\r\n", b"???", 100);
    assert_eq!((answer.status, answer.field("grpc-status").as_deref()), (200, Some("13")));
    assert_eq!(answer.field("content-type").unwrap(), "application/grpc-web-text+proto");
    assert_eq!(answer.error().as_deref(), Some("bad_request"));

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway =
        forwarding(&format!("protocol: http2\nendpoints: [ {{ address: \"{closed}\" }} ]"));
    let answer = call(&gateway, kind, MESSAGE, 100);
    assert_eq!((answer.status, answer.field("grpc-status").as_deref()), (200, Some("14")));
}

#[test]
fn what_is_no_answer_of_grpc_stays_what_it_is() {
    let runtime = runtime();
    let origin = Origin::start(&runtime, None, 100, |_, body, mut respond| async move {
        drop(body);
        let head = Response::builder().status(404).header("content-type", "text/plain");
        let Ok(mut send) = respond.send_response(head.body(()).unwrap(), false) else { return };
        send.send_data(Bytes::from_static(b"no such page"), false).ok();
        send.send_trailers(HeaderMap::new()).ok();
    });
    let gateway = forwarding(&endpoint(&origin));
    let answer = call(&gateway, "Content-Type: application/grpc-web-text\r\n", b"AAAA", 100);
    assert_eq!((answer.status, &*answer.body), (404, "no such page"));
    assert_eq!(answer.field("content-type").unwrap(), "text/plain");
}

#[test]
fn origins_of_http1_are_told_what_the_client_said() {
    let origin = Http1Origin::named("own");
    let gateway = forwarding(&format!("endpoints: [ {{ address: \"{}\" }} ]", origin.address));
    let text = STANDARD.encode(MESSAGE);
    let answer = call(&gateway, "Content-Type: application/grpc-web-text\r\n", text.as_bytes(), 5);
    assert_eq!(answer.body, "own");
    assert_eq!(origin.last().fields("content-type"), ["application/grpc-web-text"]);
    assert_eq!(origin.last().body, text.as_bytes());
    assert_eq!(get(gateway.web(), "a", "/").status, 200);
}
