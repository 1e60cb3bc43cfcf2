//! Clients of HTTP/2 and both engines: the same exchanges through each, and what only the gateway's
//! own engine passes on.
//!
//! Left out of the comparison, with reason: `Date` and `X-Request-Id`, as in
//! [`differential`](super::differential); and how much is sent of a body that breaks off, which is
//! the h2 crate's to say.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Arc, Mutex, mpsc};

use bytes::Bytes;
use http::{HeaderMap, Request};

use super::differential::{Pair, RESPONSES};
use super::{both, served};
use crate::http2::{with_h2, with_h2c};
use crate::support::{Gateway, Origin, forward_all, get};

/// A request: its method, its target, its fields, and the DATA frames of its body.
struct Asked<'a> {
    method: &'a str,
    target: &'a str,
    fields: &'a [(&'a str, &'a str)],
    body: &'a [&'a [u8]],
    /// Whether an empty frame ends the body.
    ends_empty: bool,
}

impl<'a> Asked<'a> {
    const GET: Self =
        Self { method: "GET", target: "/0?q", fields: &[], body: &[], ends_empty: false };

    const fn fields(self, fields: &'a [(&'a str, &'a str)]) -> Self {
        Self { fields, ..self }
    }

    const fn post(body: &'a [&'a [u8]]) -> Self {
        Self { method: "POST", target: "/0", fields: &[], body, ends_empty: false }
    }
}

/// What a client has of its request: status, fields, body, trailers, and how it ended.
fn told(gateway: &Gateway, asked: &Asked<'_>) -> String {
    with_h2(gateway.web(), async |client| {
        let mut client = client.ready().await.unwrap();
        let mut request = Request::builder().method(asked.method);
        request = request.uri(format!("http://a.test{}", asked.target));
        for (name, value) in asked.fields {
            request = request.header(*name, *value);
        }
        let is_bodiless = asked.body.is_empty() && !asked.ends_empty;
        let sent = client.send_request(request.body(()).unwrap(), is_bodiless);
        let (answer, mut upload) = sent.unwrap();
        for (index, part) in asked.body.iter().enumerate() {
            let is_last = index + 1 == asked.body.len() && !asked.ends_empty;
            // One that was answered early needs no more.
            upload.send_data(Bytes::copy_from_slice(part), is_last).ok();
        }
        if asked.ends_empty {
            upload.send_data(Bytes::new(), true).ok();
        }
        let answer = match answer.await {
            Ok(answer) => answer,
            Err(error) => return format!("no answer: {:?}", error.reason()),
        };
        let (head, mut body) = answer.into_parts();
        let mut text = format!("{}\n{}", head.status, lines(&head.headers));
        let begun = text.len();
        while let Some(part) = body.data().await {
            match part {
                Ok(part) => {
                    body.flow_control().release_capacity(part.len()).unwrap();
                    text += &String::from_utf8_lossy(&part);
                }
                // The h2 crate sends of it what it comes to.
                Err(error) => {
                    text.truncate(begun);
                    return text + &format!("\nbroken: {:?}", error.reason());
                }
            }
        }
        if let Some(trailers) = body.trailers().await.unwrap() {
            text += &format!("\ntrailers: {}", lines(&trailers));
        }
        text
    })
}

fn lines(fields: &HeaderMap) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        let chance = ["date", "x-request-id"].contains(&name.as_str());
        let value = if chance { "*".into() } else { value.as_bytes().escape_ascii().to_string() };
        writeln!(text, "{name}: {value}").unwrap();
    }
    text
}

fn compare(pair: &Pair, name: &str, asked: &Asked<'_>, answer: &[u8]) {
    pair.answer_with(&[answer]);
    let own = pair.asked(|| told(&pair.own, asked));
    let pingora = pair.asked(|| told(&pair.pingora, asked));
    assert_eq!(own, pingora, "{name}: the engine's is left, Pingora's is right");
}

fn is_of_engine(pair: &Pair) {
    let served = |gateway: &Gateway, engine: &str| {
        gateway.metric(&format!("sallyport_engine_requests_total{{engine=\"{engine}\"}}"))
    };
    assert!(served(&pair.own, "http2") > Some(10.0));
    assert_eq!(served(&pair.own, "pingora"), Some(0.0));
    assert_eq!(served(&pair.pingora, "http2"), Some(0.0));
}

#[test]
fn a_stream_is_served_by_the_engine_unless_its_origin_may_speak_http2() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&with_h2c(&both("auto", &origin), ""));
    let ask = |target| told(&gateway, &Asked { target, ..Asked::GET });
    assert!(ask("/").ends_with("\na"));
    assert!(ask("/here").ends_with("\nhere"));
    served(&gateway, "http2", 2);
    served(&gateway, "pingora", 0);
    // A path that would be another one after two normalisations.
    assert!(ask("/%252e%252e/two").ends_with("\na"));
    assert!(ask("/x/../two").starts_with("502"));
    served(&gateway, "http2", 3);
    served(&gateway, "pingora", 1);
    gateway.replace(&with_h2c(&both("pingora", &origin), ""));
    assert!(ask("/").ends_with("\na"));
    served(&gateway, "http2", 3);
    served(&gateway, "pingora", 2);
}

#[test]
fn heads_and_bodies_are_the_same_at_both_ends() {
    let pair = Pair::start();
    // Pingora drops those of HTTP/1.
    for (name, response) in RESPONSES.iter().filter(|(name, _)| *name != "trailers") {
        compare(&pair, name, &Asked::GET, response);
        let head_ends = response.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = head_ends.filter(|_| !name.starts_with("half") && *name != "interim") {
            let closing: &[u8] = if response.ends_with(b"CLOSE") { b"CLOSE" } else { b"" };
            let bodiless = [&response[..end + 4], closing].concat();
            let head = Asked { method: "HEAD", ..Asked::GET };
            compare(&pair, &format!("{name}, to HEAD"), &head, &bodiless);
        }
    }
    is_of_engine(&pair);
}

