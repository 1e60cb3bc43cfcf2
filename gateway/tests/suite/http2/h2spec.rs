//! What h2spec asks of a server of HTTP/2 (`make h2spec` builds it).

use std::path::Path;
use std::process::Command;

use super::client::with_h2c;
use crate::support::{Gateway, Origin, forward_all};

/// The only answer that is another than h2spec expects: a listener in clear text speaks HTTP/1 as well, so that what
/// does not begin with the preface is answered with 400 before the connection is closed.
const ANSWERED: &str = "Sends invalid connection preface";

/// What h2spec finds amiss with the server at `port`.
fn failures(h2spec: &Path, port: u16, more: &[&str]) -> Vec<String> {
    let output = Command::new(h2spec)
        .args(["--strict", "-o", "10", "-h", "127.0.0.1", "-p", &port.to_string()])
        .args(more)
        .output()
        .unwrap();
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(report.lines().any(|line| line.starts_with("146 tests")), "{report}");
    let failed = report.lines().filter(|line| line.contains('×'));
    failed.map(|line| line.trim().to_owned()).collect()
}

#[test]
fn h2spec_has_nothing_to_say() {
    let h2spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/h2spec");
    if !h2spec.exists() {
        eprintln!("SKIPPED: h2spec is not here; `make h2spec` builds it where there is Go");
        return;
    }
    // What the gateway answers by itself it may answer before the request has ended.
    let origin = Origin::named("hello");
    let yaml = forward_all(&[origin.address]);
    let gateway = Gateway::start(&with_h2c(&yaml, ""));
    let mut failed = failures(&h2spec, gateway.web().port(), &[]);
    failed.retain(|line| !line.contains(ANSWERED));
    assert!(failed.is_empty(), "{failed:#?}");
    let tls = "tls: { certificates: [{ self_signed: true, domains: [localhost] }] }";
    let yaml = yaml.replacen("127.0.0.1:0 }\nadmin", &format!("127.0.0.1:0, {tls} }}\nadmin"), 1);
    let gateway = Gateway::start(&yaml);
    let failed = failures(&h2spec, gateway.web().port(), &["-t", "-k"]);
    assert!(failed.is_empty(), "{failed:#?}");
}
