use proptest::prelude::*;

use super::*;

const LIMITS: HeadLimits = HeadLimits { bytes: 1 << 12, fields: 20 };

/// All that a response turned out to be.
#[derive(Debug, Default, PartialEq)]
struct Read {
    statuses: Vec<u16>,
    data: Vec<u8>,
    /// Bytes that do not belong to it.
    left: usize,
    refused: Option<Malformed>,
    persists: bool,
    cut: bool,
}

/// Reads `bytes` as they come in pieces that end at `cuts`; then the connection ends.
fn read(method: &[u8], bytes: &[u8], cuts: &[usize]) -> Read {
    let mut reader = ResponseReader::new(method, LIMITS);
    let (mut read, mut start, mut end) = (Read::default(), 0, 0);
    for cut in cuts.iter().copied().chain([bytes.len()]) {
        end = cut.clamp(end, bytes.len());
        while !reader.is_done() {
            match reader.read(&bytes[start..end]) {
                Ok(ResponseEvent::More) => break,
                Ok(ResponseEvent::Head(head)) => {
                    read.statuses.push(head.status);
                    start += head.bytes;
                }
                Ok(ResponseEvent::Body(piece)) => {
                    start += piece.bytes();
                    read.data.extend_from_slice(&bytes[start - piece.data..start]);
                    if piece.data == 0 {
                        break;
                    }
                }
                Err(refused) => return Read { refused: Some(refused), ..read },
            }
        }
    }
    read.left = bytes.len() - start;
    read.persists = reader.persists();
    read.cut = reader.end().is_err();
    read
}

#[test]
fn a_response_is_its_heads_and_its_body() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
    for (method, bytes, statuses, data, left, persists, cut) in [
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", &[200][..], "hi", 0, true, false),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", &[200], "hi", 0, false, true),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nhi", &[200], "h", 1, true, false),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", &[200], "", 0, true, false),
        ("GET", "HTTP/1.1 200 OK\r\n\r\nhi", &[200], "hi", 0, false, false),
        ("GET", "HTTP/1.1 204 No\r\n\r\n", &[204], "", 0, true, false),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n",
            &[200],
            "a",
            0,
            true,
            false,
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n",
            &[200],
            "a",
            0,
            false,
            true,
        ),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Le", &[], "", 27, false, true),
        ("GET", "", &[], "", 0, false, true),
    ] {
        for before in ["", interim] {
            let whole = format!("{before}{bytes}");
            let came = read(method.as_bytes(), whole.as_bytes(), &[]);
            let interim = if before.is_empty() { &[][..] } else { &[103, 100] };
            let statuses = [interim, statuses].concat();
            let data = data.as_bytes().to_vec();
            let expected = Read { statuses, data, left, refused: None, persists, cut };
            assert_eq!(came, expected, "{whole:?}");
        }
    }
}

#[test]
fn interim_responses_without_end_are_refused() {
    let endless = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000);
    assert!(read(b"GET", endless.as_bytes(), &[]).refused.is_some());
}

/// Parts of responses, sound and not, of which many in a row are sometimes one.
fn part() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 103 Early\r\n\r\n",
        "HTTP/1.1 304 Not\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: close\r\n",
        "X: y\r\n",
        "\r\n",
        "\r\n",
        "5\r\nhello\r\n",
        "0\r\n",
        "hello",
        "\n",
        " folded\r\n",
        "\0",
        ":",
    ])
}

proptest! {
    #[test]
    fn whatever_the_pieces_the_response_is_the_same(
        parts in prop::collection::vec(part(), 0..14),
        head in any::<bool>(),
        mut cuts in prop::collection::vec(0..200usize, 0..20),
    ) {
        cuts.sort_unstable();
        let bytes = format!("HTTP/1.1 200 OK\r\n{}", parts.concat());
        let method = if head { &b"HEAD"[..] } else { b"GET" };
        let each: Vec<_> = (0..bytes.len()).collect();
        let whole = read(method, bytes.as_bytes(), &[]);
        prop_assert_eq!(&read(method, bytes.as_bytes(), &cuts), &whole);
        prop_assert_eq!(&read(method, bytes.as_bytes(), &each), &whole);
    }
}