#[test]
fn requests_are_the_same_at_the_origin() {
    let pair = Pair::start();
    let large = vec![b'x'; 60_000];
    let large: &[&[u8]] = &[&large];
    let requests = [
        ("plain", Asked::GET),
        ("fields", Asked::GET.fields(&[("b", "2"), ("x-a", "1"), ("accept", "*/*"), ("b", "")])),
        ("cookies", Asked::GET.fields(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")])),
        (
            "imitations",
            Asked::GET.fields(&[
                ("x-forwarded-for", "1.2.3.4"),
                ("x-sallyport-zone", "x"),
                ("forwarded", "for=1"),
                ("x_user", "root"),
            ]),
        ),
        ("host", Asked::GET.fields(&[("host", "A.test:80")])),
        ("other host", Asked::GET.fields(&[("host", "b.test")])),
        ("dots", Asked { target: "/0/../0/./a%2Fb?x=%20", ..Asked::GET }),
        ("options", Asked { method: "OPTIONS", ..Asked::GET }),
        ("odd method", Asked { method: "PURGE", ..Asked::GET }),
        ("here", Asked { target: "/here", ..Asked::GET }),
        ("here, to HEAD", Asked { target: "/here", method: "HEAD", ..Asked::GET }),
        ("there", Asked { target: "/there?a=b", ..Asked::GET }),
        (
            "filtered",
            Asked { target: "/0/filtered", ..Asked::GET }.fields(&[("x-gone", "1"), ("x", "2")]),
        ),
        ("body", Asked::post(&[b"hello"])),
        ("parts", Asked::post(&[b"hel", b"lo"])),
        ("sized", Asked::post(&[b"hel", b"lo"]).fields(&[("content-length", "5")])),
        ("no bytes", Asked { ends_empty: true, ..Asked::post(&[]) }),
        ("empty end", Asked { ends_empty: true, ..Asked::post(&[b"hello"]) }),
        (
            "sized, empty end",
            Asked { ends_empty: true, ..Asked::post(&[b"hello"]) }
                .fields(&[("content-length", "5")]),
        ),
        ("large", Asked::post(large)),
        ("GET with a body", Asked { method: "GET", ..Asked::post(&[b"x"]) }),
    ];
    for (name, request) in &requests {
        compare(&pair, name, request, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    }
    is_of_engine(&pair);
}

/// What `gateway` has counted of requests and bodies, but for how long they took.
fn counted(gateway: &Gateway) -> Vec<String> {
    const NAMES: [&str; 5] = [
        "sallyport_route_requests_total",
        "sallyport_route_errors_total",
        "sallyport_route_request_bytes_total",
        "sallyport_upstream_requests_total",
        "sallyport_upstream_errors_total",
    ];
    let metrics = get(gateway.admin(), "localhost", "/metrics").body;
    let of_requests = |line: &&str| NAMES.iter().any(|name| line.starts_with(name));
    metrics.lines().filter(of_requests).map(str::to_owned).collect()
}

#[test]
fn what_is_counted_is_the_same() {
    let pair = Pair::start();
    let answers: [&[u8]; 5] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbusy\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhiCLOSE",
        b"HTTP/1.1 abc\r\n\r\nCLOSE",
        b"CLOSE",
    ];
    for answer in answers {
        pair.answer_with(&[answer]);
        for asked in
            [Asked::GET, Asked::post(&[b"hel", b"lo"]), Asked { target: "/here", ..Asked::GET }]
        {
            told(&pair.own, &asked);
            told(&pair.pingora, &asked);
        }
    }
    let expected = 3 * answers.len() as u32;
    served(&pair.own, "http2", expected);
    served(&pair.pingora, "pingora", expected);
    let all = |gateway: &Gateway| {
        let active = "sallyport_route_requests_active{virtual_host=\"all\",route=\"everything\"}";
        gateway.counts(active, 0.0);
        counted(gateway)
    };
    assert_eq!(all(&pair.own), all(&pair.pingora), "the engine's is left, Pingora's is right");
}

#[test]
fn a_stream_that_is_reset_in_its_upstreams_queue_leaves_it() {
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = Mutex::new(may_go_on);
    let origin = Origin::start(move |_, stream| {
        may_go_on.lock().unwrap().recv().ok();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_ok()
    });
    let keys = "    limits: { requests: 1 }\n    queue: { deadline: 30s }\n    endpoints:";
    let yaml = forward_all(&[origin.address]).replace("    endpoints:", keys);
    let yaml = with_h2c(&yaml, "") + "insecure: { engine: auto }\n";
    let gateway = Arc::new(Gateway::start(&yaml));
    let active = async |requests: f64| {
        let gateway = gateway.clone();
        let sample = "sallyport_route_requests_active{virtual_host=\"all\",route=\"everything\"}";
        tokio::task::spawn_blocking(move || gateway.counts(sample, requests)).await.unwrap();
    };
    with_h2(gateway.web(), async |client| {
        let mut client = client.ready().await.unwrap();
        let mut ask = || {
            let request = Request::get("http://a.test/").body(()).unwrap();
            client.send_request(request, true).unwrap().0
        };
        let first = ask();
        active(1.0).await;
        let second = ask();
        active(2.0).await;
        drop(second);
        active(1.0).await;
        go_on.send(()).unwrap();
        assert_eq!(first.await.unwrap().status(), 200);
    });
}
