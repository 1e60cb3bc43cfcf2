use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::{OffenceSet, Offences};
use crate::config::{Offence, VerdictRule};

const SECOND: u64 = 1_000_000_000;

fn rule(on: Offence, more_than: u32, lasting_s: u64) -> VerdictRule {
    let (within, lasting) = (Duration::from_secs(10), Duration::from_secs(lasting_s));
    VerdictRule { on, more_than, within, lasting }
}

fn source(number: u32) -> IpAddr {
    Ipv4Addr::from(number).into()
}

fn client_error() -> OffenceSet {
    OffenceSet::default().with(Offence::ClientError, true)
}

/// The number of the offence, one every `step_ns`, that breaks the rule.
fn broken_after(start_ns: u64, step_ns: u64, most: usize) -> Option<usize> {
    let offences = Offences::default();
    let rules = [rule(Offence::ClientError, 50, 60)];
    (0..most).position(|index| {
        let now_ns = start_ns + index as u64 * step_ns;
        offences.note(source(1), client_error(), &rules, now_ns).is_some()
    })
}

#[test]
fn a_rule_means_what_it_says() {
    assert_eq!(broken_after(0, 0, 100), Some(50), "fifty are borne, the next is not");
    assert_eq!(broken_after(0, SECOND / 10, 100), Some(50));
    // A burst across the edge of two windows is one burst.
    assert_eq!(broken_after(10 * SECOND - 25, 1, 100), Some(50));
    assert_eq!(broken_after(0, SECOND / 4, 1_000), None, "forty in ten seconds, for ever");
    assert!(broken_after(0, SECOND / 6, 1_000).is_some(), "sixty in ten seconds");
}

#[test]
fn only_what_a_rule_is_on_counts() {
    let offences = Offences::default();
    let rules = [rule(Offence::Limit, 1, 60), rule(Offence::Refused, 1, 90)];
    let both = OffenceSet::default().with(Offence::Limit, true).with(Offence::Refused, true);
    assert_eq!(offences.note(source(1), client_error(), &rules, 0), None);
    assert_eq!(offences.note(source(1), client_error(), &rules, 0), None);
    assert_eq!(offences.note(source(1), both, &rules, 0), None);
    assert_eq!(offences.note(source(2), both, &rules, 0), None, "another source");
    assert_eq!(offences.note(source(1), both, &rules, 0), Some(&rules[1]), "the longer one");
    assert_eq!(offences.note(source(1), both, &rules, 0), None, "counted anew");
}

#[test]
fn the_number_of_sources_is_bounded() {
    let offences = Offences::with_room(64);
    let rules = [rule(Offence::ClientError, 1_000, 60)];
    for number in 0..10_000 {
        offences.note(source(number), client_error(), &rules, 0);
    }
    let held = |of: fn(&super::Shard) -> usize| -> usize {
        offences.shards.iter().map(|shard| of(&super::lock(shard))).sum()
    };
    assert!(held(|shard| shard.sources.len()) <= 64);
    assert_eq!(held(|shard| shard.sources.len()), held(|shard| shard.places.len()));
}
