//! Exchanges that nobody thought of: generated requests and responses, the same through both
//! engines.
//!
//! `SALLYPORT_ENGINE_EXCHANGES` says how many, `SALLYPORT_ENGINE_SEED` from which number on; a
//! failure names the number that shows it alone.

use fastrand::Rng;

use super::differential::Pair;

/// Enough to meet every combination of framing, method and status in nearly every run of the suite.
const EXCHANGES: u64 = 150;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn generated_exchanges_are_the_same_at_both_ends() {
    let pair = Pair::start();
    let first = from_environment("SALLYPORT_ENGINE_SEED").unwrap_or(1);
    let count = from_environment("SALLYPORT_ENGINE_EXCHANGES").unwrap_or(EXCHANGES);
    for seed in first..first + count {
        let mut rng = Rng::with_seed(seed);
        let (mut requests, mut answers) = (Vec::new(), Vec::new());
        for number in 0..rng.usize(1..4) {
            let (request, is_head) = request(&mut rng, number);
            requests.extend_from_slice(&request);
            answers.push(answer(&mut rng, is_head));
        }
        let answers: Vec<_> = answers.iter().map(Vec::as_slice).collect();
        let name = format!("SALLYPORT_ENGINE_EXCHANGES=1 SALLYPORT_ENGINE_SEED={seed}");
        pair.compare(&name, &requests, &answers);
    }
    if count >= EXCHANGES {
        pair.is_of_engine();
    }
}

/// One of `all`.
fn one<'a>(rng: &mut Rng, all: &[&'a str]) -> &'a str {
    all[rng.usize(..all.len())]
}

/// A body of letters, chunked or sized, with the field that says so.
fn body(rng: &mut Rng, sizes: &[usize]) -> (String, String) {
    let size = sizes[rng.usize(..sizes.len())];
    let data: String = (0..size).map(|_| rng.alphanumeric()).collect();
    if rng.bool() {
        return (format!("{}: {size}\r\n", one(rng, &["Content-Length", "content-length"])), data);
    }
    let (mut chunks, mut rest) = (String::new(), &data[..]);
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(rng.usize(1..=rest.len()));
        let extension = one(rng, &["", "", ";a", ";a=\"b c\""]);
        chunks += &format!("{:x}{extension}\r\n{chunk}\r\n", chunk.len());
        rest = behind;
    }
    chunks += one(rng, &["0\r\n\r\n", "000\r\n\r\n", "0\r\nX-Trailer: 1\r\n\r\n"]);
    (one(rng, &["Transfer-Encoding: chunked\r\n", "transfer-encoding: Chunked\r\n"]).into(), chunks)
}

/// Up to eight fields out of `all`, in any order and as often as they come.
fn fields(rng: &mut Rng, all: &[&str]) -> String {
    (0..rng.usize(..8)).map(|_| one(rng, all)).collect()
}

/// The request with this number, and whether it is HEAD.
fn request(rng: &mut Rng, number: usize) -> (Vec<u8>, bool) {
    const FIELDS: &[&str] = &[
        "Accept: */*\r\n",
        "accept-encoding: gzip, br\r\n",
        "Cookie: a=1\r\n",
        "cookie: b=2; c=\r\n",
        "X-CaSe: Mixed\r\n",
        "x-case: again\r\n",
        "X-Empty:\r\n",
        "X-Space: \t a  b \t\r\n",
        "X-Text: \u{e9}\u{20ac}\r\n",
        "TE: trailers\r\n",
        "Connection: keep-alive\r\n",
        "connection: X-CaSe\r\n",
        "Keep-Alive: timeout=5\r\n",
        "Proxy-Authorization: x\r\n",
        "X-Forwarded-For: 192.0.2.1\r\n",
        "X-Request-Id: abc\r\n",
        "Range: bytes=0-1\r\n",
        "User-Agent: generated/1.0 (a; b)\r\n",
    ];
    const METHODS: &[&str] = &["GET", "GET", "HEAD", "POST", "PUT", "DELETE", "PURGE", "OPTIONS"];
    let method = one(rng, METHODS);
    let tail =
        one(rng, &["", "?", "?a=b&c", "/", "/./x", "/a/../b", "/%41?%zz", "/a%2fb", "/filtered"]);
    let host = one(rng, &["a.test", "A.Test", "a.test:80", "b.test"]);
    let (framing, body) = match method {
        "GET" | "HEAD" | "OPTIONS" => (String::new(), String::new()),
        _ => body(rng, &[0, 1, 5, 1000, 40_000]),
    };
    let (before, behind) = (fields(rng, FIELDS), fields(rng, FIELDS));
    let head = format!(
        "{method} /{number}{tail} HTTP/1.1\r\n{before}Host: {host}\r\n{behind}{framing}\r\n"
    );
    ([head.as_bytes(), body.as_bytes()].concat(), method == "HEAD")
}

/// What the origin answers.
fn answer(rng: &mut Rng, is_head: bool) -> Vec<u8> {
    const FIELDS: &[&str] = &[
        "Server: generated\r\n",
        "content-type: text/plain\r\n",
        "Content-Type: text/html\r\n",
        "Set-Cookie: a=1\r\n",
        "set-cookie: b=2\r\n",
        "X-CaSe: Mixed\r\n",
        "x-case: again\r\n",
        "X-Empty:\r\n",
        "X-Space: \t a  b \t\r\n",
        "ETag: \"x\"\r\n",
        "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n",
        "Keep-Alive: timeout=5\r\n",
        "Connection: keep-alive\r\n",
        "connection: x-case\r\n",
        "Vary: a\r\n",
        "vary: b\r\n",
    ];
    const STATUSES: &[&str] = &[
        "200 OK",
        "200 OK",
        "200 ",
        "201 Made Here",
        "204 No Content",
        "304 Not Modified",
        "404 Not Found",
        "418 I'm a teapot",
        "500 Oh No",
        "599 Odd",
    ];
    let interim = one(rng, &["", "", "", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"]);
    let status = one(rng, STATUSES);
    let (framing, mut body) = body(rng, &[0, 1, 2, 1000, 100_000, 300_000]);
    let is_bodiless = is_head || status.starts_with("204") || status.starts_with("304");
    if is_bodiless {
        body.clear();
    }
    let (before, behind) = (fields(rng, FIELDS), fields(rng, FIELDS));
    format!("{interim}HTTP/1.1 {status}\r\n{before}{framing}{behind}\r\n{body}").into_bytes()
}
