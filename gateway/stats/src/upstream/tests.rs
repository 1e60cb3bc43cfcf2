use super::*;
use crate::Registry;

fn name(upstream: &str, port: u16) -> EndpointName {
    (Arc::from(upstream), format!("127.0.0.1:{port}").into())
}

#[test]
fn an_endpoint_counts_requests_errors_and_failures() {
    let endpoints = Registry::new(2).endpoints(&[name("api", 1), name("api", 2)]);
    endpoints[0].begin();
    endpoints[0].begin();
    endpoints[0].finish(None);
    endpoints[1].connect_failed();
    endpoints[1].begin();
    endpoints[1].finish(Some(ErrorKind::Connect));

    let (first, second) = (endpoints[0].snapshot(), endpoints[1].snapshot());
    assert_eq!((first.requests(), first.active(), first.connect_failures()), (1, 1, 0));
    assert_eq!((second.requests(), second.active(), second.connect_failures()), (1, 0, 1));
    assert_eq!(ErrorKind::ALL.map(|kind| second.errors(kind)), [0, 0, 0, 1, 0, 0, 0, 0]);
}

#[test]
fn reuse_is_summed_over_the_endpoints_of_an_upstream() {
    let endpoints = Registry::new(2).endpoints(&[name("api", 1), name("api", 2), name("web", 1)]);
    endpoints[0].connected(true);
    endpoints[1].connected(true);
    endpoints[1].connected(false);
    endpoints[2].connected(false);
    let (api, web) = (Reuse::of(&endpoints[0].upstream), Reuse::of(&endpoints[2].upstream));
    assert_eq!((api.reused, api.fresh), (2, 1));
    assert_eq!((web.reused, web.fresh), (0, 1));
}

#[test]
fn reuse_does_not_fall_when_an_endpoint_leaves() {
    let registry = Registry::new(2);
    let old = registry.endpoints(&[name("api", 1), name("api", 2)]);
    old[1].connected(true);
    drop(old);
    let new = registry.endpoints(&[name("api", 1)]);
    assert_eq!(Reuse::of(&new[0].upstream).reused, 1);
}

#[test]
fn one_upstreams_endpoints_change_without_touching_the_others() {
    let registry = Registry::new(1);
    let old = registry.endpoints(&[name("api", 1), name("api", 2), name("web", 1)]);
    old[1].begin();
    let addresses = [2, 3].map(|port| name("api", port).1);
    let new = registry.endpoints_of(&"api".into(), &addresses);
    assert_eq!([0, 1].map(|index: usize| new[index].snapshot().active()), [1, 0]);
    let installed = registry.endpoints.installed();
    let exposed: Vec<_> = installed.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(exposed, [name("web", 1), name("api", 2), name("api", 3)]);
    registry.endpoints_of(&"api".into(), &[]);
    assert_eq!(registry.endpoints.installed().len(), 1);
    assert_eq!(registry.upstreams.installed().len(), 2);
}

#[test]
fn the_same_address_in_two_upstreams_is_two_endpoints() {
    let endpoints = Registry::new(1).endpoints(&[name("api", 1), name("web", 1)]);
    endpoints[0].begin();
    endpoints[0].finish(None);
    assert_eq!(endpoints[1].snapshot().requests(), 0);
}
