//! `HTTPRouteRedirectHostAndStatus`, `…RedirectPath`, `…RedirectPort`, `…RedirectScheme`,
//! `…RedirectPortAndScheme`, `…303Redirect`, `…307Redirect`, `…308Redirect`.
//!
//! Requests whose host is `gw.test` are those of a client of port 80, those of `gw.test:8080` those
//! of a client of port 8080.

use super::table::{Rules, Table, get, prefix, send};

/// One route for each path prefix, with this redirect.
fn table(redirects: &[(&'static str, &str)]) -> Table {
    let rules = redirects.iter().fold(Rules::default(), |rules, (path, redirect)| {
        rules.rule(&[prefix(path)], &format!("redirect: {{ {redirect} }}"))
    });
    Table::new(&rules.everywhere())
}

#[test]
fn http_route_redirect_host_and_status() {
    table(&[
        ("/hostname-redirect", "host: example.org"),
        ("/host-and-status", "status: 301, host: example.org"),
    ])
    .check(&[
        get("/hostname-redirect").redirects(302, "http://example.org/hostname-redirect"),
        get("/host-and-status").redirects(301, "http://example.org/host-and-status"),
    ]);
}

#[test]
fn http_route_redirect_path() {
    table(&[
        ("/original-prefix", "path_prefix: /replacement-prefix"),
        ("/full", "path: /full-path-replacement"),
        ("/path-and-host", "host: example.org, path_prefix: /replacement-prefix"),
        ("/path-and-status", "path_prefix: /replacement-prefix, status: 301"),
        ("/full-path-and-host", "host: example.org, path: /replacement-full"),
        ("/full-path-and-status", "path: /replacement-full, status: 301"),
    ])
    .check(&[
        get("/original-prefix/lemon").redirects(302, "http://gw.test/replacement-prefix/lemon"),
        get("/full/path/original").redirects(302, "http://gw.test/full-path-replacement"),
        get("/path-and-host").redirects(302, "http://example.org/replacement-prefix"),
        get("/path-and-status").redirects(301, "http://gw.test/replacement-prefix"),
        get("/full-path-and-host").redirects(302, "http://example.org/replacement-full"),
        get("/full-path-and-status").redirects(301, "http://gw.test/replacement-full"),
        // Not in the tables, but in the words of `HTTPPathModifier`: the query is kept.
        get("/original-prefix/a?b=c").redirects(302, "http://gw.test/replacement-prefix/a?b=c"),
        get("/full/a?b=c").redirects(302, "http://gw.test/full-path-replacement?b=c"),
    ]);
}

#[test]
fn http_route_redirect_port() {
    table(&[
        ("/port", "port: 8083"),
        ("/port-and-host", "host: example.org, port: 8083"),
        ("/port-and-status", "port: 8083, status: 301"),
        ("/port-and-host-and-status", "port: 8083, host: example.org, status: 302"),
    ])
    .check(&[
        get("/port").redirects(302, "http://gw.test:8083/port"),
        get("/port-and-host").redirects(302, "http://example.org:8083/port-and-host"),
        get("/port-and-status").redirects(301, "http://gw.test:8083/port-and-status"),
        get("/port-and-host-and-status")
            .redirects(302, "http://example.org:8083/port-and-host-and-status"),
    ]);
}

#[test]
fn http_route_redirect_scheme() {
    table(&[
        ("/scheme", "scheme: https"),
        ("/scheme-and-host", "host: example.org, scheme: https"),
        ("/scheme-and-status", "scheme: https, status: 301"),
        ("/scheme-and-host-and-status", "scheme: https, status: 302, host: example.org"),
    ])
    .check(&[
        get("/scheme").redirects(302, "https://gw.test/scheme"),
        get("/scheme-and-host").redirects(302, "https://example.org/scheme-and-host"),
        get("/scheme-and-status").redirects(301, "https://gw.test/scheme-and-status"),
        get("/scheme-and-host-and-status")
            .redirects(302, "https://example.org/scheme-and-host-and-status"),
    ]);
}

#[test]
fn http_route_redirect_port_and_scheme() {
    table(&[
        ("/scheme-nil-and-port-nil", "host: example.org"),
        ("/scheme-nil-and-port-80", "port: 80, host: example.org"),
        ("/scheme-nil-and-port-8080", "port: 8080, host: example.org"),
        ("/scheme-https-and-port-nil", "scheme: https, host: example.org"),
        ("/scheme-https-and-port-443", "scheme: https, port: 443, host: example.org"),
        ("/scheme-https-and-port-8443", "scheme: https, port: 8443, host: example.org"),
    ])
    .check(&[
        get("/scheme-nil-and-port-nil")
            .redirects(302, "http://example.org/scheme-nil-and-port-nil"),
        get("/scheme-nil-and-port-80").redirects(302, "http://example.org/scheme-nil-and-port-80"),
        get("/scheme-nil-and-port-8080")
            .redirects(302, "http://example.org:8080/scheme-nil-and-port-8080"),
        get("/scheme-https-and-port-nil")
            .redirects(302, "https://example.org/scheme-https-and-port-nil"),
        get("/scheme-https-and-port-443")
            .redirects(302, "https://example.org/scheme-https-and-port-443"),
        get("/scheme-https-and-port-8443")
            .redirects(302, "https://example.org:8443/scheme-https-and-port-8443"),
        // The listener on port 8080.
        get("/scheme-nil-and-port-nil")
            .host("gw.test:8080")
            .redirects(302, "http://example.org:8080/scheme-nil-and-port-nil"),
        get("/scheme-nil-and-port-80")
            .host("gw.test:8080")
            .redirects(302, "http://example.org/scheme-nil-and-port-80"),
        get("/scheme-https-and-port-nil")
            .host("gw.test:8080")
            .redirects(302, "https://example.org/scheme-https-and-port-nil"),
    ]);
}

#[test]
fn http_route_redirect_by_status_alone() {
    table(&[
        ("/see-other", "status: 303"),
        ("/temporary", "status: 307"),
        ("/permanent", "status: 308"),
    ])
    .check(&[
        send("POST", "/see-other").redirects(303, "http://gw.test/see-other"),
        get("/temporary").redirects(307, "http://gw.test/temporary"),
        get("/permanent").redirects(308, "http://gw.test/permanent"),
    ]);
}

/// Not in the tables: groups of the route's regex, as in nginx's `return 301 https://$1.example`.
#[test]
fn groups_of_the_route_lead_to_paths_and_hosts_and_to_no_other_site() {
    let hosts = r#"  - name: all
    domains: ["*"]
    routes:
      - name: items
        match: { path: { regex: "/items/([0-9]+)(?:/(?P<tab>[a-z]+))?" } }
        redirect: { path: "/shop/${1}/$$${tab}" }
      - name: tenants
        match: { path: { regex: "/t/(?P<Tenant>[^/]+)/(.*)" } }
        redirect: { status: 308, scheme: https, host: "${Tenant}.Example.org", path: "/${2}" }
"#;
    Table::new(hosts).check(&[
        get("/items/7/size?a=b").redirects(302, "http://gw.test/shop/7/$size?a=b"),
        get("/items/7").redirects(302, "http://gw.test/shop/7/$"),
        get("/t/Ann/x/y?z").redirects(308, "https://ann.example.org/x/y?z"),
        get("/t/evil.test%2F/x").status(400).answers_no("location"),
        get("/t/me@evil.test/x").status(400).answers_no("location"),
        get("/t/evil.test:80/x").status(400).answers_no("location"),
    ]);
}

/// RFC 3986, 6.2.2: what was matched is what the client is sent to, with filters and without.
#[test]
fn the_path_is_the_normalised_one_with_and_without_filters() {
    let route = "{ name: all, redirect: { host: example.org } }";
    let hosts = format!(
        "  - {{ name: bare, domains: [bare.test], routes: [ {route} ] }}
  - name: filtered
    domains: [filtered.test]
    filters: [ {{ headers: {{ request: {{ set: {{ x-a: b }} }} }} }} ]
    routes: [ {route} ]
  - name: rewritten
    domains: [rewritten.test]
    filters: [ {{ rewrite: {{ path: {{ prefix: /a, with: /c }} }} }} ]
    routes:
      - {{ name: groups, match: {{ path: {{ regex: \"/(a)/g\" }} }}, redirect: {{ path: \"/${{1}}\" }} }}
      - {{ name: prefix, match: {{ path: {{ prefix: /a/p }} }}, redirect: {{ path_prefix: /x }} }}
      - {route}
"
    );
    Table::new(&hosts).check(&[
        get("/a/../%7Eb?%7E").host("bare.test").redirects(302, "http://example.org/~b?%7E"),
        get("/a/../%7Eb?%7E").host("filtered.test").redirects(302, "http://example.org/~b?%7E"),
        // A path that a filter gave the request is its path; what the route matched stays matched.
        get("/a/b?q").host("rewritten.test").redirects(302, "http://example.org/c/b?q"),
        get("/a/g?q").host("rewritten.test").redirects(302, "http://rewritten.test/a?q"),
        get("/a/p/y?q").host("rewritten.test").redirects(302, "http://rewritten.test/x/y?q"),
    ]);
}
