//! Keys that are fetched: from an upstream, and by a client of the filter's own.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::{claims, es, jwks};
use crate::builtin::jwt::KIND;
use crate::builtin::jwt::fetch::{FetchError, Place, Remote};
use crate::chain::Step;
use crate::filter::BoxFuture;
use crate::host::{Call, CallError, Calls, Host, Metrics, Reply};
use crate::testing::Tried;

const UPSTREAM: &str = "{ jwks: { upstream: idp, path: /keys, host: idp.example }, issuer: me, \
    audience: [shop] }";

type Given = Result<(u16, Vec<u8>), CallError>;

/// Answers with what it was given, in this order; then with nothing.
#[derive(Debug, Default)]
struct Answers(Mutex<VecDeque<Given>>);

impl Calls for Answers {
    fn call(&self, upstream: &str, call: Call) -> BoxFuture<'static, Result<Reply, CallError>> {
        assert_eq!((upstream, &*call.path, &*call.authority), ("idp", "/keys", "idp.example"));
        assert_eq!(call.reply_bytes_max, 1 << 20);
        let next = self.0.lock().unwrap().pop_front().unwrap_or(Err(CallError::NoEndpoint));
        Box::pin(std::future::ready(next.map(|(status, body)| Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::from(body),
        })))
    }
}

fn host(answers: Vec<Given>) -> Host {
    Host { calls: Arc::new(Answers(Mutex::new(answers.into()))), ..Host::idle() }
}

fn fetches(metrics: &Metrics, filter: &str, result: &str) -> u64 {
    let name = "sallyport_jwks_fetches_total";
    metrics
        .counters(name, "Fetches.", &["filter", "result"])
        .with_label_values(&[filter, result])
        .get()
}

/// Waits until `done`, at most ten seconds.
fn until(mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it never came to that");
        std::thread::yield_now();
    }
}

/// The status of the answer to a request with a good token; `None` where it passes.
fn status(tried: &mut Tried) -> Option<u16> {
    tried.again();
    tried.header("authorization", &format!("Bearer {}", es(&claims())));
    match tried.request() {
        Step::Answer(answer) => Some(answer.status.as_u16()),
        _ => None,
    }
}

#[test]
fn before_the_first_fetch_there_is_no_service() {
    let metrics = Metrics::default();
    let mut tried =
        Tried::with_host(&KIND, UPSTREAM, Host { metrics: metrics.clone(), ..host(vec![]) });
    assert_eq!(status(&mut tried), Some(503));
    until(|| fetches(&metrics, "jwt", "failed") > 0);
    assert_eq!(status(&mut tried), Some(503));
}

#[test]
fn fetched_keys_are_used() {
    let mut tried = Tried::with_host(&KIND, UPSTREAM, host(vec![Ok((200, jwks()))]));
    until(|| status(&mut tried).is_none());
}

#[test]
fn what_is_no_set_of_keys_is_told_apart_and_counted() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let weak = br#"{ "keys": [{ "kty": "oct", "k": "c2VjcmV0" }] }"#;
    let answers = vec![
        Err(CallError::Timeout),
        Ok((500, jwks())),
        Ok((302, Vec::new())),
        Ok((200, b"<html>".to_vec())),
        Ok((200, b"{}".to_vec())),
        Ok((200, br#"{ "keys": [] }"#.to_vec())),
        Ok((200, weak.to_vec())),
        Ok((200, jwks())),
    ];
    let host = host(answers);
    let place = Place::Upstream {
        upstream: "idp".into(),
        path: "/keys".into(),
        host: "idp.example".into(),
    };
    let remote = remote(place, &host.metrics);
    let mut results = Vec::new();
    for _ in 0..8 {
        results.push(runtime.block_on(remote.fetch(&host.calls)).is_ok());
    }
    assert_eq!(results, [false, false, false, false, false, false, false, true]);
    let count = |result| fetches(&host.metrics, "f", result);
    assert_eq!((count("failed"), count("status"), count("invalid"), count("ok")), (1, 2, 4, 1));
}

#[test]
fn what_fails_leaves_the_keys_as_they_are() {
    use crate::builtin::jwt::keys::{Keys, KeysError};
    let filter = super::filter_without_keys();
    assert!(!filter.take(Err(FetchError::Keys(KeysError::NoneUsable))));
    assert!(filter.keys.load().is_none());
    assert!(filter.take(Ok(Keys::parse(&jwks()).unwrap())));
    let before = filter.keys.load_full().unwrap();
    assert!(!filter.take(Err(FetchError::Call(CallError::NoEndpoint))));
    assert!(Arc::ptr_eq(&before, &filter.keys.load_full().unwrap()));
}

fn remote(place: Place, metrics: &Metrics) -> Remote {
    let name = "sallyport_jwks_fetches_total";
    let fetches = metrics.counters(name, "Fetches.", &["filter", "result"]);
    Remote { place, refresh: Duration::from_secs(300), filter: "f".into(), fetches }
}

/// Answers one request with these bytes; returns the address.
fn serve(reply: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let read = stream.read(&mut request).unwrap();
        assert!(request[..read].starts_with(b"GET /keys HTTP/1.1\r\n"));
        // The client closes early where the reply is too long.
        drop(stream.write_all(&reply));
    });
    format!("http://{address}/keys")
}

fn http(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn fetch(url: String) -> Result<(), FetchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let remote = remote(Place::Url(url), &Metrics::default());
    runtime.block_on(remote.fetch(&host(vec![]).calls)).map(drop)
}

#[test]
fn keys_are_read_from_an_address() {
    fetch(serve(http("200 OK", &jwks()))).unwrap();
    let mut tried = Tried::new(
        &KIND,
        &format!(
            "{{ jwks: {{ url: '{}' }}, issuer: me, audience: [shop] }}",
            serve(http("200 OK", &jwks()))
        ),
    );
    until(|| status(&mut tried).is_none());
}

#[test]
fn an_address_that_answers_otherwise_gives_no_keys() {
    assert!(matches!(fetch(serve(http("500 no", b""))), Err(FetchError::Status(_))));
    let moved = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    assert!(matches!(fetch(serve(moved.to_vec())), Err(FetchError::Status(_))));
    let long = http("200 OK", &vec![b' '; (1 << 20) + 1]);
    assert!(matches!(fetch(serve(long)), Err(FetchError::Http(_))));
    assert!(matches!(fetch(serve(b"garbage\r\n\r\n".to_vec())), Err(FetchError::Http(_))));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(matches!(fetch(format!("http://{nobody}/keys")), Err(FetchError::Http(_))));
}

#[test]
fn an_unknown_kid_asks_for_a_fetch() {
    use crate::builtin::jwt::keys::Keys;
    use crate::exchange::{About, Exchange, Marks};
    use crate::filter::Filter;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let filter = super::filter_without_keys();
    filter.keys.store(Some(Arc::new(Keys::parse(&jwks()).unwrap())));
    let header = serde_json::json!({ "alg": "ES256", "kid": "new" });
    let token = super::sign("es", &header, &claims());
    let mut request = http::Request::new(()).into_parts().0;
    let value = format!("Bearer {token}").parse().unwrap();
    request.headers.insert("authorization", value);
    let (about, mut marks, mut slot) = (About::nothing(), Marks::default(), None);
    let x = Exchange { request: &mut request, about: &about, marks: &mut marks, slot: &mut slot };
    drop(filter.request_headers(x));
    let asked =
        async { tokio::time::timeout(Duration::from_secs(10), filter.refetch.notified()).await };
    runtime.block_on(asked).unwrap();
}
