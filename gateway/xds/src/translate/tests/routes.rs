//! Matches, actions and header fields.

use super::{host, refused, with_routes};

/// The routes of the virtual host, without the keys around them.
fn routes(text: &str) -> String {
    let host = host(&with_routes(text));
    host.split_once("routes:\n").expect("it has routes").1.to_owned()
}

#[test]
fn prefixes_keep_their_meaning() {
    let found = routes(
        "- { name: a, match: { prefix: /a/ }, direct_response: { status: 200 } }
- { name: b, match: { prefix: /b }, direct_response: { status: 200 } }
- { name: c, match: { path_separated_prefix: /c }, direct_response: { status: 200 } }
- { name: d, match: { path: /D, case_sensitive: false }, direct_response: { status: 200 } }
- { name: e, match: { safe_regex: { regex: '/e/[0-9]+' } }, direct_response: { status: 200 } }
- { name: f, match: { prefix: / }, direct_response: { status: 204 } }",
    );
    for part in ["prefix: /a/", "regex: /b.*", "prefix: /c", "regex: (?i)/D", "regex: /e/[0-9]+"] {
        assert!(found.contains(part), "{part}: {found}");
    }
    assert!(found.ends_with("- name: f\n  respond:\n    status: 204\n"), "{found}");
}

#[test]
fn fields_parameters_and_cookies_match() {
    let found = routes(
        "- name: a
  match:
    prefix: /
    headers:
    - { name: ':method', string_match: { safe_regex: { regex: 'GET|HEAD' } } }
    - { name: x-a, string_match: { exact: one } }
    - { name: x-b, string_match: { suffix: '.b', ignore_case: true } }
    - { name: x-c, present_match: true, invert_match: true }
    query_parameters: [ { name: q, string_match: { prefix: v } }, { name: r, present_match: true } ]
    grpc: {}
    tls_context: { presented: true }
    runtime_fraction: { default_value: { numerator: 100 } }
  direct_response: { status: 200, body: { inline_string: yes } }",
    );
    assert_eq!(
        found,
        "- name: a
  match:
    methods:
    - GET
    - HEAD
    headers:
    - name: x-a
      exact: one
    - name: x-b
      regex: (?is).*\\.b
    - name: x-c
      present: false
    - name: content-type
      regex: application/grpc(?:\\+.*)?
    query:
    - name: q
      prefix: v
    - name: r
      present: true
    client_certificate:
      verified: true
  respond:
    status: 200
    body: yes
"
        .replace("body: yes", if found.contains("'yes'") { "body: 'yes'" } else { "body: yes" })
    );
}

#[test]
fn forwarding_says_what_envoy_would_do_by_default() {
    let found = routes("- { name: a, match: { prefix: / }, route: { cluster: api } }");
    assert_eq!(
        found,
        "- name: a\n  forward:\n    upstream: api\n    timeout: 15s\n    retries: 0\n"
    );
}

#[test]
fn retries_hedges_mirrors_and_shares() {
    let found = routes(
        "- name: a
  match: { prefix: / }
  route:
    timeout: 3s
    weighted_clusters: { clusters: [ { name: api, weight: 90 }, { name: next, weight: 10 } ] }
    retry_policy:
      retry_on: connect-failure,retriable-status-codes
      num_retries: 3
      retriable_status_codes: [503]
      per_try_timeout: 0.5s
      retry_back_off: { base_interval: 0.1s }
    request_mirror_policies:
    - { cluster: next, runtime_fraction: { default_value: { numerator: 5, denominator: HUNDRED } } }",
    );
    assert_eq!(
        found,
        "- name: a
  forward:
    split:
    - upstream: api
      weight: 90
    - upstream: next
      weight: 10
    timeout: 3s
    retry:
      attempts: 3
      on:
      - connect
      - 503
      methods:
      - POST
      - PATCH
      per_try_timeout: 500ms
      backoff:
        base: 100ms
    mirror:
      upstream: next
      percent: 5
"
    );
}

