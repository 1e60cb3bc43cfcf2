//! A module replaced again and again under load.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::{guest, routes};
use crate::support::{Client, Gateway, Origin, eventually};

const SWAPS: u64 = 100;

/// Puts a copy of `module` in the place of `path`, as a deployment would.
fn install(module: &Path, path: &Path) {
    let beside = path.with_extension("new");
    std::fs::copy(module, &beside).unwrap();
    std::fs::rename(&beside, path).unwrap();
}

#[test]
fn a_module_is_swapped_a_hundred_times_without_a_failed_request() {
    let (Some(one), Some(two)) = (guest("header_rust"), guest("header_as")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("swapped.wasm");
    install(&one, &module);
    let origin = Origin::named("one");
    let gateway = Gateway::start(&routes(
        &[("up", origin.address)],
        &format!("module: {}", module.display()),
    ));
    let (done, served) = (AtomicBool::new(false), AtomicU64::new(0));
    let address = gateway.web();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Client::connect(address);
                while !done.load(Ordering::Relaxed) {
                    client.send("GET /guest HTTP/1.1\r\nHost: a\r\n\r\n");
                    let response = client.receive();
                    assert_eq!(response.status, 200, "{response:?}");
                    assert_eq!(response.fields("x-wasm-response"), ["hello"]);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _end = End(&done);
        let mut early_kib = 0;
        for swap in 1..=SWAPS {
            let (before, served_before) = (gateway.version(), served.load(Ordering::Relaxed));
            install(if swap % 2 == 0 { &one } else { &two }, &module);
            eventually("the new module in force", || (gateway.version() > before).then_some(()));
            eventually("requests past it", || {
                (served.load(Ordering::Relaxed) >= served_before + 20).then_some(())
            });
            if swap == SWAPS / 5 {
                early_kib = gateway.resident_kib();
            }
            origin.received.lock().unwrap().clear();
        }
        let late_kib = gateway.resident_kib();
        println!(
            "{SWAPS} swaps, {} requests; resident {early_kib} KiB after a fifth of them, {late_kib} KiB at the end",
            served.load(Ordering::Relaxed)
        );
        assert!(late_kib < early_kib + early_kib / 10, "{early_kib} to {late_kib} KiB");
    });
}

/// Ends the load however the test ends.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
