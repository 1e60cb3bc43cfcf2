//! `sallyport schema` says of a file what `check` says of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use jsonschema::Validator;
use serde_json::Value;

use super::messages::MESSAGES;
use super::{MISTAKES, file, root, text};
use crate::support::{check, sallyport};

/// What a schema cannot say, by what `check` says of it: names that must be known or must differ, sums,
/// and what only its own reader can judge.
const BEYOND: &[&str] = &[
    "duplicate address",
    "duplicate upstream",
    "duplicate virtual host",
    "duplicate domain",
    "two exporters called",
    "unknown upstream",
    "over the limit of",
    "raise `limits.",
    "\"399-200\": is no range",
    "prime",
    "names the group",
    "there is no group",
    "match.path.regex: \"(\"",
    "write at least one of them with a path",
    "turns off \"headers\"",
    "is no screen",
    "redirect.path_prefix",
    "whose name ends in `-bin`",
    "is \"none\" in a virtual host",
    "the route matches no",
    "has no braces",
    "write ${header.x-forwarded-for}",
    "which no path is matched with",
    "a bucket would take",
];

/// More that both refuse: a mistake of each kind, in the sections that others say little of.
const BROKEN: &[&str] = &[
    "limits: { domains: 0 }",
    "limits: { upstreams: x }",
    "limits: { unknown: 1 }",
    "limits: []",
    "admin: { address: here }",
    "verdicts: []",
    "verdicts: { ipv6_prefix: 129, rules: [] }",
    "classifier: { required: 1 }",
    "upstreams: {}",
    "upstreams:\n  - { name: \"\", endpoints: [ { address: 10.0.0.1:1 } ] }",
    "virtual_hosts: 5",
    "virtual_hosts:\n  - { name: a, domains: [a] }",
    "include: a.yaml",
];

