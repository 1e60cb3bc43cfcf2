use super::{Target, cookie, hash_key};
use crate::config::HashOn;
use http::{HeaderMap, HeaderValue, Version, header};
use pingora_http::RequestHeader;

fn request(target: &str, host: Option<&str>) -> RequestHeader {
    let mut request = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
    request.set_version(Version::HTTP_11);
    if let Some(host) = host {
        request.insert_header("host", host).unwrap();
    }
    request
}

#[test]
fn rfc9112_3_2_targets_are_taken_apart() {
    for (target, host, path, query, rewritten) in [
        ("/a/b?c=d", "Shop.Example:80", "/a/b", Some("c=d"), None),
        ("/a/../b", "shop.example", "/b", None, Some("/b")),
        ("/%61?x=%2e", "shop.example", "/a", Some("x=%2e"), Some("/a?x=%2e")),
        ("http://shop.example/x?y", "shop.example", "/x", Some("y"), Some("/x?y")),
        ("http://shop.example", "shop.example", "/", None, Some("/")),
        ("/?", "shop.example", "/", Some(""), None),
    ] {
        let request = request(target, Some(host));
        let read = Target::of(&request).unwrap();
        assert_eq!(
            (&*read.host, &*read.path, read.query),
            ("shop.example", path, query),
            "{target}"
        );
        assert_eq!(read.rewritten().as_deref(), rewritten, "{target}");
    }
}

#[test]
fn targets_that_mean_two_things_are_refused() {
    for (target, host) in [
        ("*", Some("a")),
        ("/..", Some("a")),
        ("/%00", Some("a")),
        ("/a%2f../b", Some("a")),
        ("/", None),
        ("/", Some("")),
        ("/", Some("a b")),
        ("ftp://a/", Some("a")),
    ] {
        assert!(Target::of(&request(target, host)).is_err(), "{target} {host:?}");
    }
}

#[test]
fn cookies_are_found_in_any_field() {
    let mut headers = HeaderMap::new();
    headers.append(header::COOKIE, HeaderValue::from_static("a=1; user=x=y"));
    headers.append(header::COOKIE, HeaderValue::from_static("late=2"));
    assert_eq!(cookie(&headers, "user"), Some("x=y"));
    assert_eq!(cookie(&headers, "late"), Some("2"));
    assert_eq!(cookie(&headers, "use"), None);
}

#[test]
fn what_is_missing_is_replaced_by_the_client() {
    let client = "192.0.2.1".parse().ok();
    let key = |hash_on, headers: &HeaderMap, query| {
        hash_key(&hash_on, client, "/p", query, headers, None)
    };
    let mut headers = HeaderMap::new();
    let by_source = key(HashOn::SourceIp, &headers, None);
    let by_user = || HashOn::Header(header::HeaderName::from_static("x-user"));
    assert_eq!(key(by_user(), &headers, None), by_source);
    headers.insert("x-user", HeaderValue::from_static("ann"));
    assert_ne!(key(by_user(), &headers, None), by_source);
    assert_eq!(
        key(HashOn::Query("u".into()), &headers, Some("u=ann")),
        key(by_user(), &headers, None)
    );
    assert_ne!(key(HashOn::Path, &headers, None), by_source);
}
