//! What this binary is: its version, the commit it was built from, and what was built in.

/// The version of the workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit, where a release was built in a checkout; empty otherwise, since a development build goes
/// on across commits.
pub const COMMIT: &str = env!("SALLYPORT_COMMIT");

/// What is built in.
pub const FEATURES: &str = env!("SALLYPORT_FEATURES");

/// As `--version` says it: version, commit, profile and features, a line each.
pub const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit: ",
    env!("SALLYPORT_COMMIT_SHOWN"),
    "\nprofile: ",
    env!("SALLYPORT_PROFILE"),
    "\nfeatures: ",
    env!("SALLYPORT_FEATURES"),
);
