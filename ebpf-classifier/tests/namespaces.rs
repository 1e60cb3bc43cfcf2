//! The classifier and the gateway as their users meet them: both real binaries, a network between
//! them and their clients.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "support/net.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod net;
#[path = "support/program.rs"]
#[allow(dead_code, reason = "the packet table uses the rest")]
mod program;

#[path = "namespaces/edge.rs"]
mod edge;
#[path = "namespaces/hints.rs"]
mod hints;
#[path = "namespaces/lifecycle.rs"]
mod lifecycle;
#[path = "namespaces/privilege.rs"]
mod privilege;
#[path = "namespaces/verdicts.rs"]
mod verdicts;
