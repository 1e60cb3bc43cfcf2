//! Embeds the XDP program, where one was built.
//!
//! The program needs another compiler and target, so it is built apart (`make classifier`) and a plain
//! `cargo build` works without it: then nothing is embedded, and `run` says so. Where a loader is built to
//! be used, `SALLYPORT_REQUIRE_XDP` makes its absence an error.

use std::env;
use std::fs;
use std::path::PathBuf;

/// The variable that names an object built elsewhere.
const VARIABLE: &str = "SALLYPORT_XDP_OBJECT";

/// The variable that says that there must be one.
const REQUIRED: &str = "SALLYPORT_REQUIRE_XDP";

/// Where `make classifier` puts it, seen from this crate.
const BUILT: &str = "../target/bpf/bpfel-unknown-none/release/classifier-xdp";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    println!("cargo::rerun-if-env-changed={REQUIRED}");
    let named = env::var_os(VARIABLE).map(PathBuf::from);
    let built = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join(BUILT);
    let source = named.unwrap_or(built);
    println!("cargo::rerun-if-changed={}", source.display());
    let target = PathBuf::from(env::var("OUT_DIR")?).join("classifier-xdp");
    if source.exists() {
        fs::copy(&source, &target)?;
    } else if env::var_os(REQUIRED).is_some() || env::var_os(VARIABLE).is_some() {
        let path = source.display();
        return Err(format!("the XDP program is not at {path}: `make xdp` builds it").into());
    } else {
        fs::write(&target, [])?;
    }
    Ok(())
}
