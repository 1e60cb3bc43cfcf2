use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::KIND;
use crate::chain::Step;
use crate::filter::BoxFuture;
use crate::host::{Call, CallError, Calls, Host, Metrics, Reply};
use crate::testing::Tried;

const CONFIG: &str = "{ upstream: auth, path: /check, upstream_headers: [x-user], \
    response_headers: [set-cookie] }";

/// A service that always says the same, and keeps what it was asked.
#[derive(Debug)]
struct Service {
    says: Result<Reply, CallError>,
    asked: Mutex<Vec<(String, Call)>>,
}

impl Calls for Service {
    fn call(&self, upstream: &str, call: Call) -> BoxFuture<'static, Result<Reply, CallError>> {
        self.asked.lock().unwrap().push((upstream.to_owned(), call));
        Box::pin(std::future::ready(self.says.clone()))
    }
}

fn reply(status: u16, headers: &[(&'static str, &'static str)]) -> Result<Reply, CallError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_static(value));
    }
    let status = StatusCode::from_u16(status).unwrap();
    Ok(Reply { status, headers: map, body: Bytes::from("said") })
}

fn tried(config: &str, says: Result<Reply, CallError>) -> (Tried, Arc<Service>, Metrics) {
    let service = Arc::new(Service { says, asked: Mutex::default() });
    let metrics = Metrics::default();
    let host = Host { calls: service.clone(), metrics: metrics.clone(), ..Host::idle() };
    (Tried::with_host(&KIND, config, host), service, metrics)
}

fn count(metrics: &Metrics, result: &str) -> u64 {
    let family = metrics.counters("sallyport_external_auth_total", "Asked.", &["filter", "result"]);
    family.with_label_values(&["external_auth", result]).get()
}

fn status(step: Step) -> Option<u16> {
    match step {
        Step::Answer(answer) => Some(answer.status.as_u16()),
        _ => None,
    }
}

#[test]
fn the_service_learns_of_the_request_and_nothing_else() {
    let (mut tried, service, _) = tried(CONFIG, reply(200, &[]));
    tried.about.client = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)));
    tried.request.method = Method::DELETE;
    tried.request.uri = "/a?b=1".parse().unwrap();
    // A filter has changed what the origin is asked for, which is not what the service judges.
    tried.about.host = Some("shop.example");
    for (name, value) in [
        ("host", "app.internal"),
        ("authorization", "token"),
        ("x-other", "o"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-uri", "/forged"),
    ] {
        tried.header(name, value);
    }
    assert!(matches!(tried.request(), Step::Continue));
    let asked = service.asked.lock().unwrap();
    let (upstream, call) = &asked[0];
    assert_eq!((&**upstream, &*call.path, &*call.authority), ("auth", "/check", "auth"));
    assert_eq!((&call.method, call.timeout), (&Method::GET, Duration::from_millis(500)));
    assert_eq!(call.reply_bytes_max, 64 << 10);
    let mut headers: Vec<_> = call.headers.iter().collect();
    headers.sort_by_key(|(name, _)| name.as_str());
    let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
    assert_eq!(
        headers,
        [
            ("authorization", "token"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-host", "shop.example"),
            ("x-forwarded-method", "DELETE"),
            ("x-forwarded-uri", "/a?b=1"),
        ]
    );
    // What the client said of itself still goes upstream as the gateway's own rules have it.
    assert_eq!(tried.request.headers["x-forwarded-for"], "10.0.0.1");
}

#[test]
fn a_2xx_passes_with_its_fields() {
    let fields = [("x-user", "ann"), ("x-user", "admin"), ("set-cookie", "a=1"), ("x-secret", "s")];
    let (mut tried, _, metrics) = tried(CONFIG, reply(204, &fields));
    tried.header("x-user", "forged");
    assert!(matches!(tried.request(), Step::Continue));
    let users: Vec<_> = tried.request.headers.get_all("x-user").iter().collect();
    assert_eq!(users, ["ann", "admin"]);
    assert!(!tried.request.headers.contains_key("x-secret"));
    let mut response = http::Response::new(()).into_parts().0;
    response.headers.insert("set-cookie", HeaderValue::from_static("own=2"));
    tried.response(&mut response);
    let cookies: Vec<_> = response.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["own=2", "a=1"]);
    assert_eq!(count(&metrics, "allowed"), 1);
}

#[test]
fn a_refusal_is_passed_on_with_the_chosen_fields() {
    for code in [301, 302, 400, 401, 403, 429] {
        let fields = [
            ("location", "/login"),
            ("x-secret", "s"),
            ("content-type", "text/plain"),
            ("cache-control", "max-age=60"),
        ];
        let (mut tried, _, metrics) = tried(CONFIG, reply(code, &fields));
        let Step::Answer(answer) = tried.request() else { panic!("{code} passes") };
        assert_eq!(answer.status.as_u16(), code);
        let names: Vec<_> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["location", "content-type", "cache-control"]);
        assert_eq!(
            (&answer.headers[2].1, &answer.body[..]),
            (&"no-store".parse().unwrap(), &b"said"[..])
        );
        assert_eq!(count(&metrics, "refused"), 1);
    }
}

#[test]
fn a_service_that_cannot_be_asked_keeps_requests_out_or_lets_them_in() {
    let open = "{ upstream: auth, path: /check, upstream_headers: [x-user], on_failure: open }";
    for says in [
        reply(500, &[]),
        reply(503, &[("x-user", "ann")]),
        reply(101, &[]),
        Err(CallError::Timeout),
        Err(CallError::NoEndpoint),
        Err(CallError::TooLarge(65536)),
        Err(CallError::Failed("reset".into())),
    ] {
        let (mut closed, _, metrics) = tried(CONFIG, says.clone());
        assert_eq!(status(closed.request()), Some(503), "{says:?}");
        assert_eq!(count(&metrics, "failed_closed"), 1);
        let (mut opened, _, metrics) = tried(open, says);
        opened.header("x-user", "forged");
        assert!(matches!(opened.request(), Step::Continue));
        assert!(!opened.request.headers.contains_key("x-user"));
        assert_eq!(count(&metrics, "failed_open"), 1);
    }
}
