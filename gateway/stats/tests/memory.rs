//! What routes cost that nobody visits. Alone in its process, which it measures.

#![cfg(target_os = "linux")]

use std::{fs, sync::Arc, time::Duration};

use sallyport_stats::Registry;

/// The gateway's allocator: whether fresh memory is left untouched is up to it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUTES: usize = 100_000;
const SHARDS: usize = 8;

/// Memory that is really there, and address space that is merely reserved.
fn measured_kib(key: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("the key is there");
    line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().expect("a number of KiB")
}

#[test]
fn unvisited_routes_are_address_space_only() {
    let names: Vec<_> =
        (0..ROUTES).map(|i| (Arc::from("shop"), Arc::from(format!("route-{i}")))).collect();
    let (resident_kib, reserved_kib) = (measured_kib("VmRSS"), measured_kib("VmSize"));
    let registry = Registry::new(SHARDS);
    let routes = registry.routes(&names);
    // Saturating, since the allocator gives back what it freed when it likes.
    let grown_kib = || measured_kib("VmRSS").saturating_sub(resident_kib);
    let cells_kib = ROUTES * SHARDS * 3_700 / 1_024;
    assert!(measured_kib("VmSize") - reserved_kib > cells_kib, "cells were not reserved at once");
    assert!(grown_kib() < 80 << 10, "{} KiB for {ROUTES} idle routes", grown_kib());

    // Every thousandth is visited, and only those are paid for: one cell each, huge pages or not.
    for route in routes.iter().step_by(1_000) {
        route.begin();
        route.finish(200, None, Duration::from_millis(1));
    }
    assert!(grown_kib() < 88 << 10, "{} KiB with 100 visited routes", grown_kib());

    let text = registry.render();
    assert_eq!(text.matches("sallyport_route_requests_active{").count(), 100);
    assert!(grown_kib() < 96 << 10, "{} KiB after a scrape", grown_kib());
}
