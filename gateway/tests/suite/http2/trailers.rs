//! Trailers of requests (RFC 9113, 8.1): what makes a message malformed, however it is encoded.

use std::io::Read as _;
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use super::client::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, PADDED, PROTOCOL_ERROR, section,
    with_h2c,
};
use crate::support::{Gateway, Origin, PATIENCE, forward_all};

/// The head of an upload whose `:authority` is kept in the table, as the newest entry but one.
fn head() -> Vec<u8> {
    let mut head = vec![0x83, 0x86, 0x84];
    // RFC 7541, 6.2.1: kept, the second with a name of its own.
    head.extend(b"\x41\x06x.test\x40\x06x-kept\x01y");
    head
}

/// Begins an upload whose trailers are `section`.
fn upload(client: &mut Frames, stream: u32, section: &[u8]) {
    client.send(HEADERS, END_HEADERS, stream, &head());
    client.send(DATA, 0, stream, b"abc");
    client.send(HEADERS, END_STREAM | END_HEADERS, stream, section);
}

/// How a stream ended whose trailers these are, sent by `send`.
fn ending(gateway: &Gateway, send: impl Fn(&mut Frames)) -> Option<u32> {
    let mut client = Frames::connect(gateway.web());
    client.send(HEADERS, END_HEADERS, 1, &head());
    client.send(DATA, 0, 1, b"abc");
    send(&mut client);
    client.reset(1)
}

#[test]
fn rfc9113_8_1_pseudo_fields_in_trailers_are_malformed() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&with_h2c(&forward_all(&[origin.address]), ""));
    let whole = END_STREAM | END_HEADERS;
    for trailers in [
        // `:method: GET` of the static table.
        &b"\x82"[..],
        &section(&[("x", "y"), (":path", "/")]),
        &section(&[(":status", "200")]),
        // `:path` in Huffman's code; by the static table; and what the head has put into the table.
        b"\0\x84\xb9\x58\xd3\x3f\x01/",
        b"\x04\x01/",
        b"\xbf",
        b"\x0f\x30\x01z",
    ] {
        let sent = ending(&gateway, |client| {
            client.send(HEADERS, whole, 1, trailers);
        });
        assert_eq!(sent, Some(PROTOCOL_ERROR), "{trailers:?}");
        let padded = [&[2], trailers, &[0, 0]].concat();
        let sent = ending(&gateway, |client| {
            client.send(HEADERS, whole | PADDED, 1, &padded);
        });
        assert_eq!(sent, Some(PROTOCOL_ERROR), "{trailers:?}, padded");
        for split in 0..trailers.len() {
            let sent = ending(&gateway, |client| {
                client.send(HEADERS, END_STREAM, 1, &trailers[..split]);
                client.send(CONTINUATION, END_HEADERS, 1, &trailers[split..]);
            });
            assert_eq!(sent, Some(PROTOCOL_ERROR), "{trailers:?}, split at {split}");
        }
    }
    assert_eq!(origin.requests().len(), 0, "no origin saw a complete request");
    // The other entry of the table is no pseudo-field.
    let mut client = Frames::connect(gateway.web());
    upload(&mut client, 1, b"\xbe");
    assert_eq!(client.status(), 200);
    assert_eq!(origin.last().body, b"abc");
}

#[test]
fn rfc9110_6_5_1_fields_that_frame_or_direct_a_message_are_no_trailers() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&with_h2c(&forward_all(&[origin.address]), ""));
    for (name, value) in [
        ("content-length", "3"),
        ("transfer-encoding", "chunked"),
        ("host", "x.test"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("connection", "close"),
        ("upgrade", "x"),
        ("x-padded", " y"),
    ] {
        let mut client = Frames::connect(gateway.web());
        upload(&mut client, 1, &section(&[(name, value)]));
        assert_eq!(client.reset(1), Some(PROTOCOL_ERROR), "{name}");
        // The connection goes on.
        upload(&mut client, 3, &section(&[("x-checksum", "1")]));
        assert_eq!(client.status(), 200, "{name}");
    }
    assert_eq!(origin.requests().len(), 8, "those that were sound");
}

#[test]
fn an_origin_sees_a_malformed_upload_end_in_the_middle() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = Gateway::start(&with_h2c(&forward_all(&[listener.local_addr().unwrap()]), ""));
    let (received, seen) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut bytes = Vec::new();
            drop(stream.read_to_end(&mut bytes));
            received.send(String::from_utf8(bytes).unwrap()).ok();
        }
    });
    let mut client = Frames::connect(gateway.web());
    upload(&mut client, 1, b"\x82");
    assert_eq!(client.reset(1), Some(PROTOCOL_ERROR));
    // It is not even sent where the trailers come before there is a connection.
    if let Ok(seen) = seen.recv_timeout(PATIENCE / 10) {
        assert!(!seen.ends_with("\r\n0\r\n\r\n"), "{seen}");
    }
}

#[test]
fn rfc9113_8_1_1_a_body_of_another_length_than_was_said_is_malformed() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&with_h2c(&forward_all(&[origin.address]), ""));
    for (length, flags) in [("2", END_STREAM), ("4", END_STREAM), ("2", 0)] {
        let mut client = Frames::connect(gateway.web());
        client.request(1, "POST", 0, &[("content-length", length)]);
        client.send(DATA, flags, 1, b"abc");
        assert_eq!(client.reset(1), Some(PROTOCOL_ERROR), "{length}");
    }
    let mut client = Frames::connect(gateway.web());
    client.request(1, "POST", 0, &[("content-length", "4")]);
    client.send(DATA, 0, 1, b"abc");
    client.send(HEADERS, END_STREAM | END_HEADERS, 1, &section(&[("x", "y")]));
    assert_eq!(client.reset(1), Some(PROTOCOL_ERROR));
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn malformed_trailers_end_the_connection_after_a_few() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&with_h2c(&forward_all(&[origin.address]), ""));
    let mut client = Frames::connect(gateway.web());
    for stream in (1..200).step_by(2) {
        upload(&mut client, stream, b"\x82");
    }
    client.goodbye();
    let sample = "sallyport_http2_connections_closed_total{reason=\"malformed\"}";
    gateway.counts(sample, 1.0);
    assert_eq!(origin.requests().len(), 0);
}
