use super::{check_framing, check_lines, content_length, names_field};
use http::Version;
use pingora_http::RequestHeader;

fn request(fields: &[(&'static str, &str)]) -> RequestHeader {
    let mut request = RequestHeader::build("POST", b"/", None).unwrap();
    request.set_version(Version::HTTP_11);
    for (name, value) in fields {
        request.append_header(*name, *value).unwrap();
    }
    request
}

#[test]
fn rfc9112_2_2_lines_end_with_crlf() {
    for (head, accepted) in [
        (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], true),
        (b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", false),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", false),
        (b"\nGET / HTTP/1.1\r\n\r\n", false),
        (b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", false),
        (b"GET / HTTP/1.1\r\r\nA: b\r\n\r\n", false),
        (b"GET / HTTP/1.1\r\nA: b\0\r\n\r\n", false),
        (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", false),
        (b"GET / HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n", false),
    ] {
        assert_eq!(check_lines(head).is_ok(), accepted, "{}", head.escape_ascii());
    }
}

#[test]
fn rfc9112_6_1_one_transfer_coding_and_no_content_length() {
    let chunked = ("transfer-encoding", "chunked");
    let framing = |fields: &[_], head: &[u8]| check_framing(&request(fields), head).is_ok();
    assert!(framing(&[], b"Content-Length: 1\r\n"));
    assert!(framing(&[chunked], b"Transfer-Encoding: chunked\r\n"));
    assert!(framing(&[("transfer-encoding", "CHUNKED")], b""));
    assert!(!framing(&[chunked, chunked], b""));
    assert!(!framing(&[("transfer-encoding", "gzip, chunked")], b""));
    assert!(!framing(&[("transfer-encoding", "xchunked")], b""));
    assert!(!framing(&[chunked], b"Transfer-Encoding: chunked\r\ncontent-LENGTH: 3\r\n"));
}

#[test]
fn rfc9110_8_6_content_length_is_one_number() {
    let length = |values: &[&str]| {
        let fields: Vec<_> = values.iter().map(|value| ("content-length", *value)).collect();
        content_length(&request(&fields)).ok()
    };
    assert_eq!(length(&[]), Some(None));
    assert_eq!(length(&["42"]), Some(Some(42)));
    for refused in
        [&["42", "42"][..], &["1", "2"], &["+1"], &["1, 1"], &["0x10"], &["99999999999999999999"]]
    {
        assert_eq!(length(refused), None, "{refused:?}");
    }
}

#[test]
fn fields_are_found_by_whole_name() {
    assert!(names_field(b"a: b\r\nContent-Length: 1\r\n", b"content-length"));
    assert!(!names_field(b"X-Content-Length: 1\r\ncontent-length-x: 1\r\n", b"content-length"));
}
