//! Finds the descriptors of Envoy's API, which the package `envoy-types` ships beside its types and
//! does not export.
//!
//! Cargo is asked where the package lies, so that a vendored, a patched and a downloaded one are
//! all found, and always in the version whose types are linked.

use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGE: &str = "envoy-types";

/// Where the package keeps them.
const DESCRIPTORS: &str = "src/generated/types.bin";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../../Cargo.lock");
    match folder().map(|folder| folder.join(DESCRIPTORS)) {
        Ok(path) if path.is_file() => {
            println!("cargo::rerun-if-changed={}", path.display());
            println!("cargo::rustc-env=ENVOY_DESCRIPTORS={}", path.display());
        }
        Ok(path) => println!("cargo::error={} is not there", path.display()),
        Err(error) => println!("cargo::error=cannot find the package {PACKAGE}: {error}"),
    }
}

/// The folder of the package.
fn folder() -> Result<PathBuf, String> {
    let variable = |name: &str| std::env::var(name).map_err(|error| format!("{name}: {error}"));
    let manifest = Path::new(&variable("CARGO_MANIFEST_DIR")?).join("Cargo.toml");
    let output = Command::new(variable("CARGO")?)
        .args(["metadata", "--offline", "--locked", "--format-version", "1"])
        .args(["--filter-platform", &variable("TARGET")?])
        .arg("--manifest-path")
        .arg(manifest)
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let packages = metadata["packages"].as_array().ok_or("cargo names no packages")?;
    let package = packages.iter().find(|package| package["name"] == PACKAGE);
    let manifest = package.and_then(|package| package["manifest_path"].as_str());
    let folder = manifest.and_then(|manifest| Path::new(manifest).parent());
    folder.map(Path::to_path_buf).ok_or_else(|| "cargo does not know it".to_owned())
}
