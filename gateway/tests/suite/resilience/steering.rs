//! Clients that stay where they were, copies of requests, and routes by cookie.

use std::io::Write;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::attempts::nobody;
use crate::support::{
    Client, Gateway, Origin, Response, check, config, eventually, forward_all, request,
};

/// A secret in a file beside the configurations of a test.
struct SecretFile(tempfile::NamedTempFile);

impl SecretFile {
    fn new(secret: &str) -> Self {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(secret.as_bytes()).unwrap();
        Self(file)
    }

    fn path(&self) -> String {
        self.0.path().display().to_string()
    }
}

const SECRET: &str = "0123456789abcdef0123456789abcdef\n";

fn sticking(endpoints: &[SocketAddr], secret: &SecretFile) -> String {
    let keys = format!("sticky: {{ cookie: WHERE, ttl: 1h, secret_file: {} }}", secret.path());
    forward_all(endpoints).replace("  - name: up\n", &format!("  - name: up\n    {keys}\n"))
}

fn ask(web: SocketAddr, cookie: Option<&str>) -> Response {
    let cookie = cookie.map(|it| format!("Cookie: a=b; {it}; c=d\r\n")).unwrap_or_default();
    request(web, &format!("GET / HTTP/1.1\r\nHost: a\r\n{cookie}Connection: close\r\n\r\n"))
}

/// `NAME=VALUE` of the cookie that is set.
fn cookie(response: &Response) -> Option<String> {
    let set = response.field("set-cookie")?;
    Some(set.split(';').next().unwrap().to_owned())
}

#[test]
fn a_client_stays_at_its_endpoint_across_reloads_and_gateways_that_share_the_secret() {
    let origins = ["a", "b", "c"].map(Origin::named);
    let addresses = origins.each_ref().map(|origin| origin.address);
    let secret = SecretFile::new(SECRET);
    let gateway = Gateway::start(&sticking(&addresses, &secret));
    let first = ask(gateway.web(), None);
    let set = first.field("set-cookie").unwrap();
    for attribute in ["; Path=/", "; HttpOnly", "; SameSite=Lax", "; Max-Age=3600"] {
        assert!(set.contains(attribute), "{set} has no {attribute}");
    }
    assert!(!set.contains("Secure") && !set.contains("127.0.0.1"), "{set}");
    let kept = cookie(&first).unwrap();
    let stays = |web: SocketAddr, order: &str| {
        for _ in 0..6 {
            let response = ask(web, Some(&kept));
            assert_eq!(response.body, first.body, "{order}");
            assert_eq!(cookie(&response), None, "it knows already");
        }
    };
    stays(gateway.web(), "as it began");
    let reversed = [addresses[2], addresses[1], addresses[0]];
    gateway.replace(&sticking(&reversed, &secret));
    stays(gateway.web(), "after a reload that moves endpoints");
    let other = Gateway::start(&sticking(&reversed, &SecretFile::new(SECRET)));
    stays(other.web(), "at another gateway");
    // With another secret it is nobody's cookie.
    let stranger =
        Gateway::start(&sticking(&addresses, &SecretFile::new("another secret that is long")));
    let bodies: Vec<_> = (0..6).map(|_| ask(stranger.web(), Some(&kept))).collect();
    assert!(bodies.iter().any(|response| response.body != first.body));
    assert!(bodies.iter().all(|response| cookie(response).is_some()));
    for forged in ["WHERE=", "WHERE=AAAA", "WHERE=%00", &"WHERE=x".repeat(500)] {
        assert_eq!(ask(gateway.web(), Some(forged)).status, 200, "{forged}");
    }
}

