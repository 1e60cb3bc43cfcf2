use std::fs;
use std::path::Path;

use crate::spec::Spec;
use crate::tree::{Node, Place, Sink};

/// The problems of `yaml`, one a line.
fn told(yaml: &str) -> Vec<String> {
    let mut sink = Sink::new();
    let _ = super::text::<Spec>(0, yaml, &mut sink);
    sink.iter().map(|found| format!("{}: {}, {}", found.place, found.what, found.fix)).collect()
}

/// Good files: those that are shipped, and every whole one of the documentation.
fn good() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let shipped = ["conf/quickstart.yaml", "conf/sallyport.yaml"];
    let mut good = shipped.map(|path| read(&root.join(path))).to_vec();
    for document in fs::read_dir(root.join("docs")).unwrap() {
        let path = document.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let document = read(&path);
        let examples = document.split("```yaml\n").skip(1);
        let examples = examples.map(|example| example.split("```").next().unwrap().to_owned());
        // Others are parts, or the classifier's.
        let is_whole = |text: &str| text.lines().any(|line| line.starts_with("listeners:"));
        // What references stand for is not here.
        let is_here = |text: &str| !crate::references::may_be_in(text);
        good.extend(examples.filter(|text| is_whole(text) && is_here(text)));
    }
    assert!(good.len() > 5, "{}", good.len());
    good
}

#[test]
fn the_short_way_and_the_long_one_read_the_same() {
    for yaml in good() {
        let mut sink = Sink::new();
        let short = super::text::<Spec>(0, &yaml, &mut sink).unwrap();
        let tree = crate::parse(0, &yaml, &mut sink).unwrap();
        let node = Node { value: &tree, place: Place::File(0) };
        let long = super::node::<Spec>(node, &mut sink).unwrap();
        assert!(sink.is_empty(), "{sink:#?}");
        assert_eq!(format!("{:?}", short.value), format!("{:?}", long.value));
        // And what is read can be written.
        let written = serde_json::to_string(&serde_json::to_value(&short.value).unwrap()).unwrap();
        assert!(written.contains("\"listeners\""), "{written}");
    }
}

#[test]
fn what_yaml_readers_forgive_is_refused() {
    const WEB: &str = "listeners: [{ name: web, address: \"127.0.0.1:0\" }]\n";
    for (rest, expected) in [
        ("limits:", "limits: is empty, write a mapping of keys and values"),
        ("admin: { address: }", "admin.address: is empty, write a string"),
        ("upstreams: ~", "upstreams: is empty, write a list"),
        ("upstreams: [{ name: 5, endpoints: [] }]", "upstreams[0].name: is 5, not a string"),
        ("limits: { routes: \"5\" }", "limits.routes: is \"5\", write 5 without quotes"),
        ("limits: { routes: 0 }", "limits.routes: is 0, write a whole number from 1 to"),
        ("limits: []", "limits: is a list, write a mapping of keys and values"),
        ("push: { exporters: [], every: 10ms }", "push.every: is 10ms, write 100ms or more"),
        ("limits: { routes: 1, routes: 2 }", "limits.routes: is a duplicate key"),
        ("limits: !x { routes: 1 }", "limits: is tagged !x"),
        (
            "upstreams: [{ name: a, endpoints: [], load_balancing: { policy: fast } }]",
            "load_balancing.policy: \"fast\": is no policy, write round_robin, least_request",
        ),
    ] {
        let told = told(&format!("{WEB}{rest}\n"));
        assert!(told.len() == 1 && told[0].contains(expected), "{rest}: {told:#?}");
    }
}

#[test]
fn everything_is_told_at_once_and_the_rest_can_be_judged() {
    let yaml = "listeners: [{ name: web, adress: 127.0.0.1:80 }]
upstreams:
  - { name: a, endpoints: [{ address: x, weight: 0 }, { address: 10.0.0.1:1 }] }
  - { name: b, endpoints: 5, load_balancing: { policy: maglev, hash_on: { header: a, cookie: b } } }
virtual_hosts:
  - name: h
    domains: [a]
    routes:
      - { name: r, match: { path: { prefixx: /a } }, respond: { status: 99, headers: { a: 1 } } }
      - { name: s, match: { path: {} }, redirect: { status: 300 }, 5: 6 }
";
    let mut sink = Sink::new();
    let decoded = super::text::<Spec>(0, yaml, &mut sink).unwrap();
    let told = told(yaml).join("\n");
    for expected in [
        "listeners[0].adress: unknown key `adress`, did you mean `address`?",
        "listeners[0]: has no `address`, add `address:`",
        "upstreams[0].endpoints[0].address: \"x\": has no port",
        "upstreams[0].endpoints[0].weight: is 0, write a whole number from 1 to 65535",
        "upstreams[1].endpoints: is 5, write a list",
        "upstreams[1].load_balancing.hash_on: has `header`, `cookie` together, write exactly one",
        "routes[0].match.path.prefixx: unknown key `prefixx`, did you mean `prefix`?",
        "routes[0].respond.status: is 99, write a whole number from 200 to 599",
        "routes[0].respond.headers.a: is 1, not a string, put it in quotes: \"1\"",
        "routes[1].match.path: has none of `exact`, `prefix`, `regex`, write exactly one of them",
        "routes[1].redirect.status: is 300, write 301, 302, 303, 307 or 308",
        "routes[1]: has the key 5, keys are strings: put it in quotes",
    ] {
        assert!(told.contains(expected), "{told}\nlacks {expected}");
    }
    assert_eq!(told.lines().count(), 12, "{told}");
    assert_eq!(decoded.value.upstreams[0].endpoints.as_ref().map(Vec::len), Some(2));
    assert!(decoded.replaced.holds("upstreams[0].endpoints[0].address"));
    assert!(!decoded.replaced.holds("upstreams[0].endpoints[1].address"));
    let file = Place::File(0);
    assert!(decoded.replaced.within(&Place::Key(&file, "upstreams")));
    assert!(decoded.replaced.holds("upstreams[1].endpoints[7].address"));
}

#[test]
fn a_choice_is_told_with_what_one_could_paste() {
    let told = told(
        "listeners: [{ name: web, address: \"127.0.0.1:0\" }]
upstreams:
  - { name: a, endpoints: [], load_balancing: { policy: maglev, hash_on: client } }
  - { name: a, endpoints: [], load_balancing: { policy: maglev, hash_on: { hint: screens } } }
",
    );
    assert_eq!(
        told,
        [
            "upstreams[0].load_balancing.hash_on: \"client\": is nothing to hash on, write source_ip, \
             path, { header: x-user }, { cookie: web }, { query: web }, { hint: network } or \
             { client_certificate: subject }",
            "upstreams[1].load_balancing.hash_on.hint: \"screens\": is no hint that is the same for all \
             connections of a client, write network, zone, protocol or ja4",
        ]
    );
}
