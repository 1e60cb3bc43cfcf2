//! The same exchanges through both engines: what the origin receives and what the client receives
//! is the same.
//!
//! Left out of the comparison, with reason: the time in `Date` and the random id in `X-Request-Id`,
//! which no two requests share; and where chunks end, which depends on how bytes come together on a
//! socket.

use std::io::Write as _;
use std::sync::{Arc, Mutex};

use regex::bytes::Regex;

use crate::http2::with_h2c;
use crate::support::{Client, Gateway, Origin, Received, config};

/// What an origin answers to a request for `/NUMBER`.
type Answers = Arc<Mutex<Vec<Vec<u8>>>>;

/// Both engines in front of one origin that plays a script.
pub(super) struct Pair {
    pub(super) own: Gateway,
    pub(super) pingora: Gateway,
    origin: Origin,
    answers: Answers,
}

/// What came of a script: at the origin and at the client.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    origin: Vec<(String, String)>,
    client: String,
}

impl Pair {
    pub(super) fn start() -> Self {
        let answers = Answers::default();
        let script = answers.clone();
        let origin = Origin::start(move |received, stream| {
            let path = received.request_line().split(' ').nth(1).unwrap_or_default();
            let number = path.trim_start_matches('/').split(['?', '/']).next().unwrap_or_default();
            let answer =
                number.parse().ok().and_then(|at: usize| script.lock().unwrap().get(at).cloned());
            let answer =
                answer.unwrap_or_else(|| b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend".into());
            let closes = answer.ends_with(b"CLOSE");
            let answer = answer.strip_suffix(b"CLOSE").unwrap_or(&answer);
            stream.write_all(answer).is_ok() && !closes
        });
        let start = |engine: &str| {
            let yaml = config(&format!(
                "insecure: {{ engine: {engine} }}
upstreams:
  - {{ name: up, endpoints: [{{ address: \"{0}\" }}] }}
virtual_hosts:
  - name: all
    domains: [\"*\"]
    routes:
      - name: filtered
        match: {{ path: {{ prefix: /0/filtered }} }}
        forward: {{ upstream: up }}
        filters:
          - {{ headers: {{ request: {{ set: {{ X-Set: \"1\" }}, remove: [x-gone] }}, response: {{ set: {{ X-Answer: \"2\" }} }} }} }}
      - {{ name: here, match: {{ path: {{ exact: /here }} }}, respond: {{ status: 200, body: here }} }}
      - {{ name: there, match: {{ path: {{ exact: /there }} }}, redirect: {{ path: /elsewhere }} }}
      - {{ name: everything, forward: {{ upstream: up }} }}
",
                origin.address
            ));
            Gateway::start_single(&with_h2c(&yaml, ""))
        };
        Self { own: start("auto"), pingora: start("pingora"), origin, answers }
    }

    /// Sends `requests` as they stand, and then one by which the connection ends; the origin
    /// answers `/0`, `/1` and so on with `answers`.
    pub(super) fn compare(&self, name: &str, requests: &[u8], answers: &[&[u8]]) {
        self.answer_with(answers);
        let own = self.outcome(&self.own, requests);
        let pingora = self.outcome(&self.pingora, requests);
        assert_eq!(own, pingora, "{name}: the engine's is left, Pingora's is right");
    }

    /// From now on the origin answers `/0`, `/1` and so on with `answers`.
    pub(super) fn answer_with(&self, answers: &[&[u8]]) {
        *self.answers.lock().unwrap() = answers.iter().map(|answer| answer.to_vec()).collect();
    }

    /// Calls `ask`. Returns the requests that the origin had of it beside what came of it.
    pub(super) fn asked<T>(&self, ask: impl FnOnce() -> T) -> (Vec<(String, String)>, T) {
        self.origin.received.lock().unwrap().clear();
        let answer = ask();
        (self.origin.requests().iter().map(at_origin).collect(), answer)
    }

    /// Makes sure that it was the engine that was compared.
    pub(super) fn is_of_engine(&self) {
        let served = |engine| {
            self.own.metric(&format!("sallyport_engine_requests_total{{engine=\"{engine}\"}}"))
        };
        assert!(served("http1") > Some(20.0) && served("pingora") < Some(10.0));
    }

    fn outcome(&self, gateway: &Gateway, requests: &[u8]) -> Outcome {
        let last = b"GET /last HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
        let (origin, received) = self.asked(|| {
            let mut client = Client::connect(gateway.web());
            client.send([requests, last].concat()).read_to_end()
        });
        Outcome { origin, client: without_chunks(&without_chance(&received)) }
    }
}

fn at_origin(received: &Received) -> (String, String) {
    let head = without_chance(received.head.as_bytes());
    let body = String::from_utf8_lossy(&received.body).into_owned();
    (String::from_utf8_lossy(&head).into_owned(), body)
}

/// Without what no two requests share.
fn without_chance(bytes: &[u8]) -> Vec<u8> {
    let chance = Regex::new(r"(?i-u)(\r\n(?:date|x-request-id): )[^\r]*").unwrap();
    chance.replace_all(bytes, &b"${1}*"[..]).into_owned()
}

/// Chunked bodies as one chunk each.
fn without_chunks(bytes: &[u8]) -> String {
    let head = Regex::new(r"(?i-u)\r\ntransfer-encoding: chunked\r\n(?:[^\r]+\r\n)*\r\n").unwrap();
    let (mut rest, mut text) = (bytes, String::new());
    while let Some(found) = head.find(rest) {
        text += &String::from_utf8_lossy(&rest[..found.end()]);
        rest = &rest[found.end()..];
        let (mut body, mut ended) = (Vec::new(), false);
        while let Some(line) = rest.windows(2).position(|pair| pair == b"\r\n") {
            let digits = std::str::from_utf8(&rest[..line]).unwrap_or("");
            let Ok(size) = usize::from_str_radix(digits, 16) else { break };
            if size == 0 {
                rest = without_trailers(&rest[line + 2..]);
                ended = true;
                break;
            }
            let Some(data) = rest.get(line + 2..line + 2 + size) else { break };
            body.extend_from_slice(data);
            rest = rest.get(line + 4 + size..).unwrap_or_default();
        }
        text += &format!("[{} chunked, ended: {ended}]", String::from_utf8_lossy(&body));
    }
    text + &String::from_utf8_lossy(rest)
}

/// What follows the trailers that `bytes` begin with, if there are some, and their empty line.
fn without_trailers(mut bytes: &[u8]) -> &[u8] {
    while let Some(line) = bytes.windows(2).position(|pair| pair == b"\r\n") {
        bytes = &bytes[line + 2..];
        if line == 0 {
            break;
        }
    }
    bytes
}

/// What origins answer to [`heads_and_bodies_are_the_same_at_both_ends`] and its counterpart of
/// HTTP/2.
pub(super) const RESPONSES: &[(&str, &[u8])] = &[
    ("sized", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx-lower: a\r\nX-UPPER: b\r\nx-Lower: c\r\n\r\nhi"),
    ("empty", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n3;x=y\r\n yo\r\n0\r\n\r\n"),
    ("trailers", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nhi\r\n0\r\nX-T: 1\r\n\r\n"),
    ("until close", b"HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\nall of itCLOSE"),
    ("closing", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhiCLOSE"),
    ("1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhiCLOSE"),
    ("1.0 until close", b"HTTP/1.0 200 OK\r\n\r\nhiCLOSE"),
    ("reason", b"HTTP/1.1 299 Quite Fine\r\nContent-Length: 2\r\n\r\nhi"),
    ("no reason", b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi"),
    ("no content", b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n"),
    ("not modified", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: \"a\"\r\n\r\n"),
    ("cookies", b"HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n"),
    ("own fields", b"HTTP/1.1 200 OK\r\ndate: yesterday\r\nconnection: keep-alive, x-hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\ncontent-length: 0\r\n\r\n"),
    ("interim", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
    ("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi"),
    ("length and coding", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
    ("empty value", b"HTTP/1.1 200 OK\r\nX-Empty:\r\nX-Space:  a b \t\r\nContent-Length: 0\r\n\r\n"),
    ("not ASCII", b"HTTP/1.1 200 OK\r\nX-Text: \xe4\r\nContent-Length: 0\r\n\r\n"),
    ("too much", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi and moreCLOSE"),
    ("server error", b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"),
    ("switches unasked", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo\r\nConnection: upgrade\r\n\r\nCLOSE"),
    ("malformed", b"HTTP/1.1 abc\r\n\r\nCLOSE"),
    ("different lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhiCLOSE"),
    ("no answer", b"CLOSE"),
    ("half a head", b"HTTP/1.1 200 OK\r\nContent-LeCLOSE"),
    ("half a body", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhiCLOSE"),
    ("half a chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhiCLOSE"),
];

#[test]
fn heads_and_bodies_are_the_same_at_both_ends() {
    let pair = Pair::start();
    let get = b"GET /0?q HTTP/1.1\r\nHost: a.test\r\nX-CaSe: 1\r\nAccept: */*\r\n\r\n";
    for (name, response) in RESPONSES {
        pair.compare(name, get, &[response]);
        let old = b"GET /0 HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n";
        pair.compare(&format!("{name}, to HTTP/1.0"), old, &[response]);
        let head = b"HEAD /0 HTTP/1.1\r\nHost: a.test\r\n\r\n";
        let is_head = response.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = is_head.filter(|_| !name.starts_with("half") && *name != "interim") {
            let closing: &[u8] = if response.ends_with(b"CLOSE") { b"CLOSE" } else { b"" };
            let bodiless = [&response[..end + 4], closing].concat();
            pair.compare(&format!("{name}, to HEAD"), head, &[&bodiless]);
        }
    }
    pair.is_of_engine();
}

#[test]
fn requests_are_the_same_at_the_origin() {
    let pair = Pair::start();
    let plain: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    let large = format!(
        "POST /0 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 200000\r\n\r\n{}",
        "x".repeat(200_000)
    );
    let requests: &[(&str, &[u8])] = &[
        ("hop by hop", b"GET /0 HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nTrailer: x\r\nProxy-Authorization: x\r\nProxy-Connection: x\r\n\r\n"),
        ("imitations", b"GET /0 HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 1.2.3.4\r\nX-Sallyport-Zone: x\r\nForwarded: for=1\r\nX-Real-IP: 1\r\n\r\n"),
        ("dots", b"GET /0/../0/./a%2Fb?x=%20 HTTP/1.1\r\nHost: A.Test:80\r\n\r\n"),
        ("absolute", b"GET http://a.test/0 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("order", b"GET /0 HTTP/1.1\r\nb: 1\r\nA: 2\r\nHost: a.test\r\nB: 3\r\nuser-agent: x\r\nX-Empty:\r\n\r\n"),
        ("sized", b"POST /0 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello"),
        ("no bytes", b"POST /0 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n"),
        ("chunked", b"PUT /0 HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX-T: 1\r\n\r\n"),
        ("no chunks", b"PUT /0 HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("large", large.as_bytes()),
        ("pipelined", b"GET /0 HTTP/1.1\r\nHost: a.test\r\n\r\nPOST /0 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhiGET /here HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("here", b"GET /here HTTP/1.1\r\nHost: a.test\r\n\r\nHEAD /here HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("here with a body", b"POST /here HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi"),
        ("there", b"GET /there?a=b HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("filtered", b"GET /0/filtered HTTP/1.1\r\nHost: a.test\r\nX-Gone: 1\r\nX-Stays: 1\r\n\r\n"),
        ("options", b"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\nOPTIONS /0 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("odd method", b"PURGE /0 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("closing", b"GET /0 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"),
        ("1.0", b"GET /0 HTTP/1.0\r\nHost: a.test\r\n\r\n"),
        ("1.0, kept", b"GET /0 HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\nGET /0 HTTP/1.0\r\nHost: a.test\r\n\r\n"),
        ("1.0 with a body", b"POST /0 HTTP/1.0\r\nHost: a.test\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi"),
        ("1.0 to HEAD", b"HEAD /here HTTP/1.0\r\nHost: a.test\r\n\r\n"),
        ("1.0, filtered", b"GET /0/filtered HTTP/1.0\r\nHost: a.test\r\nX-Gone: 1\r\n\r\n"),
        ("1.0 with an upgrade", b"GET /0 HTTP/1.0\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n"),
        ("bad chunks", b"PUT /0 HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
        ("refused", b"GET /0 HTTP/1.1\r\nHost: a.test\r\nBad Name: x\r\n\r\n"),
        ("two lengths", b"POST /0 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx"),
    ];
    for (name, request) in requests {
        pair.compare(name, request, &[plain]);
    }
    pair.is_of_engine();
}
