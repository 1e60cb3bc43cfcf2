use http::StatusCode;
use sallyport_route::{PathRegex, Replacement};

use super::{Asked, location, share, upstream};
use crate::config::{Forward, Redirect, RedirectPath, Retry, Target};

fn redirect() -> Redirect {
    Redirect {
        status: StatusCode::FOUND,
        scheme: None,
        host: None,
        port: None,
        path: RedirectPath::Keep,
    }
}

fn replacement(text: &str) -> Option<Replacement> {
    Some(Replacement::parse(text).unwrap())
}

fn full(text: &str) -> Redirect {
    let path = RedirectPath::Full(Replacement::parse(text).unwrap());
    Redirect { path, ..redirect() }
}

fn asked<'a>(authority: &'a str, path_and_query: &'a str) -> Asked<'a> {
    let path = path_and_query.split('?').next().unwrap();
    Asked {
        scheme: "http",
        authority,
        path,
        path_and_query,
        regex: None,
        domains: &[],
        variables: &[],
    }
}

#[test]
fn ports_follow_the_gateway_api() {
    for (scheme, authority, to, port, expected) in [
        // No scheme: the port that was asked stays, with another host too.
        ("http", "a.test", None, None, "http://n.test/"),
        ("http", "a.test:80", None, None, "http://n.test/"),
        ("http", "a.test:8080", None, None, "http://n.test:8080/"),
        ("http", "a.test:", None, None, "http://n.test/"),
        ("https", "a.test:443", None, None, "https://n.test/"),
        ("https", "a.test:8443", None, None, "https://n.test:8443/"),
        // A scheme brings its own port.
        ("http", "a.test:8080", Some("https"), None, "https://n.test/"),
        ("https", "a.test:8443", Some("http"), None, "http://n.test/"),
        ("http", "a.test:8080", Some("http"), None, "http://n.test/"),
        // A port that is given wins, and is not written where it is the scheme's own.
        ("http", "a.test:8080", None, Some(80), "http://n.test/"),
        ("http", "a.test", None, Some(8080), "http://n.test:8080/"),
        ("http", "a.test", None, Some(443), "http://n.test:443/"),
        ("http", "a.test:8080", Some("https"), Some(443), "https://n.test/"),
        ("http", "a.test", Some("https"), Some(8443), "https://n.test:8443/"),
        ("https", "a.test", Some("http"), Some(443), "http://n.test:443/"),
    ] {
        let redirect = Redirect {
            scheme: to.map(Into::into),
            port,
            host: replacement("n.test"),
            ..redirect()
        };
        let asked = Asked { scheme, ..asked(authority, "/") };
        let found = location(&redirect, &asked).unwrap();
        assert_eq!(found, expected, "{scheme} {authority} {to:?} {port:?}");
    }
    let v6 = location(&full("/"), &asked("[::1]:8080", "/x")).unwrap();
    assert_eq!(v6, "http://[::1]:8080/");
    assert_eq!(location(&full("/"), &asked("[::1]", "/x")).unwrap(), "http://[::1]/");
}

#[test]
fn the_query_stays_unless_the_path_brings_its_own() {
    for (path, sent, expected) in [
        ("/new", "/old?a=b", "/new?a=b"),
        ("/new", "/old", "/new"),
        ("/new", "/old?", "/new"),
        ("/new?c=d", "/old?a=b", "/new?c=d"),
        ("/new?", "/old?a=b", "/new"),
        ("/new#part", "/old?a=b", "/new?a=b#part"),
        ("/new?c#part?x", "/old?a=b", "/new?c#part?x"),
    ] {
        let found = location(&full(path), &asked("a.test", sent)).unwrap();
        assert_eq!(found, format!("http://a.test{expected}"), "{path} {sent}");
    }
    let kept = Redirect { host: replacement("n.test"), ..redirect() };
    assert_eq!(location(&kept, &asked("a.test", "/x?a=b")).unwrap(), "http://n.test/x?a=b");
}

