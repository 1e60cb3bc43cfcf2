use http::{HeaderMap, HeaderValue, Method, Response};

use super::KIND;
use crate::chain::Step;
use crate::testing::Tried;

/// The status of a preflight's answer, and the fields of the response.
fn preflight(tried: &mut Tried, origin: &str) -> (u16, HeaderMap) {
    tried.again();
    tried.request.method = Method::OPTIONS;
    tried.header("origin", origin);
    tried.header("access-control-request-method", "PUT");
    let Step::Answer(answer) = tried.request() else { unreachable!("preflights are answered") };
    let mut response = Response::new(()).into_parts().0;
    response.headers.extend(answer.headers);
    tried.response(&mut response);
    (answer.status.as_u16(), response.headers)
}

/// The fields of the response to a request from `origin`.
fn simple(tried: &mut Tried, origin: Option<&str>, vary: Option<&'static str>) -> HeaderMap {
    tried.again();
    if let Some(origin) = origin {
        tried.header("origin", origin);
    }
    assert!(matches!(tried.request(), Step::Continue));
    let mut response = Response::new(()).into_parts().0;
    response.headers.insert("access-control-allow-methods", HeaderValue::from_static("PUT"));
    response.headers.extend(vary.map(|vary| (http::header::VARY, HeaderValue::from_static(vary))));
    tried.response(&mut response);
    response.headers
}

#[test]
fn origins_are_compared_whole() {
    let yaml = r#"{ origins: ["https://a.example", { regex: "https://.*[.]b[.]example" }] }"#;
    let mut tried = Tried::new(&KIND, yaml);
    for (origin, status) in [
        ("https://a.example", 204),
        ("https://x.b.example", 204),
        ("http://a.example", 403),
        ("https://a.example:8443", 403),
        ("https://a.example.evil.example", 403),
        ("https://x.b.example.evil.example", 403),
        ("null", 403),
        ("", 403),
    ] {
        let (found, headers) = preflight(&mut tried, origin);
        assert_eq!(found, status, "{origin}");
        let allowed = headers.get("access-control-allow-origin");
        assert_eq!(
            allowed.map(HeaderValue::as_bytes),
            (status == 204).then_some(origin.as_bytes())
        );
        assert_eq!(headers["vary"], "origin");
    }
}

#[test]
fn what_is_not_configured_is_not_written() {
    let mut tried = Tried::new(&KIND, r#"{ origins: ["https://a.example"] }"#);
    let (_, headers) = preflight(&mut tried, "https://a.example");
    assert_eq!(headers["access-control-allow-methods"], "GET, HEAD, POST");
    for name in ["credentials", "headers"] {
        assert!(!headers.contains_key(format!("access-control-allow-{name}")), "{name}");
    }
    assert!(!headers.contains_key("access-control-max-age"));
}

#[test]
fn only_preflights_are_answered() {
    let mut tried = Tried::new(&KIND, r#"{ origins: ["https://a.example"] }"#);
    tried.request.method = Method::OPTIONS;
    tried.header("origin", "https://evil.example");
    assert!(matches!(tried.request(), Step::Continue));
    tried.again();
    tried.request.method = Method::PUT;
    tried.header("origin", "https://evil.example");
    tried.header("access-control-request-method", "PUT");
    assert!(matches!(tried.request(), Step::Continue));
}

#[test]
fn responses_vary_by_origin_once() {
    let mut tried = Tried::new(&KIND, r#"{ origins: ["https://a.example"], expose: [x-a] }"#);
    for (vary, expected) in [
        (None, &["origin"][..]),
        (Some("accept"), &["accept", "origin"]),
        (Some("Accept, Origin"), &["Accept, Origin"]),
        (Some("*"), &["*"]),
    ] {
        for origin in [None, Some("https://a.example"), Some("https://evil.example")] {
            let headers = simple(&mut tried, origin, vary);
            let found: Vec<_> = headers.get_all("vary").iter().collect();
            assert_eq!(found, expected);
            let allowed = origin == Some("https://a.example");
            assert_eq!(headers.contains_key("access-control-allow-origin"), allowed);
            assert_eq!(headers.contains_key("access-control-expose-headers"), allowed);
            assert!(!headers.contains_key("access-control-allow-methods"));
        }
    }
}

#[test]
fn everybody_is_told_the_same_where_everybody_may() {
    let mut tried = Tried::new(&KIND, r#"{ origins: ["*"] }"#);
    for origin in [None, Some("https://a.example")] {
        let headers = simple(&mut tried, origin, None);
        assert_eq!(headers["access-control-allow-origin"], "*");
        assert!(!headers.contains_key("vary"));
    }
}
