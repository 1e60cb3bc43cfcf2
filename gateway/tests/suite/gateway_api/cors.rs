//! `HTTPRouteCORS` and `HTTPRouteCORSAllowCredentialsBehavior`.

use super::table::{Case, Rules, Table, get, prefix, send};

fn cors(cors: &str) -> String {
    format!("filters: [ {{ cors: {{ {cors} }} }} ], forward: {{ upstream: v1 }}")
}

/// A preflight for a request with this method.
fn preflight(path: &'static str, origin: &'static str, method: &'static str) -> Case {
    send("OPTIONS", path)
        .with("origin", origin)
        .with("access-control-request-method", method)
        .statuses(&[200, 204])
}

#[test]
fn http_route_cors() {
    let rules = Rules::default()
        .rule(
            &[prefix("/cors-1")],
            &cors(
                r#"origins: ["https://www.foo.com", { regex: "https://.+[.]bar[.]com" }],
                   methods: [GET, OPTIONS], headers: [x-header-1, x-header-2],
                   expose: [x-header-3, x-header-4], credentials: true, max_age: 3600s"#,
            ),
        )
        .rule(&[prefix("/cors-2")], &cors(r#"origins: ["https://www.foo.com"], methods: ["*"]"#))
        .rule(
            &[prefix("/cors-wildcard-origin")],
            &cors(r#"origins: ["*"], methods: [PUT], credentials: false"#),
        )
        // `*` with credentials has to be spelled out.
        .rule(
            &[prefix("/cors-wildcard-methods-headers")],
            &cors(
                r#"origins: [{ regex: ".*" }], methods: [PUT],
                   headers: [x-header-1, x-header-2], credentials: true"#,
            ),
        )
        .rule(
            &[prefix("/cors-wildcard-methods-headers-unauth")],
            &cors(r#"origins: ["*"], methods: ["*"], headers: ["*"], credentials: false"#),
        );
    let allowed = |origin: &'static str| {
        preflight("/cors-1", origin, "GET")
            .with("access-control-request-headers", "x-header-1, x-header-2")
            .answers("access-control-allow-origin", &[origin])
            .answers("access-control-allow-methods", &["GET, OPTIONS", "OPTIONS, GET"])
            .answers(
                "access-control-allow-headers",
                &["x-header-1, x-header-2", "x-header-2, x-header-1"],
            )
            .answers("access-control-max-age", &["3600"])
            .answers("access-control-allow-credentials", &["true"])
    };
    let simple = |origin: &'static str| get("/cors-1").with("origin", origin).by("v1");
    let exposed = &["x-header-3, x-header-4", "x-header-4, x-header-3"];
    let authorised = |path| {
        preflight(path, "https://other.foo.com", "PUT")
            .with("access-control-request-headers", "x-header-1, x-header-2")
    };
    let with_cookie =
        |path| get(path).with("origin", "https://other.foo.com").with("cookie", "foo=bar").by("v1");
    Table::new(&rules.everywhere()).check(&[
        allowed("https://www.foo.com"),
        allowed("https://www.bar.com"),
        allowed("https://xpto.www.bar.com"),
        preflight("/cors-1", "https://foobar.com", "GET")
            .statuses(&[200, 204, 403])
            .answers_no("access-control-allow-origin"),
        simple("https://www.foo.com")
            .answers("access-control-allow-origin", &["https://www.foo.com"])
            // The tables look for it on preflights, where it means nothing.
            .answers("access-control-expose-headers", exposed),
        simple("https://www.bar.com")
            .answers("access-control-allow-origin", &["https://www.bar.com"])
            .answers("access-control-expose-headers", exposed),
        simple("https://foobar.com").answers_no("access-control-allow-origin"),
        preflight("/cors-2", "https://www.foo.com", "POST")
            .answers("access-control-allow-methods", &["POST", "*"])
            .answers("access-control-allow-origin", &["https://www.foo.com"])
            .answers_no("access-control-allow-credentials"),
        preflight("/cors-wildcard-origin", "https://foobar.com", "PUT")
            .answers("access-control-allow-origin", &["https://foobar.com", "*"])
            .answers("access-control-allow-methods", &["PUT"])
            .answers_no("access-control-allow-credentials"),
        preflight("/cors-wildcard-origin", "https://foobar.com:12345", "PUT")
            .answers("access-control-allow-origin", &["https://foobar.com:12345", "*"])
            .answers("access-control-allow-methods", &["PUT"])
            .answers_no("access-control-allow-credentials"),
        send("PUT", "/cors-wildcard-origin")
            .with("origin", "https://foobar.com:12345")
            .by("v1")
            .answers("access-control-allow-origin", &["https://foobar.com:12345", "*"]),
        send("PUT", "/cors-wildcard-origin")
            .with("origin", "https://foobar.com")
            .by("v1")
            .answers("access-control-allow-origin", &["https://foobar.com", "*"])
            .answers_no("access-control-allow-credentials"),
        authorised("/cors-wildcard-methods-headers")
            .answers("access-control-allow-origin", &["https://other.foo.com"])
            .answers("access-control-allow-methods", &["PUT"])
            .answers(
                "access-control-allow-headers",
                &["x-header-1, x-header-2", "x-header-2, x-header-1"],
            )
            .answers("access-control-allow-credentials", &["true"]),
        authorised("/cors-wildcard-methods-headers-unauth")
            .answers("access-control-allow-origin", &["https://other.foo.com", "*"])
            .answers("access-control-allow-methods", &["PUT", "*"])
            .answers(
                "access-control-allow-headers",
                &["x-header-1, x-header-2", "x-header-2, x-header-1", "*"],
            )
            .answers_no("access-control-allow-credentials"),
        with_cookie("/cors-wildcard-methods-headers")
            .answers("access-control-allow-origin", &["https://other.foo.com"])
            .answers("access-control-allow-credentials", &["true"]),
        // The table asks for the origin itself; `*` says the same to a request without credentials.
        with_cookie("/cors-wildcard-methods-headers-unauth")
            .answers("access-control-allow-origin", &["https://other.foo.com", "*"])
            .answers_no("access-control-allow-credentials"),
    ]);
}

#[test]
fn http_route_cors_allow_credentials_behavior() {
    let rule = |credentials| {
        cors(&format!(r#"origins: ["https://app.example"], credentials: {credentials}"#))
    };
    let rules = Rules::default()
        .rule(&[prefix("/cors-behavior-creds-false")], &rule(false))
        .rule(&[prefix("/cors-behavior-creds-true")], &rule(true));
    let sent = |path, origin| {
        get(path)
            .with("origin", origin)
            .with("cookie", "sid=abc123")
            .with("authorization", "Bearer test")
            .by("v1")
    };
    Table::new(&rules.everywhere()).check(&[
        sent("/cors-behavior-creds-false", "https://app.example")
            .answers_no("access-control-allow-credentials"),
        sent("/cors-behavior-creds-true", "http://not-app.example")
            .answers_no("access-control-allow-credentials"),
        sent("/cors-behavior-creds-true", "https://app.example")
            .answers("access-control-allow-credentials", &["true"])
            .answers("access-control-allow-origin", &["https://app.example"]),
    ]);
}