#[test]
fn prefixes_are_replaced_as_in_the_gateway_apis_table() {
    for (prefix, with, path, expected) in [
        ("/foo", "/xyz", "/foo/bar", "/xyz/bar"),
        ("/foo", "/xyz", "/foo", "/xyz"),
        ("/foo", "/xyz", "/foo/", "/xyz/"),
        ("/foo", "", "/foo/bar", "/bar"),
        ("/foo", "", "/foo/", "/"),
        ("/foo", "", "/foo", "/"),
        ("", "/new", "/", "/new/"),
        ("", "/new", "/a", "/new/a"),
        ("/foo", "", "/foo//evil.test", "//evil.test"),
    ] {
        let path_to = RedirectPath::Prefix { prefix: prefix.into(), with: with.into() };
        let redirect = Redirect { path: path_to, ..redirect() };
        let sent = format!("{path}?q");
        let found = location(&redirect, &asked("a.test", &sent)).unwrap();
        assert_eq!(found, format!("http://a.test{expected}?q"), "{prefix} {with} {path}");
    }
}

#[test]
fn groups_make_paths_and_hosts_and_nothing_but_hosts() {
    let regex = PathRegex::new("/t/(?P<tenant>[^/]*)/(.*)").unwrap();
    let redirect = Redirect { host: replacement("${tenant}.n.test"), ..full("/p/${2}?from=${1}") };
    let to = |path| location(&redirect, &Asked { regex: Some(&regex), ..asked("a.test", path) });
    assert_eq!(to("/t/Ann/x/y").unwrap(), "http://ann.n.test/p/x/y?from=Ann");
    for path in ["/t/evil.test%2F/x", "/t/u@evil.test/x", "/t/evil.test:80/x", "/t//x", "/t/a..b/x"]
    {
        assert_eq!(to(path), None, "{path}");
    }
    let whole = PathRegex::new("/go/(.*)").unwrap();
    let redirect = Redirect { host: replacement("${1}"), ..full("/") };
    let asked = Asked { regex: Some(&whole), ..asked("a.test", "/go/[::1]") };
    assert_eq!(location(&redirect, &asked), None, "an address is no name");
}

#[test]
fn variables_make_no_more_than_a_part_of_a_path_or_a_host() {
    let values = [
        ("host", "a.test:8080".to_owned()),
        ("header.x-tenant", "A/b?c&d=#%2e \u{e9}".to_owned()),
        ("query", "q=1&r=2".to_owned()),
    ];
    let asked = Asked { variables: &values, ..asked("a.test:8080", "/x?q=1&r=2") };
    let redirect = Redirect {
        host: replacement("www.${host}"),
        ..full("/t/${header.x-tenant}?of=${host}&${query}")
    };
    assert_eq!(
        location(&redirect, &asked).unwrap(),
        "http://www.a.test:8080/t/A%2Fb%3Fc%26d%3D%23%252e%20%C3%A9?of=a.test%3A8080&q=1&r=2"
    );
    let elsewhere = Redirect { host: replacement("${header.x-tenant}.n.test"), ..full("/") };
    assert_eq!(location(&elsewhere, &asked), None);
    let unsaid = Redirect { host: replacement("${header.x-other}n.test"), ..full("/") };
    assert_eq!(location(&unsaid, &asked).unwrap(), "http://n.test:8080/?q=1&r=2");
}

#[test]
fn every_draw_falls_to_its_share() {
    let targets = [(7, 90), (8, 0), (9, 10)].map(|(upstream, weight)| Target { upstream, weight });
    assert_eq!(share(&targets, 0), Some(7));
    assert_eq!(share(&targets, 89), Some(7));
    assert_eq!(share(&targets, 90), Some(9));
    assert_eq!(share(&targets, 99), Some(9));
    assert_eq!(share(&targets, 100), None);
}

#[test]
fn the_share_of_an_upstream_without_endpoints_goes_to_the_others() {
    let targets = [(7, 50), (8, 30), (9, 20), (6, 0)]
        .map(|(upstream, weight)| Target { upstream, weight })
        .to_vec();
    let mut forward = Forward {
        targets,
        timeout: None,
        retry: Retry::times(0),
        sticky: None,
        mirror: None,
        failover: true,
    };
    let to = |forward: &Forward, available: &[usize], draw: u32| {
        upstream(forward, |index| available.contains(&index), |total| draw.min(total - 1))
    };
    assert_eq!(to(&forward, &[7, 8, 9], 0), 7);
    assert_eq!([0, 29, 30, 49].map(|draw| to(&forward, &[8, 9], draw)), [8, 8, 9, 9]);
    assert_eq!(to(&forward, &[], 60), 8, "with none available it is as drawn");
    assert_eq!(to(&forward, &[6], 0), 7, "a weight of 0 takes nothing over");
    forward.failover = false;
    assert_eq!(to(&forward, &[8, 9], 0), 7);
}
