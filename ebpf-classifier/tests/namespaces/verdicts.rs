//! A client that earns a verdict is cut off before the network stack, others are not.

use std::time::{Duration, Instant};

use crate::edge::{Edge, SCREEN};
use crate::net::{CLIENTS, eventually, get};
use crate::program::can_load;

const ROUTES: &str =
    "      - { name: missing, match: { path: { prefix: /missing } }, respond: { status: 404 } }
      - { name: rest, respond: { status: 200, body: rest } }";
const RULES: &str = "verdicts: { rules: [ { on: 4xx, more_than: 5, within: 10s, for: 4s } ] }";

#[test]
fn a_verdict_is_earned_enforced_in_xdp_and_expires() {
    if !can_load() {
        return;
    }
    let mut edge = Edge::new();
    edge.write_classifier("[{ name: friends, cidrs: [10.77.0.4/32], action: allow }]", SCREEN);
    edge.start_classifier();
    let address = edge.start_gateway(ROUTES, RULES);
    edge.hints_in_use();
    let misbehave = |source| {
        edge.net
            .at_client(move || {
                for _ in 0..6 {
                    drop(get(source, address, "/missing"));
                }
            })
            .join()
            .unwrap();
    };
    misbehave(CLIENTS[0]);
    let earned = Instant::now();
    eventually("the client to be cut off in XDP", || {
        edge.net.get(CLIENTS[0], address, "/").is_none().then_some(())?;
        (edge.counted("verdict").1 > 0).then_some(())
    });
    // The last attempt itself waits a second for its answer.
    let took = earned.elapsed();
    println!(
        "cut off at most {} ms after the sixth 404, one second of them waiting",
        took.as_millis()
    );
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(edge.net.get(CLIENTS[1], address, "/").is_some(), "another is untouched");
    assert_eq!(edge.gateway_metric("sallyport_verdicts_total{reason=\"4xx\"}"), Some(1.0));
    assert!(edge.admin("GET", "/verdicts").contains(CLIENTS[0]));

    eventually("the verdict to expire", || edge.net.get(CLIENTS[0], address, "/"));
    let until = earned.elapsed();
    println!("let in again {:.1} s after it was earned, 4 s were said", until.as_secs_f64());
    assert!(until > Duration::from_secs(3) && until < Duration::from_secs(8), "{until:?}");

    misbehave(CLIENTS[2]);
    assert!(edge.net.get(CLIENTS[2], address, "/").is_some(), "never on a network that is allowed");

    misbehave(CLIENTS[3]);
    eventually("the second verdict", || {
        edge.net.get(CLIENTS[3], address, "/").is_none().then_some(())
    });
    let dropped = || {
        let view: serde_json::Value = serde_json::from_str(&edge.admin("GET", "/door")).unwrap();
        assert_eq!((&view["state"], &view["enforces_verdicts"]), (&"fresh".into(), &true.into()));
        assert_eq!(view["zones"][0]["zone"], "internet");
        assert_eq!(view["networks"][0]["network"], "friends");
        let counters = view["counters"].as_array().unwrap();
        let verdicts = counters.iter().find(|it| it["reason"] == "verdict").unwrap();
        verdicts["dropped_packets"].as_u64().unwrap()
    };
    let before = eventually("drops to be told", || Some(dropped()).filter(|dropped| *dropped > 0));
    edge.admin("DELETE", &format!("/verdicts/{}", CLIENTS[3]));
    assert!(edge.net.get(CLIENTS[3], address, "/").is_some(), "lifted by hand");
    // What was on its way may still have been dropped; what comes now is not.
    let lifted = edge.counted("verdict").1;
    for _ in 0..5 {
        assert!(edge.net.get(CLIENTS[3], address, "/").is_some());
    }
    assert_eq!(edge.counted("verdict").1, lifted, "no more packets are dropped");
    eventually("the page to tell it", || (dropped() == lifted && lifted >= before).then_some(()));
}