fn printed() -> Value {
    let output = sallyport().arg("schema").output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn schema() -> Validator {
    jsonschema::validator_for(&printed()).unwrap()
}

/// The YAML as JSON; `None` if it is no YAML, which any editor tells.
fn json(yaml: &str) -> Option<Value> {
    let mut problems = Vec::new();
    let value = sallyport_config::parse(0, yaml, &mut problems).filter(|_| problems.is_empty())?;
    serde_json::to_value(&value).ok()
}

fn told(schema: &Validator, yaml: &str) -> String {
    let Some(json) = json(yaml) else { return "no YAML".to_owned() };
    let errors = schema.iter_errors(&json);
    errors.map(|error| format!("{}: {error}\n", error.instance_path())).collect()
}

#[test]
fn what_is_shipped_and_documented_is_good_by_the_schema() {
    let schema = schema();
    let mut files = Vec::new();
    let mut add = |path: &Path| files.push(fs::read_to_string(path).unwrap());
    add(&root().join("conf/quickstart.yaml"));
    add(&root().join("conf/sallyport.yaml"));
    add(&root().join("conf/container.yaml"));
    for kind in fs::read_dir(root().join("plugins/src/builtin")).unwrap() {
        let example = kind.unwrap().path().join("example.yaml");
        if example.is_file() {
            add(&example);
        }
    }
    add(&root().join("plugins/src/wasm/example.yaml"));
    for document in ["README.md", "docs/bandwidth.md", "docs/configuration.md"] {
        let document = fs::read_to_string(root().join(document)).unwrap();
        let examples = document.split("```yaml\n").skip(1);
        files.extend(examples.map(|example| example.split("```").next().unwrap().to_owned()));
    }
    assert!(files.len() > 18, "{}", files.len());
    for file in files {
        // An example of a filter has a place for an address that a test fills in.
        let filled = file.replace("ORIGIN", "127.0.0.1:1").replace("ISSUER", "127.0.0.1:1");
        assert_eq!(told(&schema, &filled), "", "{filled}");
    }
}

#[test]
fn what_check_refuses_the_schema_refuses_as_well() {
    let schema = schema();
    let mistakes = MISTAKES.iter().map(|(snippet, _, expected)| (*snippet, *expected));
    let messages = MESSAGES.iter().map(|(snippet, _, parts)| (*snippet, parts[0]));
    let (mut alike, mut differing) = (0, Vec::new());
    for (snippet, expected) in mistakes.chain(messages) {
        match told(&schema, &file(snippet)) {
            told if !told.is_empty() => alike += 1,
            _ if BEYOND.iter().any(|part| expected.contains(part)) => {}
            _ => differing.push(format!("{snippet}: {expected}")),
        }
    }
    for snippet in BROKEN {
        assert_eq!(check(&file(snippet)).status.code(), Some(78), "{snippet}");
        assert_ne!(told(&schema, &file(snippet)), "", "{snippet}");
        alike += 1;
    }
    assert!(differing.is_empty(), "{} pass:\n{}", differing.len(), differing.join("\n"));
    assert!(alike >= 100, "{alike}");
}

/// What is refused of a filter and passes its schema: it depends on a file, on several keys, or on a
/// grammar of its own.
const BEYOND_FILTERS: usize = 80;

#[test]
fn what_is_refused_of_filters_is_refused_by_the_schema() {
    let schema = schema();
    let (mut alike, mut beyond) = (0, Vec::new());
    for kind in fs::read_dir(root().join("plugins/src/builtin")).unwrap() {
        let bad = kind.unwrap().path().join("bad.yaml");
        let Ok(yaml) = fs::read_to_string(&bad) else { continue };
        let entries: Vec<serde_yaml::Value> = serde_yaml::from_str(&yaml).unwrap();
        for entry in entries {
            let filter = serde_json::to_string(&entry["filter"]).unwrap();
            let route =
                format!("ROUTE: {{ name: r, filters: [{filter}], respond: {{ status: 200 }} }}");
            match told(&schema, &file(&route)) {
                told if !told.is_empty() => alike += 1,
                _ => beyond.push(format!("{filter}: {:?}", entry["says"])),
            }
        }
    }
    assert!(alike > beyond.len(), "{alike} alike\n{}", beyond.join("\n"));
    assert!(beyond.len() <= BEYOND_FILTERS, "{}:\n{}", beyond.len(), beyond.join("\n"));
}

/// Every key that `schema` declares anywhere.
fn keys(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(entries) => {
            if let Some(Value::Object(properties)) = entries.get("properties") {
                found.extend(properties.keys().cloned());
            }
            // Conditions name keys that are declared elsewhere.
            let conditions = ["if", "then", "not", "contains"];
            let entries = entries.iter().filter(|(key, _)| !conditions.contains(&&***key));
            entries.for_each(|(_, inner)| keys(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
        _ => {}
    }
}

/// The code of `document`: what stands between backticks.
fn code(document: &str) -> Vec<&str> {
    document.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_key_is_documented_and_every_documented_path_is_one_of_keys() {
    let mut known = BTreeSet::new();
    keys(&printed(), &mut known);
    let folder = |path: &str| fs::read_dir(root().join(path)).unwrap().map(|it| it.unwrap().path());
    let readmes = folder("plugins/src/builtin").map(|filter| filter.join("README.md"));
    let others = ["README.md", "plugins/src/wasm/README.md"].map(|file| root().join(file));
    let pages = folder("docs").chain(readmes).chain(others);
    let pages = pages.filter(|page| page.extension().is_some_and(|ending| ending == "md"));
    let pages: Vec<_> = pages.filter_map(|page| fs::read_to_string(page).ok()).collect();
    let is_of_word = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
    let spans = pages.iter().flat_map(|page| code(page));
    let words: BTreeSet<&str> =
        spans.flat_map(|span| span.split(|letter| !is_of_word(letter))).collect();
    let undocumented: Vec<_> = known.iter().filter(|key| !words.contains(&***key)).collect();
    assert!(undocumented.is_empty(), "in no page: {undocumented:?}");

    // The other pages name keys of the classifier's file, and properties, as well.
    for page in ["configuration.md", "resilience.md", "tls.md"] {
        let text = fs::read_to_string(root().join("docs").join(page)).unwrap();
        for span in code(&text).into_iter().filter(|span| !span.contains(['$', '\n', '/'])) {
            let path = span.split([' ', ':', ',']).next().unwrap_or("").replace("[]", "");
            let segments: Vec<_> = path.split('.').collect();
            let are_words = segments.iter().all(|segment| {
                !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            });
            if segments.len() > 1 && are_words && known.contains(segments[0]) {
                let unknown = segments.iter().find(|segment| !known.contains(**segment));
                assert!(unknown.is_none(), "{page}: `{span}` has no key {unknown:?}");
            }
        }
    }
}
