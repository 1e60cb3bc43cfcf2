use super::{Framing, Head, HeadCheck, HeadLimits, Refusal};

const LIMITS: HeadLimits = HeadLimits { bytes: 1 << 17, fields: 100 };

/// What becomes of `bytes`, which must be the same whatever pieces they come in.
fn check(bytes: &[u8]) -> Result<Option<Head>, Refusal> {
    let whole = HeadCheck::default().advance(bytes, LIMITS);
    if bytes.len() > 1 << 10 {
        return whole;
    }
    let mut pieces = HeadCheck::default();
    let steps = (1..=bytes.len()).map(|end| pieces.advance(&bytes[..end], LIMITS));
    let by_pieces = steps.into_iter().find(|step| !matches!(step, Ok(None))).unwrap_or(Ok(None));
    // A control character is noticed before the line is over, and is then no more than that.
    let malformed = |read: &_| matches!(read, Err(Refusal::Malformed(_)));
    let same = by_pieces == whole || malformed(&by_pieces) && malformed(&whole);
    assert!(same, "{}: {by_pieces:?}, {whole:?}", bytes.escape_ascii());
    whole
}

/// The request as it goes on: its head is whole and has passed.
fn passed(head: &str) -> (String, Framing) {
    let read = check(head.as_bytes()).unwrap_or_else(|refusal| panic!("{head:?}: {refusal:?}"));
    let read = read.unwrap_or_else(|| panic!("{head:?} is incomplete"));
    assert_eq!(read.bytes, head.len());
    let mut text = head.to_owned();
    if let Some((line, normal)) = read.request_line {
        text.replace_range(line, std::str::from_utf8(&normal).unwrap());
    }
    (text, read.framing)
}

fn target(target: &str) -> Result<String, Refusal> {
    let head = format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n");
    check(head.as_bytes())?;
    let (text, _) = passed(&head);
    Ok(text.split(' ').nth(1).unwrap().to_owned())
}

#[test]
fn rfc9112_3_2_a_target_is_spelt_as_rfc3986_has_it() {
    for (sent, expected) in [
        ("/", "/"),
        (
            "/a/%2f..;x=1,@:!$&'()*+~_-.?a=b&c[]=d/?{|}^`%zz\\",
            "/a/%2f..;x=1,@:!$&'()*+~_-.?a=b&c[]=d/?{|}^`%zz\\",
        ),
        ("/\u{e9}", "/%C3%A9"),
        ("/a|b\"<>[]{}^`?\"<>\u{e9}", "/a%7Cb%22%3C%3E%5B%5D%7B%7D%5E%60?%22%3C%3E%C3%A9"),
        ("http://a.test", "/"),
        ("http://A.test:80/x?y", "/x?y"),
        ("HTTP://a.test.:80?y", "/?y"),
        ("https://a.test/", "/"),
    ] {
        // The port that Host does not name is that of the scheme.
        assert_eq!(target(sent).as_deref(), Ok(expected), "{sent}");
    }
    for refused in [
        "/a#b",
        "/a\u{1}",
        "/a\u{7f}",
        "/?\u{1}",
        "/a\tb",
        "a",
        "*",
        "//a.test:80/".trim_start_matches('/'),
        "http:///x",
        "http://a.test:81/",
        "http://b.test/",
        "http://u@a.test/",
        "ftp://a.test/",
        "http:/a.test",
        "a.test:80",
        "http://a.test#x",
        "?x",
    ] {
        assert!(target(refused).is_err(), "{refused:?}");
    }
    assert_eq!(target(&"/".repeat(70_000)), Err(Refusal::TargetTooLong));
    assert_eq!(target(&format!("/{}", "\u{e9}".repeat(11_000))), Err(Refusal::TargetTooLong));
}

