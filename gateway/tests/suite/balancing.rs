//! Every policy through the real binary: who gets which request.

use std::collections::BTreeMap;

use crate::support::{Client, Gateway, Origin, config};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

struct Setup {
    gateway: Gateway,
    origins: Vec<Origin>,
}

fn setup(load_balancing: &str, weights: [u16; 4]) -> Setup {
    let origins: Vec<_> = NAMES.map(Origin::named).into();
    let endpoints: String = origins
        .iter()
        .zip(weights)
        .map(|(origin, weight)| {
            format!("      - {{ address: \"{}\", weight: {weight} }}\n", origin.address)
        })
        .collect();
    let gateway = Gateway::start(&config(&format!(
        "upstreams:\n  - name: up\n    load_balancing: {load_balancing}\n    endpoints:\n{endpoints}\
         virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    routes: [ {{ name: r, forward: {{ upstream: up }} }} ]\n"
    )));
    Setup { gateway, origins }
}

impl Setup {
    /// Sends `count` requests made by `write` and counts who answered.
    fn spread(&self, count: usize, write: impl Fn(usize) -> String) -> BTreeMap<String, usize> {
        let mut client = Client::connect(self.gateway.web());
        let mut spread = BTreeMap::new();
        for index in 0..count {
            client.send(write(index));
            *spread.entry(client.receive().body).or_default() += 1;
        }
        spread
    }
}

fn plain(_: usize) -> String {
    "GET / HTTP/1.1\r\nHost: x\r\n\r\n".into()
}

#[test]
fn round_robin_follows_the_weights_exactly() {
    let setup = setup("{ policy: round_robin }", [1, 1, 2, 4]);
    let spread = setup.spread(80, plain);
    assert_eq!(spread.into_values().collect::<Vec<_>>(), [10, 10, 20, 40]);
}

#[test]
fn random_reaches_every_endpoint() {
    let setup = setup("{ policy: random }", [1, 1, 1, 1]);
    let spread = setup.spread(400, plain);
    // Six standard deviations around 100.
    assert!(
        spread.len() == 4 && spread.values().all(|count| (48..=152).contains(count)),
        "{spread:?}"
    );
}

#[test]
fn least_request_reaches_every_endpoint_when_idle() {
    let setup = setup("{ policy: least_request }", [1, 1, 1, 1]);
    let spread = setup.spread(400, plain);
    assert!(
        spread.len() == 4 && spread.values().all(|count| (48..=152).contains(count)),
        "{spread:?}"
    );
}

#[test]
fn hashing_policies_keep_a_key_where_it_is() {
    for policy in ["maglev", "ring_hash"] {
        for (hash_on, request) in [
            ("{ header: X-User }", "GET /same HTTP/1.1\r\nHost: x\r\nx-user: KEY\r\n\r\n"),
            ("{ cookie: user }", "GET /same HTTP/1.1\r\nHost: x\r\nCookie: a=b; user=KEY\r\n\r\n"),
            ("{ query: user }", "GET /same?a=b&user=KEY HTTP/1.1\r\nHost: x\r\n\r\n"),
            ("path", "GET /KEY?NOT HTTP/1.1\r\nHost: x\r\n\r\n"),
        ] {
            let setup = setup(&format!("{{ policy: {policy}, hash_on: {hash_on} }}"), [1, 1, 1, 1]);
            let one = setup.spread(20, |_| request.replace("KEY", "ann"));
            assert_eq!(one.len(), 1, "{policy} on {hash_on}: one key went to {one:?}");
            let many = setup.spread(200, |index| request.replace("KEY", &format!("user{index}")));
            assert_eq!(many.len(), 4, "{policy} on {hash_on}: 200 keys went to {many:?}");
        }
        let setup = setup(&format!("{{ policy: {policy}, hash_on: source_ip }}"), [1, 1, 1, 1]);
        let one = setup.spread(40, |index| format!("GET /{index} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!(one.len(), 1, "{policy} on source_ip: one client went to {one:?}");
    }
}

#[test]
fn a_key_moves_only_when_its_endpoint_is_lost() {
    let mut setup = setup("{ policy: maglev, hash_on: path }", [1, 1, 1, 1]);
    let home = |setup: &Setup| -> Vec<String> {
        let mut client = Client::connect(setup.gateway.web());
        (0..100)
            .map(|index| {
                client.send(format!("GET /{index} HTTP/1.1\r\nHost: x\r\n\r\n"));
                client.receive().body
            })
            .collect()
    };
    let before = home(&setup);
    // Replaced by an address at which nobody listens; connections to it are refused and retried.
    let lost = setup.origins.remove(1);
    let yaml = std::fs::read_to_string(&setup.gateway.config).unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    setup.gateway.replace(&yaml.replace(&lost.address.to_string(), &nobody.to_string()));
    let after = home(&setup);
    assert!(after.iter().all(|name| name != "b"));
    let moved = before.iter().zip(&after).filter(|(old, new)| *old != "b" && old != new).count();
    assert!(moved <= 20, "{moved} of the keys of living endpoints moved");
}
