//! `HTTPRouteHostnameIntersection`, `…ListenerHostnameMatching`, `…ListenerPortMatching`,
//! `GatewayHTTPListenerIsolation`.

use super::table::{Rules, Table, any, get, prefix};

#[test]
fn http_route_hostname_intersection() {
    let specific = Rules::default().to(&[prefix("/s1")], "v1").to(&[prefix("/s3")], "v3");
    let wildcard = Rules::default().to(&[prefix("/s2")], "v2");
    let another = Rules::default().to(&[prefix("/s4")], "v1");
    let hosts = specific.host("one", &["very.specific.com"])
        + &wildcard.host("two", &["foo.wildcard.io", "bar.wildcard.io", "foo.bar.wildcard.io"])
        + &another.host("three", &["*.anotherwildcard.io"]);
    Table::new(&hosts).check(&[
        get("/s1").host("very.specific.com").by("v1"),
        // The port in `Host` does not count.
        get("/s1").host("very.specific.com:1234").by("v1"),
        get("/s1").host("non.matching.com").status(404),
        get("/s1").host("foo.nonmatchingwildcard.io").status(404),
        get("/s1").host("foo.wildcard.io").status(404),
        get("/non-matching-prefix").host("very.specific.com").status(404),
        get("/s2").host("foo.wildcard.io").by("v2"),
        get("/s2").host("bar.wildcard.io").by("v2"),
        get("/s2").host("foo.bar.wildcard.io").by("v2"),
        get("/s2").host("non.matching.com").status(404),
        get("/s2").host("wildcard.io").status(404),
        get("/s2").host("very.specific.com").status(404),
        get("/non-matching-prefix").host("foo.wildcard.io").status(404),
        get("/s3").host("very.specific.com").by("v3"),
        get("/s3").host("non.matching.com").status(404),
        get("/s3").host("foo.specific.com").status(404),
        get("/s3").host("foo.wildcard.io").status(404),
        get("/non-matching-prefix").host("very.specific.com").status(404),
        get("/s4").host("foo.anotherwildcard.io").by("v1"),
        get("/s4").host("bar.anotherwildcard.io").by("v1"),
        get("/s4").host("foo.bar.anotherwildcard.io").by("v1"),
        get("/s4").host("anotherwildcard.io").status(404),
        get("/s4").host("foo.wildcard.io").status(404),
        get("/s4").host("very.specific.com").status(404),
        get("/non-matching-prefix").host("foo.anotherwildcard.io").status(404),
        get("/s5").host("specific.but.wrong.com").status(404),
        get("/s5").host("wildcard.io").status(404),
    ]);
}

#[test]
fn http_route_hostname_intersection_with_a_listener_for_all_hosts() {
    let domains = ["first.com", "sub.first.com", "second.com", "sub.second.com"];
    let mut cases: Vec<_> = domains.iter().map(|&host| get("/").host(host).by("v2")).collect();
    cases.push(get("/").host("third.com").status(404));
    cases.push(get("/").host("sub.third.com").status(404));
    Table::new(&Rules::default().to(&[any()], "v2").host("all", &domains)).check(&cases);
}

#[test]
fn http_route_listener_hostname_matching() {
    let to = |backend| Rules::default().to(&[any()], backend);
    let hosts = to("v1").host("one", &["bar.com"])
        + &to("v2").host("two", &["foo.bar.com"])
        + &to("v3").host("three", &["*.bar.com", "*.foo.com"]);
    Table::new(&hosts).check(&[
        get("/").host("bar.com").by("v1"),
        get("/").host("foo.bar.com").by("v2"),
        get("/").host("baz.bar.com").by("v3"),
        get("/").host("boo.bar.com").by("v3"),
        get("/").host("multiple.prefixes.bar.com").by("v3"),
        get("/").host("multiple.prefixes.foo.com").by("v3"),
        get("/").host("foo.com").status(404),
        get("/").host("no.matching.host").status(404),
    ]);
}

#[test]
fn http_route_listener_port_matching_one_domain_is_another_site_on_another_listener() {
    let to = |backend| Rules::default().to(&[any()], backend);
    let hosts = to("v1").host("port-80", &["foo.com"])
        + &to("v2").host("port-8080", &["foo.com", "bar.com"])
        + &to("v3").host("port-8090", &["foo.com"]);
    let listeners: String = [("web", "port-80"), ("second", "port-8080"), ("third", "port-8090")]
        .iter()
        .map(|(name, host)| {
            format!(
                "  - {{ name: {name}, address: 127.0.0.1:0, h2c: true, virtual_hosts: [{host}] }}\n"
            )
        })
        .collect();
    Table::with_listeners(&listeners, &hosts).check(&[
        get("/").host("foo.com").by("v1"),
        get("/").on("second").host("foo.com:8080").by("v2"),
        get("/").on("second").host("bar.com:8080").by("v2"),
        get("/").on("third").host("foo.com:8090").by("v3"),
        get("/").on("third").host("bar.com:8090").status(404),
    ]);
}

#[test]
fn gateway_http_listener_isolation() {
    let to = |path| Rules::default().to(&[prefix(path)], "v1");
    let hosts = to("/empty-hostname").host("empty", &["*"])
        + &to("/wildcard-example-com").host("example", &["*.example.com"])
        + &to("/wildcard-foo-example-com").host("foo", &["*.foo.example.com"])
        + &to("/abc-foo-example-com").host("abc", &["abc.foo.example.com"]);
    let sites = [
        ("bar.com", "/empty-hostname"),
        ("bar.example.com", "/wildcard-example-com"),
        ("bar.foo.example.com", "/wildcard-foo-example-com"),
        ("abc.foo.example.com", "/abc-foo-example-com"),
    ];
    let cases = sites.iter().flat_map(|&(host, own)| {
        sites.iter().map(move |&(_, path)| {
            let case = get(path).host(host);
            if path == own { case.by("v1") } else { case.status(404) }
        })
    });
    Table::new(&hosts).check(&cases.collect::<Vec<_>>());
}
