//! `:authority`, `Host` and the other pseudo-fields of a request (RFC 9113, 8.3.1).

use super::client::{END_HEADERS, END_STREAM, Frames, HEADERS, PROTOCOL_ERROR, section, with_h2c};
use crate::support::{Gateway, Origin, forward_all};

/// The status of a request of these fields, on a connection of its own.
fn status(gateway: &Gateway, fields: &[(&str, &str)]) -> u16 {
    let mut client = Frames::connect(gateway.web());
    client.send(HEADERS, END_STREAM | END_HEADERS, 1, &section(fields));
    client.status()
}

fn request<'f>(scheme: &'f str, hosts: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
    let mut fields = vec![(":method", "GET"), (":scheme", scheme), (":path", "/")];
    fields.extend(hosts);
    fields
}

#[test]
fn rfc9113_8_3_1_host_may_say_what_authority_says_in_other_words() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&with_h2c(&forward_all(&[origin.address]), ""));
    for (scheme, hosts, sent) in [
        ("http", &[(":authority", "a.test")][..], "a.test"),
        ("http", &[("host", "a.test")], "a.test"),
        ("http", &[(":authority", "a.test"), ("host", "a.test")], "a.test"),
        ("http", &[(":authority", "a.test"), ("host", "A.test")], "a.test"),
        ("http", &[(":authority", "A.TEST"), ("host", "a.test")], "A.TEST"),
        ("http", &[(":authority", "a.test"), ("host", "a.test:80")], "a.test"),
        ("http", &[(":authority", "a.test:80"), ("host", "a.test")], "a.test:80"),
        ("https", &[(":authority", "a.test"), ("host", "a.test:443")], "a.test"),
        ("http", &[(":authority", "a.test:8080"), ("host", "a.test:8080")], "a.test:8080"),
        ("http", &[(":authority", "[::1]:80"), ("host", "[::1]")], "[::1]:80"),
    ] {
        assert_eq!(status(&gateway, &request(scheme, hosts)), 200, "{scheme} {hosts:?}");
        assert_eq!(origin.last().fields("host"), [sent], "{scheme} {hosts:?}");
    }
}

#[test]
fn rfc9113_8_3_1_a_request_is_for_one_host() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&with_h2c(&forward_all(&[origin.address]), ""));
    for (scheme, hosts) in [
        ("http", &[(":authority", "a.test"), ("host", "b.test")][..]),
        ("http", &[(":authority", "a.test"), ("host", "a.test:8080")]),
        ("http", &[(":authority", "a.test"), ("host", "a.test:443")]),
        ("https", &[(":authority", "a.test"), ("host", "a.test:80")]),
        ("http", &[(":authority", "a.test"), ("host", "a.test"), ("host", "a.test")]),
        ("http", &[(":authority", "a.test"), ("host", "")]),
        ("http", &[("host", "a.test"), ("host", "b.test")]),
        ("http", &[("host", "u@a.test")]),
        ("http", &[(":authority", "u@a.test")]),
        ("http", &[]),
    ] {
        assert_eq!(status(&gateway, &request(scheme, hosts)), 400, "{scheme} {hosts:?}");
    }
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn a_refused_head_is_answered_counted_and_says_why() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&with_h2c(&forward_all(&[origin.address]), ""));
    for (count, path) in [(1.0, "*"), (2.0, "/%00")] {
        let fields =
            [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "a.test")];
        assert_eq!(status(&gateway, &fields), 400, "{path}");
        let sample = "sallyport_route_requests_total{virtual_host=\"none\",route=\"none\",code_class=\"4xx\"}";
        gateway.counts(sample, count);
    }
    // What is no path at all, the h2 crate refuses.
    for path in ["", "a", "http://a.test/"] {
        let fields =
            [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "a.test")];
        let mut client = Frames::connect(gateway.web());
        client.send(HEADERS, END_STREAM | END_HEADERS, 1, &section(&fields));
        assert_eq!(client.reset(1), Some(PROTOCOL_ERROR), "{path}");
    }
    assert_eq!(origin.requests().len(), 0);
    let mut asterisk = request("http", &[(":authority", "a.test")]);
    (asterisk[0].1, asterisk[2].1) = ("OPTIONS", "*");
    assert_eq!(status(&gateway, &asterisk), 200);
}

#[test]
fn connect_is_refused_by_name() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&with_h2c(&forward_all(&[origin.address]), ""));
    assert_eq!(status(&gateway, &[(":method", "CONNECT"), (":authority", "a.test:443")]), 501);
    assert_eq!(origin.requests().len(), 0);
}
