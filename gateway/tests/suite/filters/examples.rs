//! `plugins/src/builtin/FILTER/` and `plugins/src/wasm/`: `example.yaml` is served, `cases.yaml` is sent through it, and
//! `bad.yaml` is refused. What the files may say is told by the reading of them here.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_yaml::Value;

use crate::support::{Gateway, Origin, Received, Response, config, request, sallyport};

/// Where the route's own upstream is in every example.
const MAIN: &str = "127.0.0.1:9000";

fn folders() -> Vec<PathBuf> {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/src");
    let builtin = fs::read_dir(plugins.join("builtin")).unwrap();
    let mut folders: Vec<PathBuf> = builtin.map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.is_dir());
    folders.push(plugins.join("wasm"));
    folders.sort();
    folders
}

fn yaml(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

fn copy_beside(folder: &Path, to: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

#[test]
fn every_documented_example_does_what_its_cases_say() {
    let folders = folders();
    assert!(folders.len() >= 15, "{folders:?}");
    let mut cases = 0;
    for folder in folders {
        cases += Example::start(&folder).run(&folder);
    }
    assert!(cases >= 50, "only {cases} cases");
}

#[test]
fn every_bad_configuration_is_refused_with_its_reason() {
    for folder in folders() {
        let Value::Sequence(bad) = yaml(&folder.join("bad.yaml")) else { panic!("{folder:?}") };
        assert!(!bad.is_empty(), "{folder:?}");
        for entry in bad {
            let says = entry["says"].as_str().unwrap();
            let filter = serde_json::to_string(&entry["filter"]).unwrap();
            let beside = tempfile::tempdir().unwrap();
            copy_beside(&folder, beside.path());
            let file = beside.path().join("test.yaml");
            let route = format!(
                "virtual_hosts:\n  - name: a\n    domains: [a]\n    routes:\n      - {{ name: r, \
                 filters: [{filter}], respond: {{ status: 200 }} }}\n"
            );
            fs::write(&file, config(&route)).unwrap();
            let output = sallyport().arg("check").arg(&file).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(78), "{filter}\n{said}");
            assert!(said.contains(says), "{filter}\n{said}\nlacks {says}");
            assert!(said.contains("routes[0].filters[0]"), "{filter}\n{said}");
        }
    }
}

/// What an origin is to answer.
type Script = Arc<Mutex<Value>>;

struct Example {
    gateway: Gateway,
    origins: BTreeMap<String, (Origin, Script)>,
}

impl Example {
    fn start(folder: &Path) -> Self {
        let mut text = fs::read_to_string(folder.join("example.yaml")).unwrap();
        let mut origins = BTreeMap::new();
        let address = regex::Regex::new(r"127\.0\.0\.1:9\d\d\d").unwrap();
        let named: Vec<String> =
            address.find_iter(&text).map(|found| found.as_str().to_owned()).collect();
        for name in named {
            if !origins.contains_key(&name) {
                origins.insert(name.clone(), scripted(&name));
            }
        }
        for (name, (origin, _)) in &origins {
            text = text.replace(name, &origin.address.to_string());
        }
        let beside = tempfile::tempdir().unwrap();
        copy_beside(folder, beside.path());
        let file = beside.path().join("example.yaml");
        fs::write(&file, text.replace("127.0.0.1:8080", "127.0.0.1:0")).unwrap();
        Self { gateway: Gateway::start_in(beside, file), origins }
    }

    fn run(&self, folder: &Path) -> usize {
        let cases = yaml(&folder.join("cases.yaml"));
        let cases = cases.as_sequence().unwrap();
        for case in cases {
            let what = format!("{}: {}", folder.display(), case["what"].as_str().unwrap());
            known(case, &["what", "request", "times", "origins", "upstream", "response"], &what);
            self.case(case, &what);
        }
        cases.len()
    }

    fn case(&self, case: &Value, what: &str) {
        for (name, (origin, script)) in &self.origins {
            origin.received.lock().unwrap().clear();
            *script.lock().unwrap() = case["origins"][name.as_str()].clone();
        }
        let times = case["times"].as_u64().unwrap_or(1);
        let mut last = None;
        for _ in 0..times {
            last = Some(send(self.gateway.web(), &case["request"]));
        }
        check_response(&last.unwrap(), &case["response"], what);
        if let Some(upstream) = case.get("upstream") {
            self.check_upstream(upstream, what);
        }
    }

    fn check_upstream(&self, expected: &Value, what: &str) {
        let address = expected["address"].as_str().unwrap_or(MAIN);
        let requests = self.origins[address].0.requests();
        if expected.is_null() {
            assert!(requests.is_empty(), "{what}: the origin got {requests:?}");
            return;
        }
        known(expected, &["address", "method", "path", "headers", "body"], what);
        let got = requests.last().unwrap_or_else(|| panic!("{what}: nothing came to {address}"));
        let mut line = got.request_line().split(' ');
        for part in ["method", "path"] {
            let found = line.next().unwrap();
            if let Some(part) = expected[part].as_str() {
                assert_eq!(found, part, "{what}");
            }
        }
        check_fields(|name| joined(got, name), &expected["headers"], what);
        if let Some(body) = expected["body"].as_str() {
            assert_eq!(String::from_utf8_lossy(&got.body), body, "{what}");
        }
    }
}

fn joined(got: &Received, name: &str) -> Option<String> {
    let values = got.fields(name);
    (!values.is_empty()).then(|| values.join(", "))
}

/// An origin that answers as its script says, by default with 200 and its name.
fn scripted(name: &str) -> (Origin, Script) {
    let port = name.rsplit(':').next().unwrap().to_owned();
    let script = Script::default();
    let current = script.clone();
    let origin = Origin::start(move |_, stream| {
        let script = current.lock().unwrap().clone();
        let status = script["status"].as_u64().unwrap_or(200);
        let body = script["body"].as_str().map_or_else(|| format!("origin {port}"), str::to_owned);
        let mut head = format!("HTTP/1.1 {status} Status\r\nX-Origin: {port}\r\n");
        for (name, value) in pairs(&script["headers"]) {
            head += &format!("{name}: {}\r\n", value.as_str().unwrap());
        }
        if status != 204 && status != 304 {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        std::io::Write::write_all(stream, format!("{head}\r\n{body}").as_bytes()).is_ok()
    });
    (origin, script)
}

fn pairs(mapping: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let pairs = mapping.as_mapping().into_iter().flatten();
    pairs.map(|(name, value)| (name.as_str().unwrap(), value))
}

fn known(mapping: &Value, keys: &[&str], what: &str) {
    for (key, _) in pairs(mapping) {
        assert!(keys.contains(&key), "{what}: {key:?} means nothing here");
    }
}

fn send(address: SocketAddr, case: &Value) -> Response {
    known(case, &["method", "path", "host", "headers", "body"], "request");
    let text = |key: &str, default: &'static str| case[key].as_str().unwrap_or(default).to_owned();
    let (method, path, body) = (text("method", "GET"), text("path", "/"), text("body", ""));
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", text("host", "example.com"));
    for (name, value) in pairs(&case["headers"]) {
        head += &format!("{name}: {}\r\n", value.as_str().unwrap());
    }
    if case.get("body").is_some() {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    let text = format!("{head}Connection: close\r\n\r\n{body}");
    if method == "HEAD" {
        return crate::support::Client::connect(address).send(text).try_receive(true).unwrap();
    }
    request(address, &text)
}

fn check_response(got: &Response, expected: &Value, what: &str) {
    known(expected, &["status", "headers", "body"], what);
    if let Some(status) = expected["status"].as_u64() {
        assert_eq!(u64::from(got.status), status, "{what}: {got:?}");
    }
    let field = |name: &str| {
        let values = got.fields(name);
        (!values.is_empty()).then(|| values.join(", "))
    };
    check_fields(field, &expected["headers"], what);
    if let Some(body) = expected["body"].as_str() {
        assert_eq!(got.body, body, "{what}");
    }
}

fn check_fields(found: impl Fn(&str) -> Option<String>, expected: &Value, what: &str) {
    for (name, value) in pairs(expected) {
        let found = found(name);
        match value {
            Value::Null => assert_eq!(found, None, "{what}: {name}"),
            Value::String(any) if any == "*" => assert!(found.is_some(), "{what}: no {name}"),
            Value::String(value) => assert_eq!(found.as_ref(), Some(value), "{what}: {name}"),
            other => panic!("{what}: {name} is {other:?}; put it in quotes"),
        }
    }
}