#[test]
fn rewrites_and_redirects() {
    let found = routes(
        "- { name: a, match: { prefix: /old }, route: { cluster: api, prefix_rewrite: /new$ } }
- { name: b, match: { path_separated_prefix: /x }, route: { cluster: api, prefix_rewrite: /y } }
- name: c
  match: { prefix: / }
  route:
    cluster: next
    auto_host_rewrite: true
    regex_rewrite: { pattern: { regex: '^/s/([^/]+)(/.*)$' }, substitution: '\\2/i/\\1' }
- { name: d, match: { prefix: /d }, redirect: { https_redirect: true, prefix_rewrite: /e } }
- { name: e, match: { path: /q }, redirect: { path_redirect: /z, strip_query: true, response_code: FOUND } }",
    );
    for part in [
        "regex: /old(?P<rest>.*)\n        with: /new$$${rest}",
        "prefix: /x\n        with: /y",
        "regex: ^/s/([^/]+)(/.*)$\n        with: ${2}/i/${1}",
        "host: next.internal",
        "regex: /d(?P<rest>.*)\n  redirect:\n    status: 301\n    scheme: https\n    path: /e${rest}",
        "status: 302\n    path: /z?",
    ] {
        assert!(found.contains(part), "{part}\n{found}");
    }
}

#[test]
fn header_fields_of_all_levels_come_to_one_change() {
    let text = with_routes(
        "- name: a
  match: { prefix: / }
  route: { cluster: api }
  request_headers_to_remove: [x-gone]
  request_headers_to_add:
  - { header: { key: X-Who, value: '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% $' } }
  - { header: { key: x-set, value: route }, append_action: OVERWRITE_IF_EXISTS_OR_ADD }",
    )
    .replace(
        "            name: local\n",
        "            name: local
            request_headers_to_add:
            - { header: { key: x-set, value: all }, append_action: OVERWRITE_IF_EXISTS_OR_ADD }\n",
    );
    let found = host(&text);
    assert_eq!(
        found,
        "name: local/app
domains:
- '*'
filters:
- headers:
    request:
      set:
        x-set: all
routes:
- name: a
  filters:
  - headers:
      request:
        remove:
        - x-gone
        set:
          x-set: all
        add:
          x-who: ${client} $$
  forward:
    upstream: api
    timeout: 15s
    retries: 0
"
    );
    let text = text.replace(
        "            name: local\n",
        "            name: local\n            most_specific_header_mutations_wins: true\n",
    );
    assert!(host(&text).contains("x-set: route"));
}

#[test]
fn what_cannot_be_said_is_refused_with_its_place() {
    for (route, part) in [
        (
            "{ cluster: api, rate_limits: [ { actions: [ { remote_address: {} } ] } ] }",
            "rate_limits",
        ),
        ("{ cluster: gone }", "names Cluster \"gone\""),
        ("{ cluster: api, retry_policy: { retry_on: cancelled } }", "retry_on has cancelled"),
        ("{ cluster: api, retry_policy: { retry_on: 5xx, num_retries: 99 } }", "num_retries is 99"),
        ("{ cluster: api, internal_redirect_policy: {} }", "internal_redirect_policy"),
        ("{ cluster: api, upgrade_configs: [ { upgrade_type: CONNECT } ] }", "upgrade_configs[0]"),
        (
            "{ cluster: api, regex_rewrite: { pattern: { regex: one }, substitution: two } }",
            "replaces every match",
        ),
        ("{ cluster: api, auto_host_rewrite: true }", "do not share one host name"),
    ] {
        let found = refused(&with_routes(&format!("- match: {{ prefix: / }}\n  route: {route}")));
        assert!(found.iter().any(|one| one.contains(part)), "{part}: {found:?}");
    }
    let half = "- match: { prefix: /, runtime_fraction: { default_value: { numerator: 50 } } }
  direct_response: { status: 200 }";
    assert!(refused(&with_routes(half))[0].contains("takes 50 %"));
    let regex = "- match: { safe_regex: { regex: '[' } }\n  direct_response: { status: 200 }";
    assert!(refused(&with_routes(regex))[0].contains("is no regular expression"));
}
