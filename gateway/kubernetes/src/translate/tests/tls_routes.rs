//! TLSRoutes become names that are passed on.

use super::*;

/// A Gateway with listeners of TLS that pass on, one for each hostname.
fn passing(hostnames: &[Option<&str>]) -> Value {
    let listeners = hostnames.iter().enumerate().map(|(index, hostname)| {
        let mut listener = json!({
            "name": format!("tls-{index}"), "port": 443, "protocol": "TLS",
            "tls": { "mode": "Passthrough" },
        });
        if let Some(hostname) = hostname {
            listener["hostname"] = (*hostname).into();
        }
        listener
    });
    gateway("edge", listeners.collect())
}

fn route(name: &str, hostnames: Value, backends: Value) -> Value {
    let spec = json!({
        "parentRefs": [{ "name": "edge" }], "hostnames": hostnames,
        "rules": [{ "backendRefs": backends }],
    });
    object("TLSRoute", "shop", name, spec)
}

fn to(name: &str) -> Value {
    json!([{ "name": name, "port": 80 }])
}

/// Names, and the upstreams that they lead to with their shares.
type PassedOn = (Vec<String>, Vec<(String, u64)>);

fn passed_on(translation: &Translation) -> Vec<PassedOn> {
    let listeners = translation.fragment.listeners.iter();
    let tls = listeners.map(|it| it.tls.as_ref().expect("TLS"));
    let entries = tls.flat_map(|tls| tls.passthrough.iter().flatten());
    let told = entries.map(|entry| {
        let one = entry.upstream.iter().map(|name| (name.to_string(), 1));
        let several = entry.split.iter().flatten();
        let several = several.map(|target| (target.upstream.to_string(), target.weight.0));
        (entry.sni.iter().map(ToString::to_string).collect(), one.chain(several).collect())
    });
    told.collect()
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn hostnames_meet_wildcards_are_deep_and_backends_have_their_shares() {
    let weighted = json!([
        { "name": "api", "port": 80, "weight": 3 }, { "name": "missing", "port": 80, "weight": 1 }
    ]);
    let translation = translated(&[
        class(),
        service("api"),
        passing(&[Some("*.a.test"), Some("b.test")]),
        route("one", json!(["x.a.test", "*.y.a.test", "elsewhere.test"]), to("api")),
        route("two", json!(["b.test"]), weighted),
        route("none", json!(["elsewhere.test"]), to("api")),
    ]);
    let api = || "kubernetes/shop/api:80/passthrough".to_owned();
    assert_eq!(
        passed_on(&translation),
        [
            (names(&["**.y.a.test", "x.a.test"]), vec![(api(), 1)]),
            (names(&["b.test"]), vec![(api(), 3), ("kubernetes/nowhere".to_owned(), 1)]),
        ]
    );
    let listener = &translation.fragment.listeners[0];
    assert!(listener.virtual_hosts.is_none() && listener.protocols.is_none());
    assert!(translation.fragment.virtual_hosts.is_empty());
    let of = |name: &str, kind: &str| {
        reason(&translation, StatusOf::TlsRoute, name, "/parents/0/conditions", kind)
    };
    assert_eq!(of("one", "Accepted"), "Accepted");
    assert_eq!(of("one", "ResolvedRefs"), "ResolvedRefs");
    assert_eq!(of("two", "ResolvedRefs"), "BackendNotFound");
    assert_eq!(of("none", "Accepted"), "NoMatchingListenerHostname");
    let statuses = translation.statuses.iter();
    let edge = statuses.clone().find(|it| it.of == StatusOf::Gateway).unwrap();
    let listeners = &edge.wanted["listeners"];
    assert_eq!(listeners[0]["attachedRoutes"], 1);
    assert_eq!(listeners[0]["supportedKinds"][0]["kind"], "TLSRoute");
    assert_eq!(listeners[0]["supportedKinds"].as_array().unwrap().len(), 1);
}

#[test]
fn what_two_routes_want_is_the_older_ones_in_whichever_version_it_is() {
    let mut older = route("zz", json!(["a.test"]), to("old"));
    older["kind"] = "AlphaTLSRoute".into();
    let mut twice = route("new", json!(["ignored.test"]), to("old"));
    twice["kind"] = "AlphaTLSRoute".into();
    let translation = translated(&[
        class(),
        service("old"),
        service("new"),
        passing(&[None]),
        made(older, "2026-01-01T00:00:00Z"),
        made(route("new", json!(["a.test", "b.test"]), to("new")), "2026-02-01T00:00:00Z"),
        // The same in the version before.
        made(twice, "2026-02-01T00:00:00Z"),
    ]);
    let upstream = |name: &str| vec![(format!("kubernetes/shop/{name}:80/passthrough"), 1)];
    assert_eq!(
        passed_on(&translation),
        [(names(&["a.test"]), upstream("old")), (names(&["b.test"]), upstream("new"))]
    );
    let problems: Vec<_> = translation.problems.iter().map(ToString::to_string).collect();
    assert!(problems[0].contains("a.test is passed on by TLSRoute shop/zz"), "{problems:?}");
    let of = translation.statuses.iter().map(|it| it.of);
    let alpha: Vec<_> = of.filter(|of| *of == StatusOf::TlsAlphaRoute).collect();
    assert_eq!(alpha.len(), 1);
}

#[test]
fn listeners_that_cannot_pass_on_say_so() {
    let listener = |name: &str, more: Value| {
        let mut listener = json!({ "name": name, "port": 443, "protocol": "TLS" });
        for (key, value) in more.as_object().unwrap() {
            listener[key] = value.clone();
        }
        listener
    };
    let listeners = json!([
        listener("terminates", json!({ "hostname": "a.test", "tls": { "mode": "Terminate" } })),
        listener(
            "kinds",
            json!({ "hostname": "b.test", "tls": { "mode": "Passthrough" },
            "allowedRoutes": { "kinds": [{ "kind": "HTTPRoute" }] } })
        ),
        listener("clear", json!({ "protocol": "HTTP" })),
        listener("good", json!({ "hostname": "d.test", "tls": { "mode": "Passthrough" } })),
    ]);
    let translation = translated(&[class(), gateway("edge", listeners)]);
    let of = |index: usize, kind: &str| {
        let path = format!("/listeners/{index}/conditions");
        reason(&translation, StatusOf::Gateway, "edge", &path, kind)
    };
    assert_eq!(of(0, "Accepted"), "UnsupportedProtocol");
    assert_eq!(of(1, "ResolvedRefs"), "InvalidRouteKinds");
    assert_eq!(of(2, "Conflicted"), "ProtocolConflict");
    assert_eq!(of(3, "Accepted"), "Accepted");
    // Without a route there is nobody to answer, and no listener.
    assert!(translation.fragment.listeners.is_empty());
}

#[test]
fn a_port_may_pass_on_some_names_and_terminate_others() {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": { "namespace": "shop", "name": "site" },
        "data": { "tls.crt": "", "tls.key": "" },
    });
    let listeners = json!([
        { "name": "https", "port": 443, "protocol": "HTTPS", "hostname": "www.a.test",
          "tls": { "certificateRefs": [{ "name": "site" }] } },
        { "name": "tls", "port": 443, "protocol": "TLS", "hostname": "*.a.test",
          "tls": { "mode": "Passthrough" } },
    ]);
    let translation = translated(&[
        class(),
        service("api"),
        secret,
        gateway("edge", listeners),
        route("any", json!(["*.a.test"]), to("api")),
    ]);
    // The Secret is no certificate, so that nothing is terminated; what is passed on is none the less.
    let of = |path: &str, kind: &str| reason(&translation, StatusOf::Gateway, "edge", path, kind);
    assert_eq!(of("/listeners/0/conditions", "ResolvedRefs"), "InvalidCertificateRef");
    assert_eq!(of("/listeners/1/conditions", "Conflicted"), "NoConflicts");
    assert_eq!(passed_on(&translation)[0].0, names(&["**.a.test"]));
}
