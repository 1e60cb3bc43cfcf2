//! What h2spec asks of a server of HTTP/2 (`make h2spec` builds it).

use std::path::Path;
use std::process::Command;

use super::client::with_h2c;
use crate::support::{Gateway, Origin, forward_all};

/// The only answer that is another than h2spec expects: a listener in clear text speaks HTTP/1 as well, so that what
/// does not begin with the preface is answered with 400 before the connection is closed.
const ANSWERED: &str = "Sends invalid connection preface";

#[test]
fn h2spec_has_nothing_to_say() {
    let h2spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/h2spec");
    if !h2spec.exists() {
        eprintln!("SKIPPED: h2spec is not here; `make h2spec` builds it where there is Go");
        return;
    }
    // What the gateway answers by itself it may answer before the request has ended.
    let origin = Origin::named("hello");
    let gateway = Gateway::start(&with_h2c(&forward_all(&[origin.address]), ""));
    let output = Command::new(&h2spec)
        .args(["--strict", "-o", "10", "-h", "127.0.0.1", "-p"])
        .arg(gateway.web().port().to_string())
        .output()
        .unwrap();
    let report = String::from_utf8(output.stdout).unwrap();
    let mut failed: Vec<_> = report.lines().filter(|line| line.contains('×')).collect();
    failed.retain(|line| !line.contains(ANSWERED));
    assert!(failed.is_empty(), "{report}");
    let passed = report.lines().find(|line| line.contains(" passed, "));
    assert!(passed.is_some_and(|line| line.starts_with("146 tests")), "{report}");
}
