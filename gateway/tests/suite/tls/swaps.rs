//! Certificates that are replaced while clients connect.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::CertificateParams;

use super::pki::{Pki, ask, connect};
use super::{answering, with_tls};
use crate::support::{Gateway, eventually, write_by_rename};

fn numbered(serial: u32) -> impl FnOnce(&mut CertificateParams) {
    move |params| params.serial_number = Some(serial.to_be_bytes().to_vec().into())
}

fn started() -> (Pki, Gateway) {
    let pki = Pki::new("test");
    pki.issue_changed("site", &["a.example"], numbered(0x0100_0000));
    let tls = format!("{{ certificates: [{}] }}", pki.entry("site"));
    let gateway = Gateway::start(&with_tls(&tls, &answering("hello")));
    (pki, gateway)
}

/// Swaps a pair as tools do, in one file or key first, 200 times, every tenth of them broken.
#[test]
fn two_hundred_swaps_under_load_fail_no_handshake() {
    const SWAPS: u32 = 200;
    let pki = Pki::new("test");
    // One file with both, so that no moment has the key of another certificate.
    let write = |serial: u32| {
        let (certificate, key) = pki.pair(&["a.example"], numbered(serial));
        write_by_rename(&pki.path("both.pem"), &(certificate + &key));
    };
    write(0x0100_0000);
    let both = pki.path("both.pem").display().to_string();
    let tls = format!("{{ certificates: [{{ cert: {both}, key: {both} }}] }}");
    let gateway = Gateway::start(&with_tls(&tls, &answering("hello")));
    let (address, config) = (gateway.web(), pki.forgetful_client(None));
    let (stop, done, failed) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
    );
    let load: Vec<_> = (0..2)
        .map(|_| {
            let (stop, done, failed) = (stop.clone(), done.clone(), failed.clone());
            let config = pki.forgetful_client(None);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let seen = ask(&config, address, "a.example", "a.example");
                    let is_good = seen.is_ok_and(|seen| seen.answer.contains("hello"));
                    if is_good { &done } else { &failed }.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let serial_now = || ask(&config, address, "a.example", "a.example").unwrap().serial;
    let mut waits = Vec::new();
    let mut last = 0x0100_0000;
    for swap in 1..=SWAPS {
        if swap % 10 == 0 {
            write_by_rename(&pki.path("both.pem"), "-----BEGIN CERTIFICATE-----\nbroken\n");
            eventually("the refusal", || {
                gateway.config_view()["refused"].is_object().then_some(())
            });
            assert_eq!(serial_now(), format!("{last:08X}"));
            continue;
        }
        last = 0x0100_0000 + swap;
        let began = Instant::now();
        write(last);
        let wanted = format!("{last:08X}");
        eventually("the new certificate", || (serial_now() == wanted).then_some(()));
        waits.push(began.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    load.into_iter().for_each(|thread| thread.join().unwrap());
    waits.sort();
    let median = waits[waits.len() / 2];
    assert_eq!(failed.load(Ordering::Relaxed), 0);
    assert!(done.load(Ordering::Relaxed) > 200);
    // What a person sees as at once, with room for a loaded machine.
    assert!(median < Duration::from_millis(1500), "{median:?}");
    eprintln!("{SWAPS} swaps: median {median:?}, {} handshakes", done.load(Ordering::Relaxed));
}

#[test]
fn a_new_pair_touches_nothing_that_is_open() {
    use std::io::{Read as _, Write as _};
    let (pki, gateway) = started();
    let mut open = connect(&pki.forgetful_client(None), gateway.web(), "a.example").unwrap();
    let mut once = |expected: &str| {
        open.write_all(b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(expected.as_bytes()) {
            let mut part = [0; 1024];
            let read = open.read(&mut part).unwrap();
            assert_ne!(read, 0, "closed after {}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&part[..read]);
        }
    };
    once("hello");
    // The key first: until the certificate follows, the pair is refused and the old one stays.
    let (certificate, key) = pki.pair(&["a.example"], numbered(0x0200_0000));
    fs::write(pki.path("site.key"), key).unwrap();
    gateway.logged("is the key of another certificate");
    once("hello");
    fs::write(pki.path("site.pem"), certificate).unwrap();
    let config = pki.forgetful_client(None);
    eventually("the new certificate", || {
        let seen = ask(&config, gateway.web(), "a.example", "a.example").unwrap();
        (seen.serial == "02000000").then_some(())
    });
    once("hello");
    let expiry = r#"sallyport_tls_certificate_expiry_seconds{listener="web",name="a.example"}"#;
    let at = gateway.metric(expiry).expect("it is exposed");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(((at - now.as_secs_f64()) / 86_400.0 - 90.0).abs() < 1.0, "{at}");
}

#[test]
fn a_certificate_of_our_own_stays_over_reloads() {
    let yaml = |text: &str| {
        let tls = "{ certificates: [{ self_signed: true, domains: [localhost, 127.0.0.1] }] }";
        with_tls(tls, &answering(text))
    };
    let gateway = Gateway::start(&yaml("one"));
    let shown = |_: &str| {
        let trusting = super::pki::trusting();
        ask(&trusting, gateway.web(), "localhost", "localhost").unwrap()
    };
    let first = shown("one");
    assert!(first.answer.contains("one"));
    gateway.replace(&yaml("two"));
    let second = shown("two");
    assert!(second.answer.contains("two"));
    assert_eq!(first.serial, second.serial);
}
