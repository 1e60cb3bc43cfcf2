use http::{HeaderMap, HeaderValue, Response};

use super::KIND;
use crate::testing::Tried;

/// The fields of a response that comes with these.
fn response(yaml: &str, came: &[(&'static str, &'static str)]) -> HeaderMap {
    response_over("http", yaml, came)
}

fn response_over(
    scheme: &'static str,
    yaml: &str,
    came: &[(&'static str, &'static str)],
) -> HeaderMap {
    let mut response = Response::new(()).into_parts().0;
    for (name, value) in came {
        response.headers.append(*name, HeaderValue::from_static(value));
    }
    let mut tried = Tried::new(&KIND, yaml);
    tried.about.scheme = scheme;
    tried.response(&mut response);
    response.headers
}

#[test]
fn every_key_turns_its_field_off() {
    assert_eq!(response("{}", &[]).len(), 6);
    for (key, name, default) in super::FIELDS {
        let headers = response(&format!("{{ {key}: \"off\" }}"), &[]);
        assert!(!headers.contains_key(&name), "{key}");
        let headers = response(&format!("{{ {key}: other }}"), &[]);
        assert_eq!(headers[&name], "other");
        let headers = response("{}", &[]);
        assert_eq!(headers.get(&name).map(HeaderValue::as_bytes), default.map(str::as_bytes));
    }
}

#[test]
fn the_origin_has_the_last_word_unless_it_is_overridden() {
    let came = [("x-frame-options", "DENY"), ("x-frame-options", "DENY")];
    let headers = response("{}", &came);
    assert_eq!(headers.get_all("x-frame-options").iter().count(), 2);
    let headers = response("{ override: true }", &came);
    let left: Vec<_> = headers.get_all("x-frame-options").iter().collect();
    assert_eq!(left, ["SAMEORIGIN"]);
}

#[test]
fn hsts_is_written_as_it_is_configured_and_over_https_only() {
    for (yaml, expected) in [
        ("{ hsts: \"off\" }", None),
        ("{ hsts: {} }", Some("max-age=31536000")),
        ("{ hsts: { max_age: 0s } }", Some("max-age=0")),
        (
            "{ hsts: { max_age: 24h, include_subdomains: true } }",
            Some("max-age=86400; includeSubDomains"),
        ),
    ] {
        assert!(!response(yaml, &[]).contains_key("strict-transport-security"), "{yaml}");
        let headers = response_over("https", yaml, &[]);
        let written = headers.get("strict-transport-security").map(|value| value.to_str().unwrap());
        assert_eq!(written, expected, "{yaml}");
    }
}
