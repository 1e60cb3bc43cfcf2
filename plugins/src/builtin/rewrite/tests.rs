use http::Version;

use super::KIND;
use crate::chain::Step;
use crate::testing::Tried;

/// Where a request for `path` goes, or the status that it is answered with.
fn sent(tried: &mut Tried, path: &str) -> String {
    tried.again();
    tried.request.uri = path.parse().unwrap();
    match tried.request() {
        Step::Answer(answer) => answer.status.as_str().to_owned(),
        _ => tried.request.uri.to_string(),
    }
}

#[test]
fn prefixes_end_at_segments() {
    for (prefix, with, path, expected) in [
        ("/old", "/new", "/old", "/new"),
        ("/old", "/new", "/old/", "/new/"),
        ("/old/", "/new/", "/old/x?y=/old", "/new/x?y=/old"),
        ("/old", "/new", "/older", "/older"),
        ("/old", "/new", "/x/old", "/x/old"),
        ("/old", "/", "/old/x", "/x"),
        ("/old", "/", "/old", "/"),
        ("/old", "/", "/old?a", "/?a"),
        ("/", "/new", "/", "/new/"),
        ("/", "/new", "/x", "/new/x"),
        ("/", "/", "/x", "/x"),
    ] {
        let yaml = format!("{{ path: {{ prefix: {prefix}, with: {with} }} }}");
        let mut tried = Tried::new(&KIND, &yaml);
        assert_eq!(sent(&mut tried, path), expected, "{yaml} {path}");
    }
}

#[test]
fn what_the_client_asked_for_is_kept() {
    let mut tried = Tried::new(&KIND, "{ path: { prefix: /old, with: /new } }");
    sent(&mut tried, "/old/x?y");
    assert_eq!(tried.run.marks.client_path.as_deref(), Some("/old/x?y"));
}

#[test]
fn a_regex_fits_the_whole_path() {
    let mut tried = Tried::new(&KIND, r#"{ path: { regex: "/a|/b/(.*)", with: "/x$1$$" } }"#);
    assert_eq!(sent(&mut tried, "/a"), "/x$");
    assert_eq!(sent(&mut tried, "/ab"), "/ab");
    assert_eq!(sent(&mut tried, "/b/c?d"), "/xc$?d");
}

#[test]
fn results_that_cannot_be_sent_are_answered() {
    let mut tried = Tried::new(&KIND, r#"{ path: { regex: "/(.*)x", with: "/$1/$1$1" } }"#);
    assert_eq!(sent(&mut tried, "/.x"), "400");
    let long = "a".repeat(30_000);
    assert_eq!(sent(&mut tried, &format!("/{long}x")), "414");
}

#[test]
fn the_host_is_changed_where_the_request_has_it() {
    let mut tried = Tried::new(&KIND, "{ host: 'app.internal:81' }");
    tried.header("host", "example.com");
    tried.request();
    assert_eq!(tried.request.headers["host"], "app.internal:81");
    assert_eq!(tried.request.uri, "/");
    tried.again();
    tried.request.version = Version::HTTP_2;
    tried.request.uri = "https://example.com/x?y".parse().unwrap();
    tried.request();
    assert_eq!(tried.request.uri, "https://app.internal:81/x?y");
    assert_eq!(tried.request.headers["host"], "app.internal:81");
}
