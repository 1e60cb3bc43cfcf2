//! A guest that loops, allocates and traps beside traffic that must not notice. How little it notices
//! is measured by `make bench-plugins`, on a release build.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use super::{LANGUAGES, guest, routes};
use crate::support::{Client, Gateway, Origin, get};

const MISDEEDS: [&str; 4] = ["loop", "allocate", "trap", "nested"];

/// Requests on the route beside the rogue's, for each of its misdeeds.
const BESIDE: usize = 300;

#[test]
fn each_misdeed_ends_its_own_request_and_is_counted() {
    for language in LANGUAGES {
        let Some(module) = guest(&format!("rogue_{language}")) else { return };
        for (misdeed, reason) in
            [("loop", "deadline"), ("allocate", "memory"), ("trap", "trap"), ("nested", "trap")]
        {
            let origin = Origin::named("one");
            // Unoptimised, 8 MiB take longer than the usual deadline.
            let deadline = if misdeed == "allocate" { "5s" } else { "10ms" };
            let module = module.display();
            let settings = format!("module: {module}, memory: 8MiB, deadline: {deadline}");
            let gateway = Gateway::start(&routes(&[("up", origin.address)], &settings));
            let ask = |misdeed: &str| {
                let text = format!(
                    "GET /guest HTTP/1.1\r\nHost: a\r\nX-Rogue: {misdeed}\r\nConnection: close\r\n\r\n"
                );
                crate::support::request(gateway.web(), &text)
            };
            let response = ask(misdeed);
            let said = (response.status, response.error());
            assert_eq!(said, (503, Some("wasm".into())), "{language} {misdeed}");
            let counted =
                format!("sallyport_wasm_failures_total{{filter=\"wasm\",reason=\"{reason}\"}}");
            gateway.counts(&counted, 1.0);
            assert_eq!(ask("no").status, 200, "a new VM serves the next request");
        }
    }
}

#[test]
fn nobody_else_notices_a_rogue() {
    let Some(module) = guest("rogue_rust") else { return };
    let origin = Origin::named("one");
    let settings = format!("module: {}, memory: 8MiB", module.display());
    let gateway = Gateway::start(&routes(&[("up", origin.address)], &settings));
    let (web, admin) = (gateway.web(), gateway.admin());
    let (done, rogues) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for misdeed in MISDEEDS {
            let (done, rogues) = (&done, &rogues);
            scope.spawn(move || {
                let mut client = Client::connect(web);
                while !done.load(Ordering::Relaxed) {
                    client.send(format!(
                        "GET /guest HTTP/1.1\r\nHost: a\r\nX-Rogue: {misdeed}\r\n\r\n"
                    ));
                    if client.try_receive(false).is_none() {
                        client = Client::connect(web);
                    }
                    rogues.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut client = Client::connect(web);
        let mut slowest_admin = std::time::Duration::ZERO;
        for _ in 0..BESIDE {
            client.send("GET /plain HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(client.receive().status, 200);
            let began = Instant::now();
            assert_eq!(get(admin, "localhost", "/healthz").status, 200);
            slowest_admin = slowest_admin.max(began.elapsed());
        }
        done.store(true, Ordering::Relaxed);
        println!(
            "{} rogue requests; slowest admin answer {slowest_admin:?}",
            rogues.load(Ordering::Relaxed)
        );
        assert!(rogues.load(Ordering::Relaxed) >= MISDEEDS.len() as u64);
    });
    // Both workers still serve: more connections than one of them has.
    let mut clients: Vec<Client> = (0..8).map(|_| Client::connect(web)).collect();
    for client in &mut clients {
        client.send("GET /plain HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    assert!(clients.iter_mut().all(|client| client.receive().status == 200));
    // A module that fails again and again is left alone for a while.
    let bypassed = "sallyport_wasm_bypassed_total{filter=\"wasm\"}";
    crate::support::eventually("bypassed", || (gateway.metric(bypassed) > Some(0.0)).then_some(()));
}
