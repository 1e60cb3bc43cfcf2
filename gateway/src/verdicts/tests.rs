use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use sallyport_classifier::pinned::abi::VerdictReason;
use sallyport_stats::Registry;

use super::{OffenceSet, Refusal, Verdicts};
use crate::config::{self, Offence, VerdictRule};

const MINUTE: Duration = Duration::from_secs(60);

fn rules(max: usize) -> config::Verdicts {
    let rule = VerdictRule {
        on: Offence::Refused,
        more_than: 2,
        within: Duration::from_secs(10),
        lasting: MINUTE,
    };
    let exempt = vec!["192.0.2.0/24".parse().unwrap()];
    config::Verdicts { max, exempt, ipv6_prefix: 64, rules: vec![rule] }
}

fn verdicts(max: usize) -> (Verdicts, Arc<Registry>) {
    let registry = Arc::new(Registry::new(1));
    let verdicts = Verdicts::new(registry.clone(), None);
    verdicts.configure(Some(&rules(max)));
    (verdicts, registry)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_verdict_holds_until_it_is_lifted_or_expires() {
    let (verdicts, registry) = verdicts(10);
    let (mapped, plain) = (ip("::ffff:203.0.113.7"), ip("203.0.113.7"));
    assert!(!verdicts.holds(plain));
    verdicts.ask(mapped, VerdictReason::Plugin, MINUTE).unwrap();
    assert!(verdicts.holds(plain) && verdicts.holds(mapped) && !verdicts.holds(ip("203.0.113.8")));
    let listed = verdicts.list().unwrap();
    assert_eq!((listed[0].address, listed[0].reason), (plain.into(), "plugin"));
    assert!(listed[0].left <= MINUTE && listed[0].left > MINUTE / 2);
    assert!(verdicts.lift(mapped.into()).unwrap() && !verdicts.lift(plain.into()).unwrap());
    assert!(!verdicts.holds(plain));

    verdicts.ask(plain, VerdictReason::Limit, Duration::ZERO).unwrap();
    assert!(!verdicts.holds(plain) && verdicts.list().unwrap().is_empty());
    verdicts.tick();
    assert!(registry.render().contains("sallyport_verdicts_active 0\n"));
}

#[test]
fn exempt_sources_and_those_beyond_the_cap_get_none() {
    let (verdicts, registry) = verdicts(1);
    let ask = |address| verdicts.ask(ip(address), VerdictReason::Refused, MINUTE);
    assert_eq!(ask("192.0.2.9"), Err(Refusal::Exempt));
    assert_eq!(ask("203.0.113.1"), Ok(()));
    assert_eq!(ask("203.0.113.1"), Ok(()), "one that is held takes no second place");
    assert_eq!(ask("203.0.113.2"), Err(Refusal::Full));
    let text = registry.render();
    for expected in [
        r#"sallyport_verdicts_total{reason="refused"} 1"#,
        r#"sallyport_verdicts_refused_total{why="exempt"} 1"#,
        r#"sallyport_verdicts_refused_total{why="full"} 1"#,
        r#"sallyport_verdicts_refused_total{why="allowed"} 0"#,
        "sallyport_verdicts_active 1",
        "sallyport_verdict_connections_refused_total 0",
    ] {
        assert!(text.lines().any(|line| line == expected), "no {expected} in\n{text}");
    }
}

#[test]
fn offences_earn_a_verdict_and_other_rules_begin_anew() {
    let (verdicts, _) = verdicts(10);
    let did = OffenceSet::default().with(Offence::Refused, true);
    let peer = ip("203.0.113.1");
    let note = || verdicts.note(peer, did, &rules(10));
    note();
    note();
    verdicts.configure(Some(&rules(11)));
    note();
    note();
    assert!(!verdicts.holds(peer));
    note();
    assert!(verdicts.holds(peer));
    verdicts.configure(None);
    assert!(verdicts.holds(peer), "what holds goes on");
}

/// RFC 6177: who has one address of a /64 has all of them.
#[test]
fn a_verdict_on_an_ipv6_source_holds_for_its_prefix() {
    let (verdicts, _registry) = verdicts(10);
    verdicts.ask(ip("2001:db8::1"), VerdictReason::Plugin, MINUTE).unwrap();
    assert!(verdicts.holds(ip("2001:db8::ffff:1")) && !verdicts.holds(ip("2001:db8:0:1::1")));
    assert_eq!(verdicts.list().unwrap()[0].address.to_string(), "2001:db8::/64");
    assert!(verdicts.lift(ip("2001:db8::2").into()).unwrap());
    verdicts.configure(Some(&config::Verdicts { ipv6_prefix: 128, ..rules(10) }));
    verdicts.ask(ip("2001:db8::1"), VerdictReason::Plugin, MINUTE).unwrap();
    assert!(verdicts.holds(ip("2001:db8::1")) && !verdicts.holds(ip("2001:db8::2")));
}

/// What neighbours in a /64 do is counted together, or each of them would have a budget.
#[test]
fn offences_of_an_ipv6_prefix_are_counted_together() {
    let (verdicts, _registry) = verdicts(10);
    let rules = rules(10);
    for last in 1..=3 {
        let peer = ip(&format!("2001:db8::{last}"));
        verdicts.note(peer, OffenceSet::default().with(Offence::Refused, true), &rules);
    }
    assert!(verdicts.holds(ip("2001:db8::9")));
}
