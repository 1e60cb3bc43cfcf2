//! `HTTPRouteRewriteHost` and `HTTPRouteRewritePath`.

use super::table::{Case, Rules, Table, any, get, prefix};

const MODIFIED: &str = "headers: { request: { set: { X-Header-Set: set-overwrites-values },
    add: { X-Header-Add: header-val-1, X-Header-Add-Append: header-val-2 },
    remove: [X-Header-Remove] } }";

/// A request for this path whose fields are changed.
fn modified(path: &'static str, backend: &'static str) -> Case {
    get(path)
        .with("x-header-remove", "remove-val")
        .with("x-header-add-append", "append-val-1")
        .by(backend)
        .sees("x-header-add", "header-val-1")
        .sees("x-header-add-append", "append-val-1,header-val-2")
        .sees("x-header-set", "set-overwrites-values")
        .sees_no("x-header-remove")
}

fn rewritten(rewrite: &str, backend: &str) -> String {
    format!("filters: [ {{ rewrite: {{ {rewrite} }} }} ], forward: {{ upstream: {backend} }}")
}

#[test]
fn http_route_rewrite_host() {
    let both = format!(
        "filters: [ {{ rewrite: {{ host: test.example.org }} }}, {{ {MODIFIED} }} ],
         forward: {{ upstream: v2 }}"
    );
    let rules = Rules::default()
        .rule(&[prefix("/one")], &rewritten("host: one.example.org", "v1"))
        .rule(&[any()], &rewritten("host: example.org", "v2"))
        .rule(&[prefix("/rewrite-host-and-modify-headers")], &both);
    Table::new(&rules.host("rewrite", &["rewrite.example"])).check(&[
        get("/one").host("rewrite.example").by("v1").sees_host("one.example.org"),
        get("/two").host("rewrite.example").by("v2").sees_host("example.org"),
        modified("/rewrite-host-and-modify-headers", "v2")
            .host("rewrite.example")
            .sees_host("test.example.org"),
    ]);
}

/// Full paths are replaced by a regex that every path fits, prefixes by the route's own prefix.
#[test]
fn http_route_rewrite_path() {
    let full = |with: &str| format!("path: {{ regex: \"/.*\", with: {with} }}");
    let start = |prefix: &str, with: &str| format!("path: {{ prefix: {prefix}, with: {with} }}");
    let both = |rewrite: &str| {
        format!(
            "filters: [ {{ rewrite: {{ {rewrite} }} }}, {{ {MODIFIED} }} ],
             forward: {{ upstream: v1 }}"
        )
    };
    let (long, longer) =
        ("/full/rewrite-path-and-modify-headers", "/prefix/rewrite-path-and-modify-headers");
    let rules = Rules::default()
        .rule(&[prefix("/prefix/one")], &rewritten(&start("/prefix/one", "/one"), "v1"))
        .rule(&[prefix("/strip-prefix")], &rewritten(&start("/strip-prefix", "/"), "v1"))
        .rule(&[prefix("/full/one")], &rewritten(&full("/one"), "v1"))
        .rule(&[prefix(long)], &both(&full("/test")))
        .rule(&[prefix(longer)], &both(&start(longer, "/prefix")));
    Table::new(&rules.everywhere()).check(&[
        get("/prefix/one/two").by("v1").sees_target("/one/two"),
        get("/strip-prefix/three").by("v1").sees_target("/three"),
        get("/strip-prefix").by("v1").sees_target("/"),
        get("/full/one/two").by("v1").sees_target("/one"),
        modified("/full/rewrite-path-and-modify-headers/test", "v1")
            .with("x-header-set", "set-val")
            .sees_target("/test"),
        modified("/prefix/rewrite-path-and-modify-headers/one", "v1")
            .with("x-header-set", "set-val")
            .sees_target("/prefix/one"),
    ]);
}

/// Not in the tables: what a rewrite of the host must not show (Envoy's `host_rewrite_literal` keeps
/// it from the client likewise).
#[test]
fn a_rewritten_host_is_the_origins_and_everybody_else_sees_the_one_that_was_asked_for() {
    let shown = "{ headers: { request: { set: { x-asked: \"${host}\" } } } }";
    let hosts = format!(
        "  - name: all
    domains: [\"*\"]
    filters: [ {shown} ]
    routes:
      - {{ name: moved, match: {{ path: {{ prefix: /moved }} }}, redirect: {{ path: /new }} }}
      - {{ name: rest, forward: {{ upstream: v1 }} }}
"
    );
    let listener = "  - name: web
    address: 127.0.0.1:0
    h2c: true
    filters: [ { rewrite: { host: app.internal } } ]
  - name: behind
    address: 127.0.0.1:0
    h2c: true
    trusted_proxies: [127.0.0.0/8]
    filters: [ { rewrite: { host: app.internal } } ]
";
    let sent = |host| {
        get("/x")
            .host(host)
            .with("x-forwarded-host", "www.test")
            .by("v1")
            .sees_host("app.internal")
            .sees("x-asked", host)
    };
    Table::with_listeners(listener, &hosts).check(&[
        sent("shop.test").sees("x-forwarded-host", "shop.test"),
        sent("shop.test:8080").sees("x-forwarded-host", "shop.test:8080"),
        sent("shop.test").on("behind").sees("x-forwarded-host", "www.test"),
        get("/moved?a").host("shop.test:8080").redirects(302, "http://shop.test:8080/new?a"),
        get("/moved/x").host("shop.test").redirects(302, "http://shop.test/new"),
    ]);
}
