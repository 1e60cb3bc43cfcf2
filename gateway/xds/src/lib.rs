//! Envoy's configuration as a source of Sallyport's.

mod descriptors;
mod fields;
mod findings;
mod output;
mod resources;

pub use findings::{Finding, Findings, Outcome, Report};
pub use resources::{Resource, ResourceKind, Resources};
