//! What requests say, and what an origin of HTTP/1 is told of it.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use super::client::{DATA, END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM, with_h2c};
use crate::support::{Client, Gateway, Origin, eventually, forward_all};

fn methods(origin: &Origin) -> Vec<String> {
    let heads = origin.requests().into_iter().map(|request| request.head);
    heads.map(|head| head.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn rfc9112_7_1_a_body_that_ends_in_an_empty_data_frame_has_one_last_chunk() {
    let origin = Origin::named("a");
    let gateway = Gateway::start_single(&with_h2c(&forward_all(&[origin.address]), ""));
    let mut client = Frames::connect(gateway.web());
    for stream in [1, 3] {
        client.request(stream, "POST", 0, &[]);
        client.send(DATA, 0, stream, b"abc");
        client.send(DATA, END_STREAM, stream, b"");
        assert_eq!(client.status(), 200);
    }
    client.request(5, "POST", 0, &[]);
    client.send(DATA, END_STREAM, 5, b"");
    assert_eq!(client.status(), 200);
    client.request(7, "GET", END_STREAM, &[]);
    assert_eq!(client.status(), 200);
    // A second last chunk would be read as the head of another request.
    assert_eq!(methods(&origin), ["POST", "POST", "POST", "GET"]);
    assert_eq!(origin.requests()[0].body, b"abc");
    gateway.counts("sallyport_connection_reuse_total{upstream=\"up\",reused=\"true\"}", 3.0);
}

#[test]
fn a_connection_on_which_an_origin_spoke_unasked_is_not_used_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (spoken, said) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let spoken = spoken.clone();
            thread::spawn(move || {
                let mut head = [0; 4096];
                while stream.read(&mut head).is_ok_and(|bytes| bytes > 0) {
                    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                    stream.write_all(answer.as_bytes()).ok();
                    // Not with the answer: the gateway has put the connection back by now, or is about to.
                    let unasked = "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno";
                    stream.write_all(unasked.as_bytes()).ok();
                    spoken.send(()).ok();
                }
            });
        }
    });
    let gateway = Gateway::start_single(&forward_all(&[address]));
    let mut client = Client::connect(gateway.web());
    for turn in 0..300 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.receive().status, 200, "in turn {turn}");
        said.recv().unwrap();
    }
}

#[test]
fn rfc9113_8_2_3_cookie_fields_are_joined_before_an_http1_origin_sees_them() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&with_h2c(&forward_all(&[origin.address]), ""));
    let mut client = Frames::connect(gateway.web());
    client.request(1, "GET", END_STREAM, &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2; c=3")]);
    assert_eq!(client.status(), 200);
    assert_eq!(origin.last().fields("cookie"), ["a=1; b=2; c=3"]);
    client.request(3, "GET", END_STREAM, &[("cookie", "a=1")]);
    assert_eq!(client.status(), 200);
    assert_eq!(origin.last().fields("cookie"), ["a=1"]);
}

#[test]
fn rfc9113_8_2_1_values_with_surrounding_whitespace_are_malformed() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&with_h2c(&forward_all(&[origin.address]), ""));
    for value in [" a", "a ", "\ta", "a\t", " "] {
        let mut client = Frames::connect(gateway.web());
        client.request(1, "GET", END_STREAM, &[("x-padded", value)]);
        assert_eq!(client.status(), 400, "{value:?}");
    }
    assert_eq!(origin.requests().len(), 0);
    let mut client = Frames::connect(gateway.web());
    client.request(1, "GET", END_STREAM, &[("x-plain", "a b"), ("x-empty", "")]);
    assert_eq!(client.status(), 200);
}

#[test]
fn rfc9113_8_1_trailers_do_not_reach_an_http1_origin_as_a_second_message() {
    let origin = Origin::named("a");
    let gateway = Gateway::start_single(&with_h2c(&forward_all(&[origin.address]), ""));
    let mut client = Frames::connect(gateway.web());
    client.request(1, "POST", 0, &[]);
    client.send(DATA, 0, 1, b"abc");
    client.send(HEADERS, END_STREAM | END_HEADERS, 1, b"\0\x01x\x01y");
    assert_eq!(client.status(), 200);
    client.request(3, "GET", END_STREAM, &[]);
    assert_eq!(client.status(), 200);
    assert_eq!(methods(&origin), ["POST", "GET"]);
    // A reset in the middle of a body leaves nothing behind either.
    client.request(5, "POST", 0, &[]);
    client.send(DATA, 0, 5, b"abc");
    client.send(RST_STREAM, 0, 5, &[0, 0, 0, 8]);
    client.request(7, "GET", END_STREAM, &[]);
    assert_eq!(client.status(), 200);
    eventually("the last request", || (methods(&origin) == ["POST", "GET", "GET"]).then_some(()));
}
