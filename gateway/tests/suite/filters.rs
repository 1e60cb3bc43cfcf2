//! Filters through the whole gateway: every example of the documentation with the requests beside it,
//! every configuration that must be refused, and what is the chain's rather than a filter's.

#[path = "filters/access_log.rs"]
mod access_log;
#[path = "filters/auth.rs"]
mod auth;
#[path = "filters/bounds.rs"]
mod bounds;
#[path = "filters/chain.rs"]
mod chain;
#[path = "filters/contract.rs"]
mod contract;
#[path = "filters/examples.rs"]
mod examples;