#[test]
fn rfc9112_3_2_4_options_may_ask_for_the_server() {
    let line = |head: &str| passed(head).0.lines().next().unwrap().to_owned();
    assert_eq!(line("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), "OPTIONS * HTTP/1.1");
    assert_eq!(line("OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n"), "OPTIONS * HTTP/1.1");
    assert_eq!(line("OPTIONS http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"), "OPTIONS / HTTP/1.1");
}

#[test]
fn rfc9112_3_2_2_the_host_of_a_target_stands_for_a_missing_one() {
    let (text, _) = passed("GET http://a.test:81/ HTTP/1.0\r\nX: y\r\n\r\n");
    assert_eq!(text, "GET / HTTP/1.0\r\nHost: a.test:81\r\nX: y\r\n\r\n");
    assert_eq!(passed("GET / HTTP/1.0\r\n\r\n").0, "GET / HTTP/1.0\r\n\r\n");
}

#[test]
fn rfc9112_6_bodies_are_framed_in_one_way() {
    let framing = |fields: &str| {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        check(head.as_bytes()).map(|head| head.unwrap().framing)
    };
    assert_eq!(framing(""), Ok(Framing::None));
    assert_eq!(framing("content-LENGTH:\t12 \r\n"), Ok(Framing::Sized(12)));
    let most = i64::MAX;
    assert_eq!(framing(&format!("Content-Length: {most}\r\n")), Ok(Framing::Sized(most as u64)));
    assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
    for refused in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding:\r\n",
        "Content-Length: 4\r\nContent-Length: 4\r\n",
        "Content-Length: 4, 4\r\n",
        "Content-Length: +4\r\n",
        "Content-Length: \r\n",
        "Content-Length: 0x4\r\n",
        "Content-Length: 9223372036854775808\r\n",
        "Content-Length: 99999999999999999999\r\n",
    ] {
        assert!(framing(refused).is_err(), "{refused:?}");
    }
}

#[test]
fn rfc9112_2_2_and_5_lines_and_fields_have_one_reading() {
    for head in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\rc\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA: b\0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA: b\u{7f}\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\n\tc: d\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA\u{e9}: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n".replace("HTTP/1.1", "HTTP/01.1").as_str(),
        "\u{16}\u{3}\u{1}",
    ] {
        assert!(matches!(check(head.as_bytes()), Err(Refusal::Malformed(_))), "{head:?}");
    }
    assert!(check(b"GET / HTTP/1.1\r\nHost: a\r\nA: \xff\t\"b\r\nB:\r\n!#$: %&\r\n\r\n").is_ok());
}

#[test]
fn versions_and_methods_that_are_not_spoken_are_named() {
    for (head, refusal) in [
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Refusal::Version),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", Refusal::Version),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refusal::Version),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Connect),
    ] {
        assert_eq!(check(head.as_bytes()), Err(refusal), "{head:?}");
    }
}

#[test]
fn a_head_ends_where_its_limits_are() {
    let fields = |count: usize| {
        let fields: String = (1..count).map(|n| format!("X-{n}: v\r\n")).collect();
        check(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes())
    };
    assert!(fields(100).is_ok());
    assert_eq!(fields(101), Err(Refusal::TooLarge));
    let advance = |text: &str, bytes| {
        HeadCheck::default().advance(text.as_bytes(), HeadLimits { bytes, fields: 100 })
    };
    let head = "GET /1234 HTTP/1.1\r\nHost: a\r\n\r\n";
    assert!(advance(head, head.len() as u64).unwrap().is_some());
    assert_eq!(advance(head, head.len() as u64 - 1), Err(Refusal::TooLarge));
    assert_eq!(advance(head, 20), Err(Refusal::TooLarge));
    assert_eq!(advance(head, 19), Err(Refusal::TargetTooLong));
    assert_eq!(advance(&head[..15], 15), Err(Refusal::TargetTooLong));
    assert_eq!(advance(&head[..15], 16), Ok(None));
}

#[test]
fn a_refused_request_is_shown_by_what_was_sound() {
    let shown = |bytes: &[u8]| {
        let mut check = HeadCheck::default();
        check.advance(bytes, LIMITS).unwrap_err();
        let stand_in = check.stand_in(bytes);
        assert!(matches!(HeadCheck::default().advance(&stand_in, LIMITS), Ok(Some(_))));
        String::from_utf8(stand_in).unwrap().lines().next().unwrap().to_owned()
    };
    assert_eq!(shown(b"PUT /x?y HTTP/1.1\r\nA: b\r\n\r\n"), "PUT /x?y HTTP/1.1");
    assert_eq!(shown(b"HEAD /a b HTTP/1.1\r\nA: b\r\n\r\n"), "HEAD / HTTP/1.1");
    assert_eq!(shown(b"GET http://a/ HTTP/1.1\r\nA: b\r\n\r\n"), "GET / HTTP/1.1");
    assert_eq!(shown(b"\x16\x03"), "GET / HTTP/1.1");
    let long = format!("GET /{} HTTP/1.1\r\nA: b\r\n\r\n", "x".repeat(3000));
    assert_eq!(shown(long.as_bytes()), "GET / HTTP/1.1");
}
