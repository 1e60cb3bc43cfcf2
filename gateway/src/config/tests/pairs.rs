//! Two independent mistakes are two messages, for every pair of kinds: no problem hides another.

use std::fs;

use serde_json::{Value, json};

use crate::filters::Filters;

/// A good configuration with one of everything that can be got wrong below.
fn good() -> Value {
    json!({
        "include": ["part.yaml"],
        "listeners": [
            { "name": "web", "address": "127.0.0.1:1", "virtual_hosts": ["shop"],
              "trusted_proxies": ["10.0.0.0/8"], "timeouts": { "idle": "5s" },
              "filters": [ { "headers": { "request": { "set": { "x-a": "b" } } } } ] },
            { "name": "other", "address": "127.0.0.1:2" },
        ],
        "admin": { "address": "127.0.0.1:3" },
        "limits": { "routes": 100, "request_header_bytes": "64KiB" },
        "classifier": { "pin_path": "/sys/fs/bpf/x", "upstream_headers": ["network"] },
        "verdicts": { "exempt": ["10.0.0.0/8"],
                      "rules": [ { "on": "4xx", "more_than": 1, "within": "1s", "for": "1s" } ] },
        "push": { "every": "1s", "exporters": [
            { "name": "a", "statsd": { "address": "h:1" } },
            { "name": "b", "statsd": { "address": "h:1" } },
        ] },
        "upstreams": [
            { "name": "one", "load_balancing": { "policy": "maglev", "table_size": 251 },
              "timeouts": { "connect": "1s" }, "health_check": { "path": "/" },
              "endpoints": [ { "address": "10.0.0.1:1", "weight": 1 }, { "address": "10.0.0.2:1" },
                             { "address": "10.0.0.3:1" } ] },
            { "name": "two", "endpoints": [ { "address": "10.0.0.1:1" } ] },
        ],
        "virtual_hosts": [
            { "name": "shop", "domains": ["a", "b", "c"], "filters": [ { "request_id": {} } ], "routes": [
                { "name": "r", "match": { "path": { "prefix": "/x" }, "methods": ["GET"],
                                          "headers": [ { "name": "a", "exact": "b" } ],
                                          "query": [ { "name": "a", "exact": "b" } ] },
                  "filters": [ { "ip_access": { "allow": ["10.0.0.0/8"] } } ],
                  "forward": { "split": [ { "upstream": "one", "weight": 1 },
                                          { "upstream": "two", "weight": 1 } ],
                               "timeout": "1s", "retries": 1 } },
                { "name": "s", "match": { "path": { "exact": "/s" } }, "redirect": { "path": "/z", "status": 301 } },
                { "name": "t", "respond": { "status": 200, "body": "b" } },
            ] },
            { "name": "else", "domains": ["d"], "routes": [] },
        ],
    })
}

/// What to change, to what, and what is then said. A pointer that ends in `+` adds a key.
type Mistake = (&'static str, Value, &'static str);

