//! The load test runners end to end: the real gateway, k6 and wrk, for a few seconds, and the same on
//! a stage that is spoiled on purpose, which they must notice.

#![allow(clippy::unwrap_used, reason = "a test ends where something it stands on is not there")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;

/// Two runs at a time would take each other's CPU, and be slower than one after the other.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says loudly that `what` is not here. Where everything must be, that fails.
fn missing(what: &str) {
    assert!(
        std::env::var_os("SALLYPORT_REQUIRE_TOOLS").is_none(),
        "{what} is needed: `make test` provides it"
    );
    eprintln!("SKIPPED: {what} is not here; `make test` provides it");
}

fn found(what: &str, path: Option<PathBuf>) -> Option<PathBuf> {
    if path.is_none() {
        missing(what);
    }
    path
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The gateway beside the runner, or where cargo puts it by default.
fn gateway(runner: &str) -> Option<PathBuf> {
    let beside = Path::new(runner).with_file_name("sallyport");
    let default = root().join("target/debug/sallyport");
    found("the gateway's binary", [beside, default].into_iter().find(|path| path.exists()))
}

fn k6() -> Option<PathBuf> {
    let folders = std::fs::read_dir(root().join("target/tools")).into_iter().flatten().flatten();
    let binaries = folders.map(|folder| folder.path().join("bin/k6"));
    found("k6", binaries.into_iter().find(|path| path.exists()))
}

fn wrk() -> Option<PathBuf> {
    found("wrk", Some(PathBuf::from("/usr/bin/wrk")).filter(|path| path.exists()))
}

fn ran(command: &mut Command) -> (Output, String) {
    let output = command.current_dir(root()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output, text)
}

/// `scenarios --smoke` with these arguments; none where something is missing.
fn scenarios(arguments: &[&str], results: &TempDir) -> Option<(Output, String)> {
    let runner = env!("CARGO_BIN_EXE_scenarios");
    let (gateway, k6) = (gateway(runner)?, k6()?);
    let mut command = Command::new(runner);
    command.arg("--smoke").arg("--k6").arg(k6).arg("--sallyport").arg(gateway);
    Some(ran(command.arg("--results").arg(results.path()).args(arguments)))
}

/// The same of `wrk-load run --smoke`.
fn wrk_load(arguments: &[&str], results: &TempDir) -> Option<(Output, String)> {
    let runner = env!("CARGO_BIN_EXE_wrk-load");
    let (gateway, _) = (gateway(runner)?, wrk()?);
    let mut command = Command::new(runner);
    command.arg("run").arg("--smoke").arg("--sallyport").arg(gateway);
    Some(ran(command.arg("--results").arg(results.path()).args(arguments)))
}

#[test]
fn every_scenario_passes_and_leaves_a_page_with_plots() {
    let (_alone, results) = (alone(), tempfile::tempdir().unwrap());
    let Some((output, text)) = scenarios(&[], &results) else { return };
    assert_eq!(output.status.code(), Some(0), "{text}");
    for name in ["steady", "ramp", "spike", "soak", "reload", "canary", "consistent", "websocket"] {
        let json = std::fs::read_to_string(results.path().join(format!("{name}.json"))).unwrap();
        let report: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(report["verdict"]["outcome"], "pass", "{name}");
        assert!(report["seen"]["samples"].as_array().unwrap().len() > 5, "{name}");
        let page = std::fs::read_to_string(results.path().join(format!("{name}.html"))).unwrap();
        assert!(page.contains("application/json; charset=utf-8; gzip; base64"), "{name}");
        for fetched in ["src=\"http", "href=\"http", "url(http"] {
            assert!(!page.contains(fetched), "{name}.html asks the network for {fetched}");
        }
    }
}

#[test]
fn a_spoiled_stage_fails_a_scenario() {
    let (_alone, results) = (alone(), tempfile::tempdir().unwrap());
    let Some((output, text)) = scenarios(&["--spoil", "canary"], &results) else { return };
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("canary: FAIL"), "{text}");
}

#[test]
fn a_gateway_that_is_not_there_fails() {
    let (_alone, results) = (alone(), tempfile::tempdir().unwrap());
    let nobody = ["--target", "http://127.0.0.1:9", "steady"];
    let Some((output, text)) = scenarios(&nobody, &results) else { return };
    assert_eq!(output.status.code(), Some(1), "{text}");
}

#[test]
fn every_wrk_script_passes() {
    let (_alone, results) = (alone(), tempfile::tempdir().unwrap());
    let Some((output, text)) = wrk_load(&[], &results) else { return };
    assert_eq!(output.status.code(), Some(0), "{text}");
    for name in ["one-path", "table", "bodies", "pipelined", "connection-per-request"] {
        let json = std::fs::read_to_string(results.path().join(format!("{name}.json"))).unwrap();
        let report: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(report["outcome"]["answers"].as_u64().unwrap() > 0, "{name}");
    }
}

#[test]
fn a_spoiled_scene_fails_a_wrk_script() {
    let (_alone, results) = (alone(), tempfile::tempdir().unwrap());
    let Some((output, text)) = wrk_load(&["--spoil", "table"], &results) else { return };
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("table: FAIL"), "{text}");
}
