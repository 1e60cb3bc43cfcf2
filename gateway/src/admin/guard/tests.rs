use axum::http::Request;

use super::*;
use crate::config::{AdminAddress, Token};

fn terms() -> Terms {
    let address = AdminAddress::Ip(([127, 0, 0, 1], 9901).into());
    Terms {
        address,
        hosts: vec!["admin.internal".into()],
        token: None,
        read_token: None,
        tls: None,
    }
}

fn request(method: Method, fields: &[(&str, &str)]) -> Request<()> {
    let mut builder = Request::builder().method(method).uri("/config");
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap()
}

fn get(fields: &[(&str, &str)]) -> Result<(), Refusal> {
    admit(&terms(), &request(Method::GET, fields)).map(drop)
}

#[test]
fn a_host_is_an_address_localhost_or_named() {
    for ours in [
        "127.0.0.1",
        "127.0.0.1:9901",
        "10.1.2.3:80",
        "[::1]:9901",
        "[2001:db8::1]",
        "localhost",
        "LOCALHOST:9901",
        "localhost.:1",
        "admin.internal",
        "Admin.Internal:9901",
    ] {
        assert_eq!(get(&[("host", ours)]), Ok(()), "{ours}");
    }
    for other in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:9901",
        "::1",
        "[::1",
        "[localhost]",
        "admin.internal.evil",
        "127.1",
        "0x7f000001",
        "2130706433",
        "",
        ":9901",
        "127.0.0.1:evil",
    ] {
        let refused = get(&[("host", other)]);
        assert!(matches!(refused, Err(Refusal::Stranger(_))), "{other}: {refused:?}");
    }
}

#[test]
fn only_http_1_0_has_requests_for_nobody() {
    assert!(matches!(get(&[]), Err(Refusal::Host(_))));
    let mut old = request(Method::GET, &[]);
    *old.version_mut() = Version::HTTP_10;
    assert_eq!(admit(&terms(), &old), Ok(May::Everything));
    let twice = [("host", "localhost"), ("host", "localhost")];
    assert!(matches!(get(&twice), Err(Refusal::Host(_))));
    let mut other = request(Method::GET, &[("host", "localhost")]);
    *other.uri_mut() = "http://evil.example/config".parse().unwrap();
    assert!(matches!(admit(&terms(), &other), Err(Refusal::Host(_))));
}

#[test]
fn pages_of_other_origins_are_refused() {
    let host = ("host", "127.0.0.1:9901");
    assert_eq!(get(&[host, ("origin", "http://127.0.0.1:9901")]), Ok(()));
    assert_eq!(get(&[host, ("sec-fetch-site", "same-origin")]), Ok(()));
    assert_eq!(get(&[host, ("sec-fetch-site", "none")]), Ok(()));
    for origin in ["null", "http://127.0.0.1", "http://evil.example", "file://", ""] {
        assert!(matches!(get(&[host, ("origin", origin)]), Err(Refusal::Origin(_))), "{origin}");
    }
    let two = [host, ("origin", "http://127.0.0.1:9901"), ("origin", "http://evil.example")];
    assert!(matches!(get(&two), Err(Refusal::Origin(_))));
    for site in ["cross-site", "same-site"] {
        let change = request(Method::POST, &[host, ("sec-fetch-site", site)]);
        assert!(matches!(admit(&terms(), &change), Err(Refusal::Origin(_))));
        assert_eq!(get(&[host, ("sec-fetch-site", site)]), Ok(()));
    }
}

#[test]
fn a_token_is_asked_for_and_one_may_only_read() {
    let terms =
        Terms { token: Token::of(b"all", "a"), read_token: Token::of(b"some", "b"), ..terms() };
    let with = |method: Method, authorization: &str| {
        let fields = [("host", "localhost"), ("authorization", authorization)];
        admit(&terms, &request(method, &fields)).map(drop)
    };
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::DELETE] {
        assert_eq!(with(method.clone(), "Bearer all"), Ok(()));
        assert_eq!(with(method.clone(), "bearer  all"), Ok(()));
        for other in ["Bearer al", "Bearer ", "Bearer", "Basic all", "all", "", "Bearer all some"] {
            assert_eq!(with(method.clone(), other), Err(Refusal::Unknown), "{other}");
        }
    }
    assert_eq!(with(Method::GET, "Bearer some"), Ok(()));
    assert_eq!(with(Method::HEAD, "Bearer some"), Ok(()));
    for method in [Method::PUT, Method::POST, Method::DELETE, Method::PATCH] {
        assert_eq!(with(method, "Bearer some"), Err(Refusal::ReadOnly));
    }
    let without = request(Method::GET, &[("host", "localhost")]);
    assert_eq!(admit(&terms, &without), Err(Refusal::Unknown));
}

#[test]
fn the_page_itself_is_for_everybody_and_nothing_else_is() {
    let terms = Terms { token: Token::of(b"all", "a"), ..terms() };
    let ask = |method: Method, path: &str, fields: &[(&str, &str)]| {
        let mut request = request(method, fields);
        *request.uri_mut() = path.parse().unwrap();
        admit(&terms, &request)
    };
    let (local, html) = (("host", "localhost"), ("accept", "text/html,*/*"));
    assert_eq!(ask(Method::GET, "/", &[local, html]), Ok(May::Nothing));
    assert_eq!(ask(Method::GET, "/page/page.js", &[local]), Ok(May::Nothing));
    for path in ["/", "/config", "/now", "/pages/page.js", "//page/page.js"] {
        assert_eq!(ask(Method::GET, path, &[local]), Err(Refusal::Unknown), "{path}");
    }
    assert_eq!(ask(Method::GET, "/config", &[local, html]), Err(Refusal::Unknown));
    assert_eq!(ask(Method::POST, "/page/page.js", &[local, html]), Err(Refusal::Unknown));
    let stranger = ask(Method::GET, "/", &[("host", "evil.example"), html]);
    assert!(matches!(stranger, Err(Refusal::Stranger(_))), "{stranger:?}");
}
