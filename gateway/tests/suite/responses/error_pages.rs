//! `error_pages`: what clients read in place of the gateway's own errors, and of those only.

use std::fs;
use std::path::Path;

use super::{answering, dead_address};
use crate::support::{Client, Gateway, Origin, check, config, eventually, get};

/// A gateway with a page for all, one for a host, and routes that fail in different ways.
fn start(folder: &Path, origin: &Origin) -> Gateway {
    fs::write(folder.join("502.html"), "<h1>of all</h1>").unwrap();
    fs::write(folder.join("502.json"), "{\"of\":\"shop\"}").unwrap();
    fs::write(folder.join("404.txt"), "nothing here\n").unwrap();
    fs::write(folder.join("429.html"), "<p>slow down</p>").unwrap();
    let page = |name: &str| folder.join(name).display().to_string();
    let (dead, live) = (dead_address(), origin.address);
    Gateway::start(&config(&format!(
        "error_pages: {{ 404: {}, 429: {}, 502: {} }}\n\
         upstreams:\n\
         - {{ name: dead, endpoints: [{{ address: \"{dead}\" }}] }}\n\
         - {{ name: live, endpoints: [{{ address: \"{live}\" }}] }}\n\
         virtual_hosts:\n\
         - name: shop\n  \
           domains: [shop.example.com]\n  \
           error_pages: {{ \"502\": {} }}\n  \
           routes:\n  \
           - {{ name: dead, match: {{ path: {{ exact: /dead }} }}, forward: {{ upstream: dead }} }}\n\
         - name: rest\n  \
           domains: [\"*\"]\n  \
           routes:\n  \
           - {{ name: dead, match: {{ path: {{ exact: /dead }} }}, forward: {{ upstream: dead }} }}\n  \
           - {{ name: live, match: {{ path: {{ exact: /live }} }}, forward: {{ upstream: live }} }}\n  \
           - {{ name: own, match: {{ path: {{ exact: /own }} }}, respond: {{ status: 404, body: own }} }}\n  \
           - name: limited\n    \
             match: {{ path: {{ exact: /limited }} }}\n    \
             filters: [{{ rate_limit: {{ key: route, requests: 1, per: 1h }} }}]\n    \
             respond: {{ status: 200, body: ok }}\n",
        page("404.txt"),
        page("429.html"),
        page("502.html"),
        page("502.json"),
    )))
}

#[test]
fn a_page_stands_in_for_the_gateways_own_errors_and_for_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let origin = answering("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 10\r\n\r\nthe origin");
    let gateway = start(folder.path(), &origin);
    let ask = |host: &str, path: &str| get(gateway.web(), host, path);

    let failed = ask("other.example.com", "/dead");
    assert_eq!((failed.status, &*failed.body), (502, "<h1>of all</h1>"));
    assert_eq!(failed.field("content-type").as_deref(), Some("text/html; charset=utf-8"));
    assert_eq!(failed.field("x-sallyport-error").as_deref(), Some("connect"));
    assert_eq!(failed.field("cache-control").as_deref(), Some("no-store"));

    let of_host = ask("shop.example.com", "/dead");
    assert_eq!((of_host.status, &*of_host.body), (502, "{\"of\":\"shop\"}"));
    assert_eq!(of_host.field("content-type").as_deref(), Some("application/json"));

    // What the host has no page for falls back, also where no route matched.
    assert_eq!(ask("shop.example.com", "/none").body, "nothing here\n");

    // Errors that somebody else words stay theirs.
    assert_eq!(ask("a", "/live").body, "the origin");
    assert_eq!(ask("a", "/own").body, "own");

    // A filter's refusal is the gateway's own.
    assert_eq!(ask("a", "/limited").body, "ok");
    let refused = ask("a", "/limited");
    assert_eq!((refused.status, &*refused.body), (429, "<p>slow down</p>"));

    let mut client = Client::connect(gateway.web());
    client.send("HEAD /dead HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.try_receive(true).unwrap();
    assert_eq!(head.field("content-length").as_deref(), Some("15"));
}

#[test]
fn an_edited_page_is_in_force_without_an_edit_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let origin = Origin::start(|_, _| false);
    let gateway = start(folder.path(), &origin);
    assert_eq!(get(gateway.web(), "a", "/dead").body, "<h1>of all</h1>");
    fs::write(folder.path().join("502.html"), "<h1>edited</h1>").unwrap();
    eventually("the edited page", || {
        (get(gateway.web(), "a", "/dead").body == "<h1>edited</h1>").then_some(())
    });
}

#[test]
fn a_page_that_cannot_be_shown_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let bare = folder.path().join("page");
    fs::write(&bare, "x").unwrap();
    for (line, expected) in [
        ("error_pages: { 200: a.html }".to_owned(), "\"200\" is no status of an error"),
        ("error_pages: { oops: a.html }".to_owned(), "\"oops\" is no status of an error"),
        ("error_pages: { 502: missing.html }".to_owned(), "cannot be read"),
        (format!("error_pages: {{ 502: {} }}", bare.display()), "media type"),
        ("error_pages: [502]".to_owned(), "write a mapping"),
    ] {
        let output = check(&config(&format!("{line}\n")));
        let said = String::from_utf8_lossy(&output.stderr);
        let told = "test.yaml:4: error_pages";
        assert!(said.contains(told) && said.contains(expected), "{line}: {said}");
        assert_eq!(output.status.code(), Some(78));
    }
}
