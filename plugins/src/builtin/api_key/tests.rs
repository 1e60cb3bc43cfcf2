use std::io::Write;

use http::HeaderValue;
use tempfile::NamedTempFile;

use super::KIND;
use crate::chain::Step;
use crate::testing::Tried;

/// The SHA-256 of `secret`.
const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

/// A filter with the key `secret` of `alice`, and `rest` in its configuration.
fn tried(rest: &str) -> (Tried, NamedTempFile) {
    let mut file = NamedTempFile::new().unwrap();
    writeln!(file, "alice:{SECRET}").unwrap();
    let yaml = format!("{{ file: {:?}{rest} }}", file.path());
    (Tried::new(&KIND, &yaml), file)
}

fn is_refused(tried: &mut Tried) -> bool {
    match tried.request() {
        Step::Answer(answer) => {
            assert_eq!((answer.status.as_u16(), answer.reason), (401, "api_key"));
            true
        }
        _ => false,
    }
}

#[test]
fn a_key_lets_in_under_its_name() {
    let (mut tried, _file) = tried("");
    tried.header("x-api-key", "secret");
    tried.header("x-consumer", "root");
    tried.request.headers.append("x-consumer", HeaderValue::from_static("root"));
    assert!(!is_refused(&mut tried));
    let consumers: Vec<_> = tried.request.headers.get_all("x-consumer").iter().collect();
    assert_eq!(consumers, ["alice"]);
    assert!(!tried.request.headers.contains_key("x-api-key"));
}

#[test]
fn one_key_is_needed() {
    let (mut tried, _file) = tried("");
    tried.header("x-consumer", "alice");
    assert!(is_refused(&mut tried));
    assert!(!tried.request.headers.contains_key("x-consumer"));
    for key in ["", "Secret", SECRET, "s".repeat(257).as_str()] {
        tried.again();
        tried.header("x-api-key", key);
        assert!(is_refused(&mut tried), "{key}");
    }
    tried.again();
    tried.header("x-api-key", "secret");
    tried.request.headers.append("x-api-key", HeaderValue::from_static("other"));
    assert!(is_refused(&mut tried));
}

#[test]
fn a_key_in_the_query_is_taken_out_everywhere() {
    let (mut tried, _file) = tried(", query: key");
    tried.request.uri = "/a?b&key=secret&c=%20".parse().unwrap();
    assert!(!is_refused(&mut tried));
    assert_eq!(tried.request.uri, "/a?b&c=%20");
    assert_eq!(tried.run.marks.client_path.as_deref(), Some("/a?b&c=%20"));
    for query in ["", "?key", "?key=other", "?key=secret&key=secret"] {
        tried.again();
        tried.request.uri = format!("/a{query}").parse().unwrap();
        assert!(is_refused(&mut tried), "{query}");
    }
}

#[test]
fn a_key_can_pass_and_be_counted() {
    let (mut tried, _file) = tried(", pass: true, label: true, consumer_header: x-who");
    tried.header("x-api-key", "secret");
    assert!(!is_refused(&mut tried));
    assert_eq!(tried.request.headers["x-api-key"], "secret");
    assert_eq!(tried.request.headers["x-who"], "alice");
    let labels: Vec<_> =
        tried.run.marks.labels.iter().map(|(label, value)| (*label, &**value)).collect();
    assert_eq!(labels, [("consumer", "alice")]);
}
