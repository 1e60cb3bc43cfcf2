use super::*;
use crate::endpoint::tests::{equal, weighted};

/// Requests in flight, and endpoints that are down.
struct Busy {
    in_flight: Vec<u32>,
    down: Vec<usize>,
}

impl Busy {
    fn with(in_flight: &[u32]) -> Self {
        Self { in_flight: in_flight.to_vec(), down: Vec::new() }
    }
}

impl View for Busy {
    fn usable(&self, endpoint: usize) -> bool {
        !self.down.contains(&endpoint)
    }

    fn in_flight(&self, endpoint: usize) -> u32 {
        self.in_flight[endpoint]
    }
}

fn count(balancer: &LeastRequest, view: &impl View, endpoints: usize) -> Vec<u32> {
    fastrand::seed(11);
    let mut counts = vec![0; endpoints];
    (0..30_000).for_each(|_| counts[balancer.select(view).unwrap()] += 1);
    counts
}

#[test]
fn of_two_the_idle_one_is_always_taken() {
    let balancer = LeastRequest::new(&equal(2)).unwrap();
    assert_eq!(count(&balancer, &Busy::with(&[1, 0]), 2), [0, 30_000]);
}

#[test]
fn the_busiest_of_many_is_never_taken() {
    let balancer = LeastRequest::new(&equal(5)).unwrap();
    let counts = count(&balancer, &Busy::with(&[3, 1, 9, 0, 2]), 5);
    assert_eq!(counts[2], 0);
    assert!(counts[3] > 11_000 && counts[3] < 13_000, "two chances in five: {counts:?}");
}

#[test]
fn idle_traffic_follows_the_weights() {
    let balancer = LeastRequest::new(&weighted(&[6, 3, 1])).unwrap();
    let counts = count(&balancer, &(), 3);
    for (count, ideal) in counts.iter().zip([18_000_u32, 9_000, 3_000]) {
        assert!(count.abs_diff(ideal) < 500, "{counts:?}");
    }
}

#[test]
fn a_heavier_endpoint_may_be_busier() {
    let balancer = LeastRequest::new(&weighted(&[10, 1])).unwrap();
    assert_eq!(count(&balancer, &Busy::with(&[8, 0]), 2), [30_000, 0]);
    assert_eq!(count(&balancer, &Busy::with(&[10, 0]), 2), [0, 30_000]);
}

/// Forty requests held at a time, each leaving for a new one: what is in flight settles near the weights.
#[test]
fn requests_in_flight_settle_in_proportion_to_weight() {
    fastrand::seed(3);
    let balancer = LeastRequest::new(&weighted(&[3, 1])).unwrap();
    let mut view = Busy::with(&[0, 0]);
    let mut held = std::collections::VecDeque::new();
    for _ in 0..10_000 {
        let chosen = balancer.select(&view).unwrap();
        view.in_flight[chosen] += 1;
        held.push_back(chosen);
        if held.len() > 40 {
            view.in_flight[held.pop_front().unwrap()] -= 1;
        }
    }
    assert!(view.in_flight[0].abs_diff(30) <= 2, "{:?}", view.in_flight);
}

#[test]
fn the_last_usable_endpoint_is_taken_however_busy() {
    let balancer = LeastRequest::new(&weighted(&[9, 5, 1])).unwrap();
    let mut view = Busy::with(&[0, 0, u32::MAX]);
    view.down = vec![0, 1];
    assert_eq!(balancer.select(&view), Some(2));
    view.down = vec![0, 1, 2];
    assert_eq!(balancer.select(&view), None);
}
