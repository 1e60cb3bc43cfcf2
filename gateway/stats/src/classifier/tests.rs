use std::{sync::Arc, time::Duration};

use super::{ClassifierStats, NETWORKS_MAX};

#[test]
fn names_beyond_the_bound_are_other() {
    let stats = ClassifierStats::new(1);
    for index in 0..NETWORKS_MAX + 10 {
        let network: Arc<str> = format!("n{index}").into();
        stats.requests(Some(&network), None, Some("tls")).count();
    }
    let figures = stats.figures();
    assert_eq!(figures.requests.len(), NETWORKS_MAX + 1);
    let other = figures.requests.iter().find(|((network, ..), _)| **network == *"other");
    assert_eq!(other.map(|(_, count)| *count), Some(10));
    assert!(figures.requests.iter().all(|((_, zone, _), _)| **zone == *"unknown"));
}

#[test]
fn a_wait_falls_under_its_edge() {
    let stats = ClassifierStats::new(1);
    assert!(stats.figures().waits.is_none());
    for micros in [0, 100, 101, 61_000_000] {
        stats.waited(Duration::from_micros(micros));
    }
    let waits = stats.figures().waits.unwrap();
    assert_eq!((waits.counts[0], waits.counts[1]), (2, 1));
    assert_eq!(waits.counts.last(), Some(&1));
    assert_eq!(waits.sum, Duration::from_micros(61_000_201));
}
