use futures::FutureExt;
use pingora_load_balancing::{Backends as Pool, LoadBalancer, discovery::Static};

use super::*;

fn backend(number: usize, weight: usize) -> Backend {
    Backend::new_with_weight(&format!("10.0.0.{number}:80"), weight).unwrap()
}

fn set(weights: &[usize]) -> BTreeSet<Backend> {
    weights.iter().enumerate().map(|(number, &weight)| backend(number, weight)).collect()
}

/// Pingora's own load balancer over these backends, its discovery having run once.
fn load_balancer<P>(weights: &[usize]) -> LoadBalancer<Selection<P>>
where
    P: FixedPolicy + 'static,
{
    let balancer = LoadBalancer::from_backends(Pool::new(Static::new(set(weights))));
    balancer.update().now_or_never().unwrap().unwrap();
    balancer
}

fn all<P: FixedPolicy>(selection: &Arc<Selection<P>>, key: &[u8]) -> Vec<Backend> {
    let mut iter = selection.iter(key);
    std::iter::from_fn(|| iter.next().cloned()).collect()
}

fn yields_each_backend_once<P: FixedPolicy>() {
    let backends = set(&[1, 5, 3, 9]);
    let selection = Arc::new(Selection::<P>::build(&backends));
    for key in 0_u8..50 {
        let yielded = all(&selection, &[key]);
        assert_eq!(yielded.len(), 4);
        assert_eq!(BTreeSet::from_iter(yielded), backends);
    }
}

#[test]
fn every_selection_yields_each_backend_once() {
    yields_each_backend_once::<fixed::Maglev>();
    yields_each_backend_once::<fixed::RingHash>();
    yields_each_backend_once::<fixed::RoundRobin>();
    yields_each_backend_once::<fixed::Random>();
}

#[test]
fn a_load_balancer_keeps_a_key_on_its_backend() {
    let balancer = load_balancer::<fixed::Maglev>(&[1; 5]);
    for key in 0_u8..50 {
        let chosen = balancer.select(&[key], 5).unwrap();
        assert_eq!(balancer.select(&[key], 5).unwrap(), chosen);
    }
}

#[test]
fn a_load_balancer_passes_over_disabled_backends() {
    let balancer = load_balancer::<fixed::Maglev>(&[1; 5]);
    let chosen = balancer.select(b"user-17", 5).unwrap();
    balancer.backends().set_enable(&chosen, false);
    let next = balancer.select(b"user-17", 5).unwrap();
    let second = all(&Arc::new(Maglev::build(&set(&[1; 5]))), b"user-17").swap_remove(1);
    assert_eq!(next, second);
    (0..5).for_each(|number| balancer.backends().set_enable(&backend(number, 1), false));
    assert_eq!(balancer.select(b"user-17", 5), None);
}

#[test]
fn a_load_balancer_goes_round_by_weight() {
    let balancer = load_balancer::<fixed::RoundRobin>(&[2, 1]);
    let chosen: Vec<usize> = (0..6).map(|_| balancer.select(b"", 2).unwrap().weight).collect();
    // It begins anywhere in its turns.
    let turns = [[2, 1, 2, 2, 1, 2], [1, 2, 2, 1, 2, 2], [2, 2, 1, 2, 2, 1]];
    assert!(turns.iter().any(|turns| chosen == turns), "{chosen:?}");
}

#[test]
fn what_a_balancer_would_refuse_is_left_out() {
    let mut backends = set(&[0, 1, 70_000]);
    backends.insert(backend(1, 35_000));
    let kept = selectable(&backends);
    assert_eq!(kept.values().map(|backend| backend.weight).collect::<Vec<_>>(), [35_000, 70_000]);
    let weights: Vec<u16> = endpoints(&kept).iter().map(|endpoint| endpoint.weight).collect();
    assert_eq!(weights, [32_767, 65_535]);
}

#[test]
fn no_backend_at_all_yields_nothing() {
    assert!(all(&Arc::new(Maglev::build(&BTreeSet::new())), b"").is_empty());
    assert_eq!(load_balancer::<fixed::Random>(&[0, 0]).select(b"", 1), None);
}
