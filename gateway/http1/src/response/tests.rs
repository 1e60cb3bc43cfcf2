use super::*;

const LIMITS: HeadLimits = HeadLimits { bytes: 1 << 12, fields: 20 };

/// What becomes of `bytes`, which must be the same in one piece and byte by byte.
fn check(bytes: &[u8], to_head: bool) -> Result<Option<ResponseHead>, Malformed> {
    let whole = ResponseCheck::default().advance(bytes, to_head, LIMITS);
    let mut pieces = ResponseCheck::default();
    let steps = (1..=bytes.len()).map(|end| pieces.advance(&bytes[..end], to_head, LIMITS));
    let by_pieces = steps.into_iter().find(|step| !matches!(step, Ok(None))).unwrap_or(Ok(None));
    assert_eq!(by_pieces, whole, "{}", bytes.escape_ascii());
    whole
}

fn passed(text: &str, to_head: bool) -> ResponseHead {
    let read = check(text.as_bytes(), to_head).unwrap_or_else(|why| panic!("{text:?}: {why:?}"));
    let head = read.unwrap_or_else(|| panic!("{text:?} is incomplete"));
    assert_eq!(head.bytes, text.len());
    head
}

fn chunked() -> Body {
    Body::Chunked(crate::Chunks::default())
}

#[test]
fn rfc9112_4_a_status_line_has_three_parts() {
    for (line, status, reason) in [
        ("HTTP/1.1 200 OK", 200, "OK"),
        ("HTTP/1.0 404 Not Found\t\u{e9}", 404, "Not Found\t\u{e9}"),
        ("HTTP/1.1 999 ", 999, ""),
        ("HTTP/1.1 200", 200, ""),
    ] {
        let text = format!("{line}\r\nContent-Length: 0\r\n\r\n");
        let head = passed(&text, false);
        assert_eq!((head.status, &text[head.reason]), (status, reason), "{line}");
        assert_eq!(head.fields, line.len() + 2);
        assert_eq!(head.version == Version::Http11, line.starts_with("HTTP/1.1"));
    }
    for line in [
        "",
        "HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/1.1 20",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 2000",
        "HTTP/1.1 099 OK",
        "HTTP/1.1 +20 OK",
        "HTTP/1.1 200OK",
        "HTTP/1.1 200 O\0K",
        "HTTP/1.1 200 O\rK",
        "HTTP/1.2 200 OK",
        "HTTP/2 200 OK",
        "http/1.1 200 OK",
        " HTTP/1.1 200 OK",
        "ICY 200 OK!!!!",
        "220 mail ESMTP",
    ] {
        assert!(check(format!("{line}\r\n\r\n").as_bytes(), false).is_err(), "{line:?}");
    }
}

#[test]
fn rfc9112_6_3_the_body_after_a_head() {
    for (status, fields, to_head, body) in [
        (200, "", false, Body::UntilClose),
        (200, "Content-Length: 5\r\n", false, Body::Sized(5)),
        (200, "Content-Length: 5, 5\r\nCONTENT-LENGTH: 5\r\n", false, Body::Sized(5)),
        (200, "Content-Length: 9223372036854775807\r\n", false, Body::Sized(i64::MAX as u64)),
        (200, "Transfer-Encoding: Chunked\r\n", false, chunked()),
        (200, "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", false, chunked()),
        (200, "Content-Length: x\r\nTransfer-Encoding: chunked\r\n", false, chunked()),
        (200, "Content-Length: 5\r\n", true, Body::EMPTY),
        (200, "Transfer-Encoding: chunked\r\n", true, Body::EMPTY),
        (200, "", true, Body::EMPTY),
        (204, "Content-Length: 5\r\n", false, Body::EMPTY),
        (204, "Transfer-Encoding: chunked\r\n", false, Body::EMPTY),
        (304, "Content-Length: 5\r\n", false, Body::EMPTY),
        (304, "Transfer-Encoding: chunked\r\n", false, Body::EMPTY),
        (100, "", false, Body::EMPTY),
        (103, "Content-Length: 5\r\n", false, Body::EMPTY),
        (101, "Upgrade: x\r\n", false, Body::UntilClose),
        (205, "", false, Body::UntilClose),
    ] {
        let head = passed(&format!("HTTP/1.1 {status} X\r\n{fields}\r\n"), to_head);
        assert_eq!(head.body, body, "{status} {fields:?}");
        let overrides = fields.contains("Length") && fields.contains("Transfer");
        assert_eq!(head.overrides_length, overrides, "{fields:?}");
    }
}

#[test]
fn rfc9112_6_3_a_length_that_contradicts_itself_is_refused() {
    for (status, fields) in [
        (200, "Content-Length: 5, 6\r\n"),
        (200, "Content-Length: 5\r\nContent-Length: 6\r\n"),
        (200, "Content-Length: 5\r\nContent-Length:\r\n"),
        (200, "Content-Length: +5\r\n"),
        (200, "Content-Length: 0x5\r\n"),
        (200, "Content-Length: 5 5\r\n"),
        (200, "Content-Length: 5,\r\n"),
        (200, "Content-Length: 99999999999999999999\r\n"),
        (204, "Content-Length: x\r\n"),
        (304, "Content-Length: 1, 2\r\n"),
        (200, "Transfer-Encoding: gzip\r\n"),
        (200, "Transfer-Encoding: gzip, chunked\r\n"),
        (200, "Transfer-Encoding: chunked, chunked\r\n"),
        (200, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        (200, "Transfer-Encoding: \r\n"),
        (304, "Transfer-Encoding: gzip\r\n"),
    ] {
        let head = format!("HTTP/1.1 {status} X\r\n{fields}\r\n");
        assert!(check(head.as_bytes(), false).is_err(), "{head:?}");
        // What HEAD is answered with is held to the same.
        assert!(check(head.as_bytes(), true).is_err(), "{head:?}");
    }
}

#[test]
fn rfc9112_5_what_two_parsers_read_in_two_ways_is_refused() {
    for head in [
        &b"HTTP/1.1 200 OK\n\n"[..],
        b"HTTP/1.1 200 OK\r\nA: b\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n A: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA\xe9: b\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
    ] {
        assert!(check(head, false).is_err(), "{}", head.escape_ascii());
    }
}

#[test]
fn rfc9112_9_3_whether_a_connection_persists() {
    for (head, persists) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close\r\n", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x , close\r\n", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: a\r\nConnection: close\r\n", false),
        ("HTTP/1.1 200 OK\r\n", false),
        ("HTTP/1.1 204 OK\r\n", true),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n", true),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n", false),
        ("HTTP/1.1 101 X\r\nUpgrade: x\r\n", false),
    ] {
        assert_eq!(passed(&format!("{head}\r\n"), false).persists, persists, "{head:?}");
    }
}

#[test]
fn a_head_is_bounded_in_bytes_and_fields() {
    let line = "HTTP/1.1 200 OK\r\n";
    let many = format!("{line}{}\r\n", "A: b\r\n".repeat(21));
    let long = format!("{line}A: {}", "x".repeat(1 << 12));
    for head in [many, long] {
        let read = ResponseCheck::default().advance(head.as_bytes(), false, LIMITS);
        assert!(read.is_err());
    }
    passed(&format!("{line}{}\r\n", "A: b\r\n".repeat(20)), false);
}
