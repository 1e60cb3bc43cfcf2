//! Open connections that are passed on stay: over reloads, and to the deadline of an end.

use std::time::{Duration, Instant};

use super::{echo, file, hello, origin_of, passed, upstream};
use crate::support::{Client, Gateway, eventually};

fn with_names(names: &str, addresses: [&str; 2], rest: &str) -> String {
    let tls = format!("{{ passthrough: [{names}] }}");
    let upstreams = [upstream("a", &addresses[..1], ""), upstream("b", &addresses[1..], "")];
    file(&tls, &upstreams, rest)
}

#[test]
fn names_come_and_go_and_open_connections_stay() {
    let (a, b) = (echo("a").to_string(), echo("b").to_string());
    let addresses = [&*a, &*b];
    let both = "{ sni: [a.example], upstream: a }, { sni: [b.example], upstream: b }";
    let gateway = Gateway::start(&with_names("{ sni: [a.example], upstream: a }", addresses, ""));
    let web = gateway.web();
    let sent = hello("a.example");
    let (mut client, _) = passed(web, &sent, 1 + sent.len());
    let is_refused = |name: &str| {
        let mut client = Client::connect(web);
        client.send(hello(name));
        assert_eq!(client.read_to_end(), super::UNRECOGNIZED_NAME, "{name}");
    };
    is_refused("b.example");
    gateway.replace(&with_names(both, addresses, ""));
    assert_eq!(origin_of(web, "b.example"), "b");
    // The name that the connection came by leads elsewhere, and then nowhere.
    gateway.replace(&with_names("{ sni: [a.example], upstream: b }", addresses, ""));
    assert_eq!(origin_of(web, "a.example"), "b");
    assert_eq!(client.send("one").read_exact(3), b"one");
    gateway.replace(&with_names("{ sni: [b.example], upstream: b }", addresses, ""));
    is_refused("a.example");
    assert_eq!(client.send("two").read_exact(3), b"two");
    // Its counts are there for as long as it is.
    let active = r#"sallyport_passthrough_connections_active{listener="web",upstream="a"}"#;
    gateway.counts(active, 1.0);
    drop(client);
    eventually("its counts to leave", || gateway.metric(active).is_none().then_some(()));
}

#[test]
fn an_end_waits_for_them_until_its_deadline() {
    let (a, b) = (echo("a").to_string(), echo("b").to_string());
    let names = "{ sni: [a.example], upstream: a }, { sni: [b.example], upstream: b }";
    let yaml = |deadline: &str| {
        with_names(names, [&a, &b], &format!("shutdown: {{ deadline: {deadline} }}\n"))
    };
    let sent = hello("a.example");
    // One that ends before the deadline ends the process.
    let mut gateway = Gateway::start(&yaml("60s"));
    let (mut client, _) = passed(gateway.web(), &sent, 1 + sent.len());
    gateway.signal("-TERM");
    gateway.logged("ending");
    assert_eq!(client.send("on").read_exact(2), b"on");
    drop(client);
    assert!(gateway.wait().success());
    // One that does not is cut off with it.
    let mut gateway = Gateway::start(&yaml("1s"));
    let (mut client, _) = passed(gateway.web(), &sent, 1 + sent.len());
    let told = Instant::now();
    gateway.signal("-TERM");
    assert!(client.read_to_end().is_empty());
    assert!(told.elapsed() > Duration::from_millis(900), "{:?}", told.elapsed());
    assert!(gateway.wait().success());
    assert!(gateway.logged("ended").contains("cut_off=1"));
}