fn mistakes() -> Vec<Mistake> {
    let route = "/virtual_hosts/0/routes/0";
    let at = |rest: &str| -> &'static str { Box::leak(format!("{route}{rest}").into_boxed_str()) };
    vec![
        ("/unknown", json!(1), "unknown: unknown key"),
        ("/include/0", json!("gone.yaml"), "gone.yaml:1: does not exist"),
        ("/listeners/0/name", json!(""), "listeners[0].name: is empty"),
        ("/listeners/0/address", json!("x"), "listeners[0].address: \"x\""),
        ("/listeners/0/virtual_hosts/0", json!("gone"), "unknown virtual host \"gone\""),
        ("/listeners/0/trusted_proxies/0", json!("x"), "trusted_proxies[0]: \"x\""),
        ("/listeners/0/timeouts/idle", json!(5), "timeouts.idle: is 5"),
        ("/listeners/0/filters/0", json!({ "heders": {} }), "heders: unknown key"),
        ("/listeners/1/name", json!("web"), "listeners[1].name: duplicate listener \"web\""),
        ("/listeners/1/address", json!("127.0.0.1:3"), "listeners[1].address: duplicate address"),
        ("/admin/adress", json!(1), "admin.adress: unknown key"),
        ("/limits/routes", json!(0), "limits.routes: is 0"),
        ("/limits/request_header_bytes", json!(1), "request_header_bytes: is 1"),
        ("/classifier/pin_path", json!("x"), "classifier.pin_path: \"x\""),
        ("/classifier/upstream_headers/0", json!("x"), "upstream_headers[0]: \"x\""),
        ("/verdicts/exempt/0", json!("x"), "verdicts.exempt[0]: \"x\""),
        ("/verdicts/rules/0/on", json!("x"), "rules[0].on: \"x\""),
        ("/verdicts/rules/0/within", json!("x"), "rules[0].within: \"x\""),
        ("/push/every", json!("1ms"), "push.every: is 1ms"),
        ("/push/exporters/0/statsd/address", json!("x"), "exporters[0].statsd.address: \"x\""),
        ("/push/exporters/1/name", json!("a"), "has two exporters called \"a\""),
        ("/upstreams/0/name", json!(7), "upstreams[0].name: is 7"),
        ("/upstreams/0/load_balancing/policy", json!("x"), "policy: \"x\": is no policy"),
        ("/upstreams/0/load_balancing/table_size", json!(1), "table_size: is 1"),
        ("/upstreams/0/timeouts/connect", json!("x"), "timeouts.connect: \"x\""),
        ("/upstreams/0/health_check/path", json!("x"), "health_check.path: \"x\""),
        ("/upstreams/0/endpoints/0/weight", json!(0), "endpoints[0].weight: is 0"),
        ("/upstreams/0/endpoints/1/address", json!("x"), "endpoints[1].address: \"x\""),
        ("/upstreams/1/name", json!("one"), "duplicate upstream \"one\""),
        ("/virtual_hosts/0/name", json!(7), "virtual_hosts[0].name: is 7"),
        ("/virtual_hosts/0/domains/0", json!("a.*.b"), "domains[0]: \"a.*.b\""),
        ("/virtual_hosts/0/domains/2", json!("b"), "domains[2]: duplicate domain"),
        ("/virtual_hosts/0/filters/0", json!({ "cors": "off" }), "turns off \"cors\""),
        ("/virtual_hosts/1/domains/0", json!("b"), "virtual_hosts[1].domains[0]: duplicate domain"),
        (at("/name"), json!(7), "routes[0].name: is 7"),
        (at("/match/path/prefix"), json!("x"), "match.path.prefix: \"x\""),
        (at("/match/path"), json!({ "regex": "(" }), "match.path.regex: \"(\""),
        (at("/match/methods/0"), json!("get"), "methods[0]: \"get\""),
        (at("/match/headers/0/name"), json!("a b"), "headers[0].name: \"a b\""),
        (at("/match/query/0/exact"), json!(1), "query[0].exact: is 1"),
        (at("/filters/0/ip_access/allow/0"), json!("x"), "ip_access.allow[0]: \"x\""),
        (at("/forward/split/0/upstream"), json!("gone"), "split[0].upstream: unknown upstream"),
        (at("/forward/split/1/weight"), json!(-1), "split[1].weight: is -1"),
        (at("/forward/timeout"), json!("x"), "forward.timeout: \"x\""),
        (at("/forward/retries"), json!(99), "forward.retries: is 99"),
        (at("/redirect"), json!({ "path": "/" }), "has `forward`, `redirect` together"),
        ("/virtual_hosts/0/routes/1/name", json!("t"), "routes[2].name: duplicate route"),
        ("/virtual_hosts/0/routes/1/redirect/status", json!(300), "redirect.status: is 300"),
        ("/virtual_hosts/0/routes/1/redirect/path", json!("x"), "redirect.path: \"x\""),
        ("/virtual_hosts/0/routes/2/respond/status", json!(99), "respond.status: is 99"),
        ("/virtual_hosts/0/routes/2/respond/body", json!(1), "respond.body: is 1"),
    ]
}

fn put(config: &mut Value, pointer: &str, value: Value) {
    if let Some(found) = config.pointer_mut(pointer) {
        *found = value;
        return;
    }
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = config.pointer_mut(parent).unwrap();
    parent.as_object_mut().unwrap().insert(key.to_owned(), value);
}

/// Whether one of the two is about the other, so that they are one mistake.
fn depend(one: &str, other: &str) -> bool {
    let within =
        |outer: &str, inner: &str| inner == outer || inner.starts_with(&format!("{outer}/"));
    let pairs = [
        // A name that cannot be read is no duplicate, and none that is looked for.
        ("/upstreams/0/name", "/upstreams/1/name"),
        ("/listeners/0/name", "/listeners/1/name"),
        ("/push/exporters/0/name", "/push/exporters/1/name"),
        // A table's size says something of one policy alone.
        ("/upstreams/0/load_balancing/policy", "/upstreams/0/load_balancing/table_size"),
        // The first of two that are alike may be the one that was changed.
        ("/virtual_hosts/0/domains/2", "/virtual_hosts/1/domains/0"),
    ];
    let known = pairs.iter().any(|pair| *pair == (one, other) || *pair == (other, one));
    known || within(one, other) || within(other, one)
}

#[test]
fn two_independent_mistakes_are_two_messages_for_every_pair_of_kinds() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("part.yaml"), "upstreams: []\n").unwrap();
    let file = folder.path().join("main.yaml");
    let filters = Filters::idle(sallyport_plugin::Kinds::builtin());
    let said = |changes: &[&Mistake]| {
        let mut config = good();
        for (pointer, value, _) in changes {
            put(&mut config, pointer, value.clone());
        }
        // JSON is YAML, and a line of its own for each value is what an editor writes.
        fs::write(&file, serde_json::to_string_pretty(&config).unwrap()).unwrap();
        super::super::load(&file, &filters)
            .map_or_else(|problems| problems.to_string(), |loaded| loaded.warnings.to_string())
    };
    assert_eq!(said(&[]), "");
    let mistakes = mistakes();
    let mut hidden = Vec::new();
    for (index, one) in mistakes.iter().enumerate() {
        let alone = said(&[one]);
        assert!(alone.contains(one.2), "{}: {alone}\nlacks {}", one.0, one.2);
        for other in &mistakes[index + 1..] {
            if depend(one.0, other.0) {
                continue;
            }
            let both = said(&[one, other]);
            for mistake in [one, other] {
                if !both.contains(mistake.2) {
                    hidden.push(format!("{} beside {} and {}", mistake.2, one.0, other.0));
                }
            }
        }
    }
    assert!(hidden.is_empty(), "{} hidden:\n{}", hidden.len(), hidden.join("\n"));
}
