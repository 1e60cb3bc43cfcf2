//! Tells the crate which commit it is built from.
//!
//! Only for releases: a development build is not made anew for every commit, and a commit that is not
//! the right one is worse than none.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SALLYPORT_BUILD_COMMIT");
    let profile = std::env::var("PROFILE").unwrap_or_default();
    // A package is built outside of a checkout, and says what it is built from.
    let given = std::env::var("SALLYPORT_BUILD_COMMIT").ok();
    let commit = given.or_else(|| (profile == "release").then(commit).flatten());
    println!("cargo::rustc-env=SALLYPORT_COMMIT={}", commit.as_deref().unwrap_or_default());
    let shown = commit.as_deref().unwrap_or("unknown, a development build");
    println!("cargo::rustc-env=SALLYPORT_COMMIT_SHOWN={shown}");
    println!("cargo::rustc-env=SALLYPORT_PROFILE={profile}");
    println!("cargo::rustc-env=SALLYPORT_FEATURES={}", features());
}

/// What is built in, in the order of the alphabet: what every build has, and what cargo was asked for.
fn features() -> String {
    let has = |feature: &&str| {
        std::env::var_os(format!("CARGO_FEATURE_{}", feature.to_uppercase())).is_some()
    };
    let chosen = ["kubernetes", "wasm", "xds"].into_iter().filter(has);
    let mut all: Vec<&str> = ["http1", "http2", "push", "tls"].into_iter().chain(chosen).collect();
    all.sort_unstable();
    all.join(",")
}

/// The commit that is checked out.
fn commit() -> Option<String> {
    let folder = git(&["rev-parse", "--absolute-git-dir"])?;
    let common = git(&["rev-parse", "--path-format=absolute", "--git-common-dir"])?;
    println!("cargo::rerun-if-changed={}", Path::new(&folder).join("HEAD").display());
    // Where the branch's commit is written, in a file of its own or among the packed ones.
    let branch = git(&["symbolic-ref", "-q", "HEAD"]).unwrap_or_default();
    for file in [branch.as_str(), "packed-refs"] {
        let path = Path::new(&common).join(file);
        if path.is_file() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| said.trim().to_owned())
}
