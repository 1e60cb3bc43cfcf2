use super::{Cause, Target, cookie, hash_key, set};
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
        ("/x?\u{e9}[]=", "shop.example", "/x", Some("%C3%A9[]="), Some("/x?%C3%A9[]=")),
        ("/\u{e9}|?|", "shop.example", "/%C3%A9%7C", Some("|"), Some("/%C3%A9%7C?|")),
        ("/?", "shop.example", "/", Some(""), None),
    ] {
        let request = request(target, Some(host));
        let read = Target::of(&request).unwrap();
        assert_eq!(
            (&*read.host, &*read.path, read.query.as_deref()),
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
        ("http://a/", Some("a")),
    ] {
        assert!(Target::of(&request(target, host)).is_err(), "{target} {host:?}");
    }
}

#[test]
fn a_target_that_grows_past_what_can_be_sent_is_refused() {
    let long = format!("/a/../{}", "\u{e9}".repeat(11_000));
    let read = Target::of(&request(&long, Some("a"))).map(|target| target.path.len());
    assert_eq!(read, Err(Cause::TargetTooLong));
}

#[test]
fn a_target_is_set_beside_an_authority() {
    let mut request = request("/a/../b", Some("a"));
    set(&mut request, "/b?c").unwrap();
    assert_eq!(request.raw_path(), b"/b?c");
    request.set_uri("http://a.test/x".parse().unwrap());
    set(&mut request, "/y").unwrap();
    assert_eq!(request.uri, "http://a.test/y");
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