#[test]
fn a_client_whose_endpoint_is_gone_or_fails_goes_elsewhere_and_stays_there() {
    let origins = ["a", "b"].map(Origin::named);
    let addresses = origins.each_ref().map(|origin| origin.address);
    let secret = SecretFile::new(SECRET);
    let gateway = Gateway::start(&sticking(&addresses, &secret));
    let first = ask(gateway.web(), None);
    let kept = cookie(&first).unwrap();
    let left = usize::from(first.body == "a");
    gateway.replace(&sticking(&addresses[left..=left], &secret));
    let moved = ask(gateway.web(), Some(&kept));
    assert_eq!(moved.body, ["a", "b"][left]);
    let kept = cookie(&moved).expect("the new place");
    gateway.replace(&sticking(&addresses, &secret));
    for _ in 0..4 {
        assert_eq!(ask(gateway.web(), Some(&kept)).body, moved.body);
    }
    // An endpoint that refuses is left, and another remembered.
    let dead = nobody();
    gateway.replace(&sticking(&[dead, addresses[0]], &secret));
    for _ in 0..4 {
        let response = ask(gateway.web(), None);
        assert_eq!((response.status, &*response.body), (200, "a"));
        assert!(cookie(&response).is_some());
    }
}

#[test]
fn a_client_keeps_its_variant_of_a_split() {
    let origins = ["old", "new"].map(Origin::named);
    let yaml = |weights: [u32; 2]| {
        config(&format!(
            "upstreams:
  - {{ name: old, endpoints: [ {{ address: \"{}\" }} ] }}
  - {{ name: new, endpoints: [ {{ address: \"{}\" }} ] }}
virtual_hosts:
  - name: all
    domains: [\"*\"]
    routes:
      - name: r
        forward:
          split: [ {{ upstream: old, weight: {} }}, {{ upstream: new, weight: {} }} ]
          sticky: {{ cookie: VARIANT }}
",
            origins[0].address, origins[1].address, weights[0], weights[1]
        ))
    };
    let gateway = Gateway::start(&yaml([1, 1]));
    let new = eventually("the new variant", || {
        let response = ask(gateway.web(), None);
        (response.body == "new").then_some(response)
    });
    assert!(!new.field("set-cookie").unwrap().contains("Max-Age"), "it is the session's");
    let kept = cookie(&new).unwrap();
    for _ in 0..20 {
        let response = ask(gateway.web(), Some(&kept));
        assert_eq!((&*response.body, cookie(&response)), ("new", None));
    }
    gateway.replace(&yaml([99, 1]));
    assert_eq!(ask(gateway.web(), Some(&kept)).body, "new", "a weight does not move it");
    gateway.replace(&yaml([1, 0]));
    let back = ask(gateway.web(), Some(&kept));
    assert_eq!(back.body, "old", "a variant that is withdrawn has nobody");
    assert!(cookie(&back).is_some());
}

#[test]
fn copies_go_to_the_mirror_and_cost_the_client_nothing() {
    let app = Origin::named("app");
    let shadow = Origin::start(|_, stream| {
        thread::sleep(Duration::from_millis(300));
        stream.write_all(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n").is_ok()
    });
    let yaml = |percent: &str| {
        config(&format!(
            "upstreams:
  - {{ name: app, endpoints: [ {{ address: \"{}\" }} ] }}
  - {{ name: shadow, endpoints: [ {{ address: \"{}\" }} ] }}
virtual_hosts:
  - name: all
    domains: [\"*\"]
    routes:
      - name: r
        forward: {{ upstream: app, mirror: {{ upstream: shadow{percent} }} }}
",
            app.address, shadow.address
        ))
    };
    let gateway = Gateway::start(&yaml(""));
    let mut client = Client::connect(gateway.web());
    let began = Instant::now();
    for index in 0..5 {
        client.send(format!("GET /{index}?q HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.receive().body, "app");
    }
    assert!(began.elapsed() < Duration::from_millis(1_400), "a copy was waited for");
    client.send("POST /p HTTP/1.1\r\nHost: a\r\nX-Own: 1\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(client.receive().body, "app");
    let copies =
        eventually("six copies", || Some(shadow.requests()).filter(|requests| requests.len() == 6));
    let post = copies.iter().find(|it| it.request_line().starts_with("POST")).unwrap();
    assert_eq!((post.request_line(), &*post.body), ("POST /p HTTP/1.1", &b"body"[..]));
    assert_eq!((post.fields("host"), post.fields("x-own")), (vec!["a".into()], vec!["1".into()]));
    assert_eq!(post.fields("x-request-id"), app.last().fields("x-request-id"));
    let mirrored = |result| {
        format!("sallyport_mirrored_requests_total{{result=\"{result}\",upstream=\"shadow\"}}")
    };
    gateway.counts(&mirrored("answered"), 6.0);
    let large = vec![b'x'; 100 << 10];
    let head = format!("POST /l HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", large.len());
    client.send(head).send(&large);
    assert_eq!(client.receive().body, "app");
    gateway.counts(&mirrored("too_large"), 1.0);
    assert_eq!(app.requests().len(), 7, "and nothing is sent twice");
    gateway.replace(&yaml(", percent: 20"));
    for _ in 0..60 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.receive().body, "app");
    }
    thread::sleep(Duration::from_millis(500));
    let copied = shadow.requests().len() - 6;
    assert!((1..35).contains(&copied), "{copied} of 60");
}

#[test]
fn a_mirror_that_is_not_there_is_nobodys_failure() {
    let app = Origin::named("app");
    let gateway = Gateway::start(&config(&format!(
        "upstreams:
  - {{ name: app, endpoints: [ {{ address: \"{}\" }} ] }}
  - {{ name: shadow, endpoints: [ {{ address: \"{}\" }} ] }}
virtual_hosts:
  - name: all
    domains: [\"*\"]
    routes: [ {{ name: r, forward: {{ upstream: app, mirror: {{ upstream: shadow }} }} }} ]
",
        app.address,
        nobody()
    )));
    for _ in 0..5 {
        assert_eq!(ask(gateway.web(), None).body, "app");
    }
    gateway.counts("sallyport_mirrored_requests_total{result=\"failed\",upstream=\"shadow\"}", 5.0);
    let errors = "sallyport_route_errors_total{kind=\"5xx\",route=\"r\",virtual_host=\"all\"}";
    assert_eq!(gateway.metric(errors), Some(0.0));
}

#[test]
fn a_route_is_chosen_by_a_cookie() {
    let gateway = Gateway::start(&config(
        "virtual_hosts:
  - name: all
    domains: [\"*\"]
    routes:
      - { name: beta, match: { cookies: [ { name: beta, exact: \"1\" } ] }, respond: { status: 200, body: beta } }
      - { name: all, respond: { status: 200, body: all } }
",
    ));
    for (cookie, body) in [
        (None, "all"),
        (Some("beta=1"), "beta"),
        (Some("beta=2"), "all"),
        (Some("Beta=1"), "all"),
        (Some("x=1; beta=1"), "beta"),
    ] {
        assert_eq!(ask(gateway.web(), cookie).body, body, "{cookie:?}");
    }
    let path = "/explain?host=a&path=/&header=cookie:%20beta=2";
    let explained = crate::support::get(gateway.admin(), "admin", path).body;
    assert!(explained.contains("cookie beta is not \\\"1\\\""), "{explained}");
}

#[test]
fn what_says_nothing_sensible_of_cookies_and_mirrors_is_refused() {
    let endpoint = ["127.0.0.1:1".parse().unwrap()];
    let short = SecretFile::new("short");
    let upstream = |keys: &str| {
        forward_all(&endpoint).replace("  - name: up\n", &format!("  - name: up\n    {keys}\n"))
    };
    let forward = |keys: &str| {
        forward_all(&endpoint).replace("upstream: up }", &format!("upstream: up, {keys} }}"))
    };
    for (yaml, told) in [
        (upstream("sticky: { cookie: A }"), "has no `secret_file`".to_owned()),
        (
            upstream(&format!("sticky: {{ cookie: A, secret_file: {} }}", short.path())),
            "has 5 bytes, too few for a secret".to_owned(),
        ),
        (
            upstream("sticky: { cookie: 'a b', secret_file: x }"),
            "is no name of a cookie".to_owned(),
        ),
        (upstream("sticky: { cookie: A, secret_file: /gone }"), "/gone cannot be read".to_owned()),
        (forward("sticky: { cookie: A }"), "`sticky` has no effect without `split`".to_owned()),
        (forward("mirror: { upstream: gone }"), "unknown upstream \"gone\"".to_owned()),
        (forward("mirror: { upstream: up, percent: 0 }"), "percent: is 0".to_owned()),
    ] {
        let output = check(&yaml);
        let said = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && said.contains(&told), "{yaml}: {said}");
    }
}
