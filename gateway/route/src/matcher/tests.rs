use http::header::{ACCEPT, HeaderName};

use super::*;

fn headers(fields: &[(&str, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, http::HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

fn exact(text: &str) -> ValueMatch {
    ValueMatch::Exact(text.into())
}

fn starts(text: &str) -> ValueMatch {
    ValueMatch::Prefix(text.into())
}

fn regex(pattern: &str) -> ValueMatch {
    ValueMatch::regex(pattern).unwrap()
}

#[test]
fn prefixes_match_by_whole_segments() {
    let cases = [
        ("/api", vec!["/api", "/api/", "/api/x", "/api//x"], vec!["/", "/apix", "/ap", "/x/api"]),
        ("/api/", vec!["/api/", "/api/x", "/api//"], vec!["/api", "/apix"]),
        ("/", vec!["/", "/x", "//"], vec![]),
        ("/a//", vec!["/a//", "/a//b"], vec!["/a/", "/a", "/a/b"]),
        ("/a//b", vec!["/a//b", "/a//b/c"], vec!["/a/b", "/a//bc"]),
    ];
    for (prefix, matching, others) in cases {
        let prefix = PathMatch::Prefix(prefix.into());
        for path in matching {
            assert!(prefix.holds(path), "{prefix:?} {path}");
        }
        for path in others {
            assert!(!prefix.holds(path), "{prefix:?} {path}");
        }
    }
}

#[test]
fn configured_paths_are_normalised() {
    let PathMatch::Exact(path) = PathMatch::exact("/a/../%7Eb").unwrap() else { panic!() };
    assert_eq!(&*path, "/~b");
    let PathMatch::Prefix(path) = PathMatch::prefix("/%c3%a9/").unwrap() else { panic!() };
    assert_eq!(&*path, "/%C3%A9/");
    assert!(PathMatch::prefix("api").is_err());
}

#[test]
fn path_regexes_match_the_whole_path() {
    let cases = [
        ("/a", "/a", true),
        ("/a", "/ab", false),
        ("a", "/a", false),
        ("/a|/b", "/b", true),
        ("/a|/b", "/ab", false),
        ("/a|/b", "/a/b", false),
        ("/(?i)A.*", "/aB/c", true),
        ("(?x) /a  # a comment", "/a", true),
        ("(?x) /a  # a comment", "/ab", false),
        ("(?m)^/a$", "/a", true),
        ("/[^x]+", "/a/b", true),
        (r"/\w+/\d{2}", "/abc/42", true),
        (r"/\w+/\d{2}", "/abc/421", false),
        ("", "/", false),
    ];
    for (pattern, path, expected) in cases {
        let regex = PathMatch::regex(pattern).unwrap();
        assert_eq!(regex.holds(path), expected, "{pattern} {path}");
    }
}

#[test]
fn path_regexes_that_are_refused() {
    for pattern in ["/(", "/a)|(?:/b", "/[", r"/\p{Greek}", "/(?:(?:x{100}){100}){100}"] {
        assert!(PathMatch::regex(pattern).is_err(), "{pattern}");
    }
}

#[test]
fn literals_around_a_path_regex() {
    let cases = [
        ("/api/[0-9]+/orders", "/api/", "/orders"),
        ("/api/x?/y", "/api/", "/y"),
        ("/api/x*", "/api/", ""),
        ("/v(?:1|2)/a", "/v", "/a"),
        ("/a|/ab", "/a", ""),
        ("/a|b", "", ""),
        ("^/a$", "/a", "/a"),
        ("(?i)/a", "/", ""),
        (r"/a\.b", "/a.b", "/a.b"),
        ("/a{2}b", "/aab", "/aab"),
        (".*", "", ""),
        ("[a&&b]", "", ""),
    ];
    for (pattern, head, tail) in cases {
        let PathMatch::Regex(regex) = PathMatch::regex(pattern).unwrap() else { panic!() };
        let found = [regex.head(), regex.tail()].map(|text| std::str::from_utf8(text).unwrap());
        assert_eq!(found, [head, tail], "{pattern}");
    }
}

#[test]
fn a_header_holds_when_any_occurrence_does() {
    let headers =
        headers(&[("x-beta", b"0"), ("x-beta", b"1"), ("x-empty", b""), ("x-raw", b"a\xff")]);
    let cases = [
        ("X-Beta", exact("1"), true),
        ("x-beta", exact("01"), false),
        ("x-beta", exact("2"), false),
        ("x-beta", starts(""), true),
        ("x-beta", regex("[1-9]"), true),
        ("x-beta", regex("[2-9]"), false),
        ("x-beta", ValueMatch::Present(true), true),
        ("x-beta", ValueMatch::Present(false), false),
        ("x-empty", exact(""), true),
        ("x-empty", ValueMatch::Present(true), true),
        ("x-raw", starts("a"), true),
        ("x-raw", regex("(?s).*"), false),
        ("x-none", exact(""), false),
        ("x-none", ValueMatch::Present(false), true),
        ("x-none", ValueMatch::Present(true), false),
    ];
    for (name, value, expected) in cases {
        let header = HeaderMatch { name: name.parse().unwrap(), value };
        assert_eq!(header.holds(&headers), expected, "{header:?}");
    }
}

#[test]
fn a_query_field_holds_when_any_occurrence_does() {
    let query = "v=1&v=2&&empty=&bare&eq=a=b&two+words=a%20b&caf%C3%A9=%zz%4&%76=3";
    let cases = [
        ("v", exact("2"), true),
        ("v", exact("3"), true),
        ("v", exact("4"), false),
        ("V", ValueMatch::Present(true), false),
        ("empty", exact(""), true),
        ("bare", exact(""), true),
        ("bare", ValueMatch::Present(true), true),
        ("eq", exact("a=b"), true),
        ("two words", exact("a b"), true),
        ("two words", starts("a "), true),
        ("two words", regex(r"a\sb"), true),
        ("two words", regex("a"), false),
        ("café", exact("%zz%4"), true),
        ("", ValueMatch::Present(false), true),
        ("none", ValueMatch::Present(false), true),
    ];
    for (name, value, expected) in cases {
        let field = QueryMatch { name: name.into(), value };
        assert_eq!(field.holds(query), expected, "{field:?}");
    }
    let nothing = QueryMatch { name: "".into(), value: ValueMatch::Present(true) };
    assert!(!nothing.holds(""));
}

#[test]
fn value_regexes_match_the_whole_value() {
    let cases = [("a|b", "ab", false), ("(?x) a # b", "a", true), ("a", "a", true)];
    for (pattern, value, expected) in cases {
        let holds = regex(pattern).holds([value].iter());
        assert_eq!(holds, expected, "{pattern} {value}");
    }
    assert!(ValueMatch::regex("a)|(b").is_err());
}

#[test]
fn the_first_mismatch_is_told_in_words() {
    let headers = headers(&[("accept", b"text/html"), ("x-internal", b"1")]);
    let request = Request {
        method: &Method::GET,
        path: "/shop",
        query: "v=1&debug",
        headers: &headers,
        scheme: crate::Scheme::Http,
        hints: None,
    };
    let header = |name: &'static str, value| Match {
        headers: vec![HeaderMatch { name: HeaderName::from_static(name), value }],
        ..Match::default()
    };
    let query = |name: &str, value| Match {
        query: vec![QueryMatch { name: name.into(), value }],
        ..Match::default()
    };
    let path = |path| Match { path, methods: vec![Method::POST], ..Match::default() };
    let cases = [
        (path(PathMatch::exact("/").unwrap()), "path is not /"),
        (path(PathMatch::prefix("/api").unwrap()), "path is not under /api"),
        (path(PathMatch::regex("/[0-9]+").unwrap()), "path does not match the regex /[0-9]+"),
        (path(PathMatch::default()), "method is GET, not POST"),
        (
            Match { methods: vec![Method::PUT, Method::POST], ..Match::default() },
            "method is GET, not PUT or POST",
        ),
        (header("x-beta", exact("1")), "header x-beta is not \"1\""),
        (header("accept", starts("image/")), "header accept does not begin with \"image/\""),
        (header("x-beta", ValueMatch::Present(true)), "header x-beta is missing"),
        (header("x-internal", ValueMatch::Present(false)), "header x-internal is present"),
        (query("v", exact("2")), "query field v is not \"2\""),
        (query("v", regex("[2-9]")), "query field v does not match the regex ^(?:[2-9])$"),
        (query("debug", ValueMatch::Present(false)), "query field debug is present"),
    ];
    for (route, expected) in cases {
        let mismatch = route.mismatch(&request).map(|mismatch| mismatch.to_string());
        assert_eq!(mismatch.as_deref(), Some(expected));
    }
    let all = Match {
        path: PathMatch::prefix("/shop").unwrap(),
        methods: vec![Method::GET],
        headers: vec![HeaderMatch { name: ACCEPT, value: exact("text/html") }],
        query: vec![QueryMatch { name: "v".into(), value: exact("1") }],
        cookies: Vec::new(),
        scheme: None,
        hint: None,
        client: None,
    };
    assert!(all.mismatch(&request).is_none());
    assert!(Match::default().mismatch(&request).is_none());
}

#[test]
fn rfc6265_5_4_cookies_are_pairs_in_one_field_or_several() {
    let mut headers = HeaderMap::new();
    headers.append(http::header::COOKIE, "a=1; beta=2;c".parse().unwrap());
    headers.append(http::header::COOKIE, " beta=x=y ; Beta=3".parse().unwrap());
    let request = Request {
        method: &Method::GET,
        path: "/",
        query: "",
        headers: &headers,
        scheme: crate::Scheme::Http,
        hints: None,
    };
    for (name, value, matches) in [
        ("beta", exact("2"), true),
        ("beta", exact("x=y"), true),
        ("beta", exact("3"), false),
        ("Beta", exact("3"), true),
        ("a", starts("1"), true),
        ("c", ValueMatch::Present(true), false),
        ("d", ValueMatch::Present(false), true),
        ("beta", regex("[0-9]"), true),
    ] {
        let said = format!("{name} {value:?}");
        let cookies = vec![CookieMatch { name: name.into(), value }];
        let route = Match { cookies, ..Match::default() };
        assert_eq!(route.mismatch(&request).is_none(), matches, "{said}");
        assert_eq!(route.rest_holds(&request), matches, "{said}");
    }
    let route = Match {
        cookies: vec![CookieMatch { name: "beta".into(), value: exact("9") }],
        ..Match::default()
    };
    assert_eq!(route.mismatch(&request).unwrap().to_string(), "cookie beta is not \"9\"");
}

#[test]
fn rfc9110_9_1_methods_are_case_sensitive() {
    let lower = Method::from_bytes(b"get").unwrap();
    let headers = HeaderMap::new();
    let request = Request {
        method: &lower,
        path: "/",
        query: "",
        headers: &headers,
        scheme: crate::Scheme::Http,
        hints: None,
    };
    let route = Match { methods: vec![Method::GET], ..Match::default() };
    assert!(route.mismatch(&request).is_some());
}
