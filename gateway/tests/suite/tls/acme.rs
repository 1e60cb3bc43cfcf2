//! Certificates from an authority: Let's Encrypt's own test server, pebble.

#[path = "acme/advice.rs"]
mod advice;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::answering;
use super::pki::{Pki, ask, trusting};
use crate::support::{Gateway, check, eventually, tool};

/// A port that is free now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Processes that end with this value.
struct Running(Vec<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.0 {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// An authority, and the ports by which it asks the gateway.
struct Authority {
    pki: Pki,
    port: u16,
    http: u16,
    tls: u16,
}

impl Authority {
    fn new() -> Self {
        let pki = Pki::new("pebble's own");
        pki.issue("pebble", &["localhost", "127.0.0.1"]);
        Self { pki, port: free_port(), http: free_port(), tls: free_port() }
    }

    /// Starts it; every fifth of its nonces is bad.
    fn start(&self) -> Running {
        self.start_with(&[])
    }

    /// As [`Authority::start`], with these settings besides.
    fn start_with(&self, more: &[(&str, serde_json::Value)]) -> Running {
        let dns = format!("127.0.0.1:{}", free_port());
        let names = Command::new("pebble-challtestsrv")
            .args([
                "-http01",
                "",
                "-https01",
                "",
                "-tlsalpn01",
                "",
                "-defaultIPv6",
                "",
                "-dns01",
                &dns,
            ])
            .args(["-management", &format!("127.0.0.1:{}", free_port())])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let path = |name: &str| self.pki.path(name).display().to_string();
        let mut settings = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{}", self.port),
            "managementListenAddress": format!("127.0.0.1:{}", free_port()),
            "certificate": path("pebble.pem"),
            "privateKey": path("pebble.key"),
            "httpPort": self.http,
            "tlsPort": self.tls,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
        }});
        for (key, value) in more {
            settings["pebble"][*key] = value.clone();
        }
        fs::write(self.pki.path("pebble.json"), settings.to_string()).unwrap();
        let pebble = Command::new("pebble")
            .args(["-config", &path("pebble.json"), "-dnsserver", &dns])
            .envs([("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_WFE_NONCEREJECT", "20")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Running(vec![names, pebble])
    }

    /// A gateway's file, on these ports, that keeps its account in `storage`.
    fn yaml(&self, challenge: &str, storage: &Path, http: u16, tls: u16) -> String {
        format!(
            "acme:\n  - {{ name: pebble, directory: \"https://localhost:{}/dir\", contact: [ops@example.com], storage: {}, challenge: {challenge}, ca: {} }}\n\
             listeners:\n  - {{ name: clear, address: \"127.0.0.1:{http}\" }}\n  - name: web\n    address: 127.0.0.1:{tls}\n    \
             tls: {{ certificates: [{{ acme: pebble, domains: [a.example, b.example] }}] }}\n\
             admin: {{ address: 127.0.0.1:0 }}\n{}",
            self.port,
            storage.display(),
            self.pki.path("ca.pem").display(),
            answering("hello")
        )
    }
}

/// The serial number of the certificate that a gateway shows.
fn serial(gateway: &Gateway) -> String {
    let seen = ask(&trusting(), gateway.web(), "a.example", "a.example").unwrap();
    assert!(seen.answer.contains("hello"), "{}", seen.answer);
    seen.serial
}

/// Waits for another certificate than that with `before`; back-offs are longer than other tests wait.
fn issued(gateway: &Gateway, before: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let now = serial(gateway);
        if now != before {
            return now;
        }
        assert!(Instant::now() < deadline, "no certificate was issued: {:#?}", gateway.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn files(storage: &Path) -> Vec<PathBuf> {
    fs::read_dir(storage).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_certificate_is_issued_by_http_once_the_authority_is_there() {
    if !tool("pebble") || !tool("pebble-challtestsrv") {
        return;
    }
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let storage = folder.path().join("acme");
    let yaml = authority.yaml("http-01", &storage, authority.http, authority.tls);
    let gateway = Gateway::start(&yaml);
    // Until there is an authority to ask, a certificate of our own stands in.
    gateway.logged("no certificate was issued");
    let own = serial(&gateway);
    let _running = authority.start();
    let first = issued(&gateway, &own);
    for file in files(&storage) {
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        assert!(!name.starts_with("challenge."), "{name} is left");
    }
    // Another gateway on the folder shows the same, and so does this one after a restart.
    let other = Gateway::start(&authority.yaml("http-01", &storage, free_port(), free_port()));
    assert_eq!(serial(&other), first);
    drop((gateway, other));
    let again = Gateway::start(&yaml);
    assert_eq!(serial(&again), first);
    // What is gone is issued again.
    fs::remove_file(storage.join("pebble.a.example.pem")).unwrap();
    let mut renewed = issued(&again, &first);
    let stand_in = serial(&again);
    if renewed == stand_in {
        renewed = issued(&again, &stand_in);
    }
    assert_ne!(renewed, first);
    let expiry = r#"sallyport_tls_certificate_expiry_seconds{listener="web",name="b.example"}"#;
    assert!(again.metric(expiry).is_some());
}

#[test]
fn an_external_account_is_bound_and_a_certificate_is_renewed_by_the_clock() {
    const KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    if !tool("pebble") || !tool("pebble-challtestsrv") {
        return;
    }
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let _running = authority.start_with(&[
        ("externalAccountBindingRequired", true.into()),
        ("externalAccountMACKeys", serde_json::json!({ "kid-1": KEY })),
        // Two thirds of that are soon over.
        ("certificateValidityPeriod", 60.into()),
    ]);
    let yaml = authority.yaml("http-01", folder.path(), authority.http, authority.tls);
    let gateway = Gateway::start(&yaml);
    let figure = |name: &str, more: &str| {
        let labels = format!("account=\"pebble\",domain=\"a.example\"{more}");
        gateway.metric(&format!("sallyport_acme_{name}{{{labels}}}"))
    };
    let state = || gateway.config_view()["acme"][0].clone();
    // The authority knows nobody who is not bound to an account of its own.
    gateway.logged("no certificate was issued");
    let failed = eventually("a failure", || {
        figure("failures", "").filter(|failures| *failures > 0.0).and(Some(state()))
    });
    assert_eq!((&failed["serves"], &failed["account"]), (&"self_signed".into(), &"pebble".into()));
    assert_eq!(failed["domains"], serde_json::json!(["a.example", "b.example"]));
    assert!(failed["error"].is_string() && failed["failures"].as_u64() > Some(0), "{failed}");
    assert_eq!(figure("renewal_timestamp_seconds", ""), None);
    let own = serial(&gateway);
    fs::write(folder.path().join("hmac"), KEY).unwrap();
    let bound = format!(
        "challenge: http-01, external_account: {{ key_id: kid-1, hmac_file: {} }}",
        folder.path().join("hmac").display()
    );
    gateway.replace(&yaml.replace("challenge: http-01", &bound));
    let first = issued(&gateway, &own);
    eventually("its figures", || {
        let is_well = figure("failures", "") == Some(0.0);
        (is_well && figure("renewal_timestamp_seconds", "").is_some()).then_some(())
    });
    assert_eq!(figure("issues_total", ",result=\"issued\""), Some(1.0));
    let served = state();
    assert_eq!((&served["serves"], &served["error"]), (&"issued".into(), &().into()));
    let at = |key: &str| served[key].as_f64().unwrap();
    let early = at("not_after_unix_s") - at("renewal_unix_s");
    assert!((15.0..25.0).contains(&early), "a third of its life is left: {served}");
    assert_ne!(issued(&gateway, &first), own, "another of the authority");
    eventually("the second", || {
        (figure("issues_total", ",result=\"issued\"") >= Some(2.0)).then_some(())
    });
}

#[test]
fn a_certificate_is_issued_by_a_handshake() {
    if !tool("pebble") || !tool("pebble-challtestsrv") {
        return;
    }
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let _running = authority.start();
    let yaml = authority.yaml("tls-alpn-01", folder.path(), authority.http, authority.tls);
    let gateway = Gateway::start(&yaml);
    gateway.address("web");
    let deadline = Instant::now() + Duration::from_secs(90);
    while !folder.path().join("pebble.a.example.pem").exists() {
        assert!(Instant::now() < deadline, "no certificate was issued: {:#?}", gateway.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    gateway.logged("a certificate was issued");
}

#[test]
fn what_no_authority_could_validate_is_refused() {
    let said = |acme: &str, certificate: &str, listener: &str| {
        let output = check(&format!(
            "acme: [{{ name: le, storage: /tmp/acme, {acme} }}]\nlisteners:\n{listener}  - name: web\n    address: 127.0.0.1:0\n    tls: {{ certificates: [{certificate}] }}\n{}",
            answering("hello")
        ));
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    let directory = "directory: \"https://localhost/dir\"";
    let clear = "  - { name: clear, address: 127.0.0.1:0 }\n";
    let good = "{ acme: le, domains: [a.example] }";
    for (acme, certificate, listener, part) in [
        (directory, good, "", "no listener speaks it in clear text"),
        (directory, "{ acme: other, domains: [a.example] }", clear, "unknown account \"other\""),
        (directory, "{ acme: le, domains: [\"*.a.example\"] }", clear, "is no single name"),
        (directory, "{ acme: le }", clear, "has no `domains`"),
        ("directory: \"http://localhost/dir\"", good, clear, "is no https URL"),
        (
            "directory: \"https://l/d\", challenge: dns-01",
            good,
            clear,
            "is no challenge that is answered",
        ),
        ("directory: \"https://l/d\", contact: [ops]", good, clear, "is no mail address"),
    ] {
        let (status, text) = said(acme, certificate, listener);
        assert!(
            status == Some(78) && text.contains(part),
            "{acme} {certificate}: {status:?} {text}"
        );
    }
    let (status, text) = said(directory, good, clear);
    assert_eq!(status, Some(0), "{text}");
    let (status, text) = said(&format!("{directory}, challenge: tls-alpn-01"), good, "");
    assert_eq!(status, Some(0), "{text}");
    let own = "{ self_signed: true, domains: [a.example] }";
    let (status, text) = said(directory, own, clear);
    assert!(status == Some(0) && text.contains("is used by no certificate"), "{status:?} {text}");
}
