//! A loader that is built to be used has its program.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::path::Path;
use std::process::{Command, Output};

/// The build script by itself, with these variables.
fn build(folder: &Path, variables: &[(&str, &str)]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs");
    let binary = folder.join("build");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let compiled = Command::new(rustc)
        .args(["--edition", "2024", "-o"])
        .args([&binary, &script])
        .status()
        .unwrap();
    assert!(compiled.success());
    Command::new(binary)
        .env_remove("SALLYPORT_XDP_OBJECT")
        .env_remove("SALLYPORT_REQUIRE_XDP")
        .env("OUT_DIR", folder)
        // A place of a crate beside which no program was built.
        .env("CARGO_MANIFEST_DIR", folder.join("crate"))
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn a_loader_without_its_program_is_not_built_where_it_is_to_be_used() {
    let folder = tempfile::tempdir().unwrap();
    assert!(build(folder.path(), &[]).status.success(), "a plain build does without");
    for variables in
        [[("SALLYPORT_REQUIRE_XDP", "1")], [("SALLYPORT_XDP_OBJECT", "/nowhere/classifier-xdp")]]
    {
        let refused = build(folder.path(), &variables);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("make xdp"), "{variables:?}: {said}");
    }
}
