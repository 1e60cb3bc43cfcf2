//! Envoy's configuration as a source of Sallyport's.
//!
//! [`mod@file`] reads what Envoy reads and tells: a bootstrap, or a dump of what is in force.
//! [`translate`] turns its resources into the gateway's own declared configuration, and says of
//! each field whether it is taken, ignored or refused. Nothing here knows what becomes of that
//! configuration, nor of requests.

pub mod client;
mod descriptors;
mod fields;
pub mod file;
mod findings;
mod output;
mod references;
mod resources;
pub mod translate;

pub use findings::{Finding, Findings, Outcome, Report};
pub use resources::{Resource, ResourceKind, Resources};
