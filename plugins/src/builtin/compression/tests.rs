use std::io::{Read as _, Write as _};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, response};

use super::KIND;
use super::accept::choose;
use super::coder::{Coder, Coding};
use crate::testing::Tried;

const ALL: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

fn chosen(accept: &[&'static str]) -> Option<&'static str> {
    let mut headers = HeaderMap::new();
    for value in accept {
        headers.append("accept-encoding", HeaderValue::from_static(value));
    }
    choose(&headers, ALL.into_iter()).map(Coding::name)
}

#[test]
fn the_client_chooses() {
    for (accept, expected) in [
        (&["gzip, deflate, br, zstd"][..], Some("zstd")),
        (&["gzip, deflate, br"], Some("br")),
        (&["gzip"], Some("gzip")),
        (&["x-gzip"], Some("gzip")),
        (&["GZIP"], Some("gzip")),
        (&["gzip", "br"], Some("br")),
        (&["gzip;q=1.0, br;q=0.8, zstd;q=0.1"], Some("gzip")),
        (&["gzip ; q=0.5 , br; q=0.75"], Some("br")),
        (&["gzip;q=0.001"], Some("gzip")),
        (&["gzip;q=0"], None),
        (&["gzip;q=0.000"], None),
        (&["*"], Some("zstd")),
        (&["*;q=0.5, gzip"], Some("gzip")),
        (&["zstd;q=0, *"], Some("br")),
        (&["*;q=0"], None),
        (&["identity"], None),
        (&["identity, gzip;q=0.5"], None),
        (&["identity;q=0.5, gzip;q=0.8"], Some("gzip")),
        (&["identity;q=0.5, gzip;q=0.5"], Some("gzip")),
        (&["identity;q=0, gzip"], Some("gzip")),
        (&["gzip;q=2"], None),
        (&["gzip;q=1.001"], None),
        (&["gzip;q=0.1234"], None),
        (&["gzip;q=+1"], None),
        (&["gzip;q="], None),
        (&["deflate, compress"], None),
        (&["gzipped"], None),
        (&[""], None),
        (&[], None),
    ] {
        assert_eq!(chosen(accept), expected, "{accept:?}");
    }
}

fn response(fields: &[(&'static str, &'static str)]) -> response::Parts {
    let mut response = http::Response::new(()).into_parts().0;
    for (name, value) in fields {
        response.headers.append(*name, HeaderValue::from_static(value));
    }
    response
}

fn tried(accept: &str) -> Tried {
    let mut tried = Tried::new(&KIND, "{ min_bytes: 100B }");
    tried.header("accept-encoding", accept);
    tried
}

const HTML: (&str, &str) = ("content-type", "text/html; charset=utf-8");

fn is_coded(tried: &mut Tried, mut response: response::Parts) -> bool {
    tried.response(&mut response);
    response.headers.contains_key("content-encoding")
}

#[test]
fn the_head_is_that_of_the_compressed_response() {
    let fields = [
        HTML,
        ("content-length", "5000"),
        ("accept-ranges", "bytes"),
        ("etag", "\"v1\""),
        ("vary", "Origin"),
        ("content-digest", "sha-256=:x:"),
    ];
    let mut response = response(&fields);
    tried("br").response(&mut response);
    let headers = &response.headers;
    assert_eq!(headers["content-encoding"], "br");
    assert_eq!(headers["etag"], "W/\"v1\"");
    let vary: Vec<_> = headers.get_all("vary").iter().collect();
    assert_eq!(vary, ["Origin", "Accept-Encoding"]);
    for gone in ["content-length", "accept-ranges", "content-digest"] {
        assert!(!headers.contains_key(gone), "{gone}");
    }
}

#[test]
fn a_weak_tag_and_a_complete_vary_stay() {
    for vary in ["*", "origin, accept-encoding"] {
        let mut response = response(&[HTML, ("etag", "W/\"v1\""), ("vary", vary)]);
        tried("gzip").response(&mut response);
        assert_eq!(response.headers["etag"], "W/\"v1\"");
        assert_eq!(response.headers.get_all("vary").iter().count(), 1);
    }
}

#[test]
fn what_must_not_be_compressed_is_not_touched() {
    for fields in [
        vec![HTML, ("content-encoding", "gzip")],
        vec![HTML, ("content-encoding", "identity")],
        vec![HTML, ("content-range", "bytes 0-9/10")],
        vec![HTML, ("cache-control", "public, No-Transform")],
        vec![HTML, ("content-length", "99")],
        vec![("content-type", "image/png")],
        vec![("content-type", "application/octet-stream")],
        vec![],
    ] {
        let before = response(&fields);
        let mut after = before.clone();
        tried("gzip").response(&mut after);
        assert_eq!(after.headers, before.headers);
    }
    for status in [101, 204, 205, 206, 304] {
        let mut response = response(&[HTML]);
        response.status = StatusCode::from_u16(status).unwrap();
        assert!(!is_coded(&mut tried("gzip"), response), "{status}");
    }
}

#[test]
fn text_by_its_many_names_is_compressed() {
    for (name, coded) in [
        ("text/css", true),
        ("TEXT/HTML", true),
        ("application/json", true),
        ("application/problem+json", true),
        ("image/svg+xml", true),
        ("text/event-stream", true),
        ("textual/x", false),
        ("video/mp4", false),
        ("application/zip", false),
        ("image/jpeg", false),
    ] {
        assert_eq!(
            is_coded(&mut tried("gzip"), response(&[("content-type", name)])),
            coded,
            "{name}"
        );
    }
}

#[test]
fn what_has_no_body_or_cannot_be_chunked_only_gets_vary() {
    let mut head = tried("gzip");
    head.request.method = Method::HEAD;
    let mut old = tried("gzip");
    old.request.version = Version::HTTP_10;
    for mut tried in [head, old, tried("identity")] {
        let mut response = response(&[HTML, ("content-length", "5000")]);
        tried.response(&mut response);
        assert!(!response.headers.contains_key("content-encoding"));
        assert_eq!(response.headers["content-length"], "5000");
        assert_eq!(response.headers["vary"], "Accept-Encoding");
        assert_eq!(tried.response_body(Some("plain".into()), true).unwrap(), "plain");
    }
}

fn decoded(coding: &str, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(data).read_to_end(&mut out).unwrap(),
        "br" => brotli::Decompressor::new(data, 4096).read_to_end(&mut out).unwrap(),
        _ => zstd::stream::read::Decoder::new(data).unwrap().read_to_end(&mut out).unwrap(),
    };
    out
}

#[test]
fn bodies_come_out_as_they_went_in() {
    let text = "All work and no play. ".repeat(10_000);
    for coding in ["gzip", "br", "zstd"] {
        for size in [1, 1000, 65_536, text.len()] {
            // A byte at a time is tried with less of it.
            let text = &text.as_bytes()[..text.len().min(size * 500)];
            let mut tried = tried(coding);
            tried.response(&mut response(&[HTML]));
            let mut coded = Vec::new();
            for piece in text.chunks(size) {
                let piece = Some(Bytes::copy_from_slice(piece));
                coded.extend(tried.response_body(piece, false).unwrap_or_default());
            }
            coded.extend(tried.response_body(None, true).unwrap_or_default());
            assert_eq!(decoded(coding, &coded), text, "{coding} by {size}");
            assert!(
                size == 1 || coded.len() * 20 < text.len(),
                "{coding} by {size}: {}",
                coded.len()
            );
        }
    }
}

#[test]
fn a_body_in_one_piece_and_none_at_all_are_complete() {
    for coding in ["gzip", "br", "zstd"] {
        for text in [Some("abc"), None] {
            let mut tried = tried(coding);
            tried.response(&mut response(&[HTML]));
            let coded = tried.response_body(text.map(Bytes::from), true).unwrap();
            assert_eq!(decoded(coding, &coded), text.unwrap_or_default().as_bytes());
            assert_eq!(tried.response_body(None, true), None);
        }
    }
}

/// Takes pieces as they come; says how many bytes the client has by then.
type Decode = Box<dyn FnMut(&[u8]) -> usize>;

fn decoder(coding: Coding) -> Decode {
    match coding {
        Coding::Gzip => {
            let mut decoder = flate2::write::GzDecoder::new(Vec::new());
            Box::new(move |data| {
                decoder.write_all(data).unwrap();
                decoder.flush().unwrap();
                decoder.get_ref().len()
            })
        }
        Coding::Brotli => {
            let mut decoder = brotli::DecompressorWriter::new(Vec::new(), 4096);
            Box::new(move |data| {
                decoder.write_all(data).unwrap();
                decoder.flush().unwrap();
                decoder.get_ref().len()
            })
        }
        Coding::Zstd => {
            let mut decoder = zstd::stream::write::Decoder::new(Vec::new()).unwrap();
            Box::new(move |data| {
                decoder.write_all(data).unwrap();
                decoder.flush().unwrap();
                decoder.get_ref().len()
            })
        }
    }
}

#[test]
fn events_are_not_held_back() {
    for coding in ALL {
        let mut coder = Coder::new(coding, 4).unwrap();
        let mut decode = decoder(coding);
        for number in 1..=100 {
            let event = format!("data: {number:04}\n\n");
            let coded = coder.code(event.as_bytes(), false).unwrap().unwrap();
            assert_eq!(decode(&coded), number * event.len(), "{coding:?} {number}");
        }
    }
}

#[test]
fn levels_and_order_are_as_configured() {
    let config =
        "{ algorithms: [gzip, br], levels: { gzip: 1 }, types: [text/plain], min_bytes: 0B }";
    let mut tried = Tried::new(&KIND, config);
    tried.header("accept-encoding", "zstd, br, gzip");
    let mut plain = response(&[("content-type", "text/plain"), ("content-length", "1")]);
    tried.response(&mut plain);
    assert_eq!(plain.headers["content-encoding"], "gzip");
    assert!(!is_coded(&mut tried, response(&[HTML])));
    let size = |level: u32| {
        let config = format!("{{ levels: {{ gzip: {level} }} }}");
        let mut tried = Tried::new(&KIND, &config);
        tried.header("accept-encoding", "gzip");
        tried.response(&mut response(&[HTML]));
        let text: String = (0..20_000).map(|n| format!("{} ", n * 7919 % 1000)).collect();
        tried.response_body(Some(text.into()), true).unwrap().len()
    };
    assert!(size(9) < size(1));
}

#[test]
fn a_reservation_is_given_back_when_it_is_dropped() {
    let budget = super::budget::Budget::new(10);
    let first = budget.reserve(6);
    assert!(first.is_some());
    assert!(budget.reserve(5).is_none());
    let second = budget.reserve(4);
    assert!(second.is_some() && budget.reserve(1).is_none());
    drop(first);
    assert!(budget.reserve(6).is_some());
}

/// Memory and time: `cargo test --release -- --ignored --nocapture compression`.
#[test]
#[ignore = "a measurement"]
fn cost() {
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/statm").unwrap();
        status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4
    };
    let text: String =
        (0..).map(|n| format!("<p>{}</p>\n", n * 7919 % 100_003)).take(100_000).collect();
    let text = &text.as_bytes()[..1 << 20];
    // None is dropped before the end, so that the next cannot have its memory.
    let mut all = Vec::new();
    let levels = |coding, max| (1..=max).map(move |level| (coding, level));
    let zstd = levels(Coding::Zstd, 12);
    for (coding, level) in zstd.chain(levels(Coding::Brotli, 6)).chain(levels(Coding::Gzip, 9)) {
        let before = resident();
        let begun = std::time::Instant::now();
        let mut out = 0;
        let coders: Vec<_> = (0..32)
            .map(|_| {
                let mut coder = Coder::new(coding, level).unwrap();
                for piece in text.chunks(16 << 10) {
                    out += coder.code(piece, false).unwrap().unwrap().len();
                }
                coder
            })
            .collect();
        let (each, took) = ((resident() - before) / 32, begun.elapsed() / 32);
        eprintln!("{coding:?} {level}: {each} KiB each, {took:?} a MiB, to {} KiB", out >> 15);
        all.push(coders);
    }
}
