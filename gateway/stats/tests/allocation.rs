//! Recording allocates nothing: not for a route seen before, and not for one seen first.

use std::{sync::Arc, time::Duration};

use sallyport_stats::{ErrorKind, Registry};

#[test]
fn recording_allocates_nothing() {
    let registry = Registry::new(2);
    let routes = registry.routes(&[(Arc::from("shop"), Arc::from("checkout"))]);
    let endpoints = registry.endpoints(&[(Arc::from("api"), Arc::from("127.0.0.1:80"))]);
    let recorded = allocation_counter::measure(|| {
        for i in 0..1_000_u64 {
            routes[0].begin();
            endpoints[0].begin();
            endpoints[0].connected(i % 2 == 0);
            endpoints[0].connect_failed();
            endpoints[0].finish(Some(ErrorKind::Connect));
            routes[0].finish(502, Some(ErrorKind::Connect), Duration::from_micros(i * i));
        }
    });
    assert_eq!(recorded.count_total, 0);
    assert_eq!(routes[0].snapshot().errors(ErrorKind::Connect), 1_000);
}
