//! RFC 9112, 3.2 and 3.3: what a request is for.

use std::process::Command;

use crate::support::{Client, Gateway, Origin, Response, config, forward_all, get, request, tool};

#[test]
fn rfc9112_3_2_2_an_absolute_target_and_host_may_spell_one_authority_in_two_ways() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    for (target, host) in [
        ("http://A.test/", "a.test"),
        ("http://a.test:80/", "a.test"),
        ("http://a.test/", "A.TEST:80"),
        ("HTTP://a.test", "a.test"),
        ("https://a.test:443/", "a.test"),
        ("http://[2001:DB8::1]/", "[2001:db8:0::1]:80"),
    ] {
        let response = get(gateway.web(), host, target);
        assert_eq!(response.status, 200, "{target} {host}: {}", response.head);
        assert_eq!(origin.last().request_line(), "GET / HTTP/1.1", "{target}");
        assert_eq!(origin.last().fields("host"), [host], "{target}");
    }
    for (target, host) in [("http://a.test:8080/", "a.test"), ("https://a.test/", "a.test:80")] {
        assert_eq!(get(gateway.web(), host, target).status, 400, "{target} {host}");
    }
}

#[test]
fn rfc9112_3_2_http_1_0_may_name_no_host() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let response = request(gateway.web(), "GET / HTTP/1.0\r\n\r\n");
    assert_eq!(response.status, 200, "{}", response.head);
    // RFC 9112, 3.3: the address that was connected to stands for it.
    assert_eq!(origin.last().fields("host"), [gateway.web().to_string()]);
    let response = request(gateway.web(), "GET http://b.test/x HTTP/1.0\r\n\r\n");
    assert_eq!(response.status, 200, "{}", response.head);
    assert_eq!(origin.last().fields("host"), ["b.test"]);
    assert_eq!(request(gateway.web(), "GET / HTTP/1.1\r\n\r\n").status, 400);
}

#[test]
fn rfc9110_9_3_7_options_of_the_server_are_the_gateways_to_answer() {
    let origin = Origin::named("never");
    let yaml = forward_all(&[origin.address])
        .replace("address: 127.0.0.1:0 }\nadmin", "address: 127.0.0.1:0, h2c: true }\nadmin");
    let gateway = Gateway::start(&yaml);
    let mut client = Client::connect(gateway.web());
    for target in ["*", "http://a"] {
        client.send(format!("OPTIONS {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let response: Response = client.receive();
        assert_eq!((response.status, &*response.body), (200, ""), "{}", response.head);
        assert_eq!(response.field("content-length").as_deref(), Some("0"));
    }
    gateway.counts(
        "sallyport_route_requests_total{code_class=\"2xx\",route=\"none\",virtual_host=\"none\"}",
        2.0,
    );
    if tool("curl") {
        let output = Command::new("curl")
            .args(["-s", "--http2-prior-knowledge", "-X", "OPTIONS", "--request-target", "*"])
            .args(["-o", "/dev/null", "-w", "%{http_version} %{http_code}"])
            .arg(format!("http://{}/", gateway.web()))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "2 200");
    }
    assert!(origin.requests().is_empty());
}

#[test]
fn location_is_in_normal_form_with_filters_and_without() {
    for filters in ["", "    filters: [{ headers: { response: { set: { x-a: b } } } }]\n"] {
        let gateway = Gateway::start(&config(&format!(
            "virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n{filters}    routes:\n      \
             - {{ name: away, redirect: {{ host: b.test }} }}\n"
        )));
        let response = get(gateway.web(), "a.test", "/x/../%7euser/\u{e9}?q=\u{e9}");
        let location = response.field("location");
        assert_eq!(location.as_deref(), Some("http://b.test/~user/%C3%A9?q=%C3%A9"), "{filters}");
    }
}

#[test]
fn rfc9110_15_2_a_request_behind_an_interim_response_is_not_lost() {
    let origin = Origin::start(|request, stream| {
        let path = request.request_line().split(' ').nth(1).unwrap_or_default().to_owned();
        let head = format!(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}",
            path.len()
        );
        std::io::Write::write_all(stream, head.as_bytes()).is_ok()
    });
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let mut client = Client::connect(gateway.web());
    let post = "POST /1 HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    client.send(format!("{post}bodyGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!(client.receive().body, "/1");
    assert_eq!(client.receive().body, "/2");
}
