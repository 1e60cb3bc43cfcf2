//! Redirects whose target is made of what was asked for.

use crate::support::{Client, Gateway, Response, check, config, sallyport};

fn hosts(domains: &str, redirect: &str) -> String {
    config(&format!(
        "virtual_hosts:\n  - name: www\n    domains: {domains}\n    \
         routes: [ {{ name: apex, redirect: {redirect} }} ]\n"
    ))
}

fn ask(gateway: &Gateway, host: &str, target: &str) -> Response {
    let mut client = Client::connect(gateway.web());
    client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
    client.receive()
}

#[test]
fn one_rule_sends_every_www_to_the_name_without_it() {
    let yaml = hosts("[\"www.*\"]", "{ status: 301, host: \"${wildcard}\" }");
    let gateway = Gateway::start(&yaml);
    for (host, location) in [
        ("www.example.com", "http://example.com/a?b=c"),
        ("WWW.Shop.Example.CO.UK", "http://shop.example.co.uk/a?b=c"),
        ("www.example.com:8080", "http://example.com:8080/a?b=c"),
        ("www.www.example.com", "http://www.example.com/a?b=c"),
        ("www.example.com.", "http://example.com/a?b=c"),
    ] {
        let answer = ask(&gateway, host, "/a?b=c");
        assert_eq!(answer.status, 301, "{host}");
        assert_eq!(answer.field("location").as_deref(), Some(location), "{host}");
    }
    for other in ["example.com", "wwwx.example.com", "www"] {
        assert_eq!(ask(&gateway, other, "/").status, 404, "{other}");
    }
    // `explain` says the same.
    let explain = ["explain", gateway.config.to_str().unwrap(), "--host", "www.a.test"];
    let output = sallyport().args(explain).args(["--path", "/x"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("http://a.test/x"), "{said}");
}

#[test]
fn a_wildcard_in_front_becomes_part_of_host_or_path() {
    let yaml = hosts(
        "[\"*.old.test\", \"*.older.test\"]",
        "{ host: \"${wildcard}.new.test\", path: \"/was/${wildcard}\" }",
    );
    let gateway = Gateway::start(&yaml);
    for (host, location) in [
        ("a.old.test", "http://a.new.test/was/a"),
        ("a.b.older.test", "http://a.b.new.test/was/a.b"),
    ] {
        assert_eq!(ask(&gateway, host, "/").field("location").as_deref(), Some(location));
    }
}

#[test]
fn a_domain_without_a_wildcard_has_none_to_name() {
    let output = check(&hosts("[\"www.*\", example.com]", "{ host: \"${wildcard}\" }"));
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(text.contains("example.com has none"), "{text}");
    assert!(text.contains("virtual host of its own"), "{text}");
}

#[test]
fn variables_of_the_request_are_part_of_host_path_and_query() {
    let yaml = hosts(
        "[\"*\"]",
        "{ host: \"${header.x-tenant}.${host}\", path: \"/in/${method}?from=${client_path}&who=${header.x-who}\" }",
    );
    let gateway = Gateway::start(&yaml);
    let to = |tenant: &str, who: &str| {
        let mut client = Client::connect(gateway.web());
        client.send(format!(
            "GET /a%20b HTTP/1.1\r\nHost: shop.test:81\r\nX-Tenant: {tenant}\r\nX-Who: {who}\r\n\r\n"
        ));
        let answer = client.receive();
        (answer.status, answer.field("location"))
    };
    let is = |location: &str| (302, Some(location.to_owned()));
    assert_eq!(to("a", "x"), is("http://a.shop.test:81/in/GET?from=/a%20b&who=x"));
    // What the client chooses is a name in a host, and one value in a query.
    let encoded = "a%26b%3Dc%23d%2F%25%20%3F";
    assert_eq!(
        to("A-1", "a&b=c#d/% ?"),
        is(&format!("http://a-1.shop.test:81/in/GET?from=/a%20b&who={encoded}"))
    );
    for tenant in ["evil.test/", "u@evil.test", "evil.test:80", "evil.test?", "[::1]", "a..b"] {
        assert_eq!(to(tenant, "x"), (400, None), "{tenant}");
    }
    let explain = ["explain", gateway.config.to_str().unwrap(), "--host", "a.test", "--path", "/"];
    let output = sallyport().args(explain).args(["--header", "x-tenant: b"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("http://b.a.test/in/GET?from=/&who="), "{said}");
}

#[test]
fn a_group_goes_before_a_variable_of_its_name() {
    let yaml = hosts("[\"*\"]", "{ host: \"${host}.new.test\", path: / }")
        .replace("name: apex,", "name: apex, match: { path: { regex: \"/(?P<host>[a-z]+)\" } },");
    let gateway = Gateway::start(&yaml);
    assert_eq!(
        ask(&gateway, "a.test", "/b").field("location").as_deref(),
        Some("http://b.new.test/")
    );
}

#[test]
fn what_is_no_variable_is_refused_with_what_there_is() {
    for (redirect, told) in [
        ("{ host: \"${hots}\" }", "such as ${host} or ${header.x-user}"),
        ("{ path: \"/${status}\" }", "such as ${host} or ${header.x-user}"),
        ("{ path: \"/${upstream}\" }", "names \"upstream\", and a redirect has none"),
        ("{ path: \"/${header.}\" }", "such as ${host} or ${header.x-user}"),
        ("{ path: \"/$host\" }", "write ${host}"),
    ] {
        let output = check(&hosts("[a.test]", redirect));
        assert_eq!(output.status.code(), Some(78), "{redirect}");
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(text.contains(told), "{redirect}: {text}");
    }
}
