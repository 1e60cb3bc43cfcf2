//! Sallyport, an edge gateway: routes, balances, reloads and counts.
//!
//! The binary in `main.rs` is a command line over this library. The path of a configuration is
//! [`config`] → [`snapshot`] → [`live`], put in force by [`reload`]; the path of a request is
//! [`accept`] → [`connection`] → [`proxy`] → [`upstream`]. What decides and balances lives in crates of its own,
//! `sallyport-route` and `sallyport-balance`, and what counts in `sallyport-stats`.

pub mod accept;
pub mod acme;
pub mod admin;
pub mod build;
pub mod classifier;
pub mod cli;
pub mod config;
pub mod connection;
pub mod decide;
pub mod descriptors;
pub mod drain;
pub mod engine;
pub mod expiry;
pub mod explain;
pub mod filters;
pub mod live;
pub mod origin;
pub mod process;
pub mod proxy;
pub mod push;
pub mod reload;
pub mod server;
pub mod service;
pub mod shaping;
pub mod snapshot;
pub mod sources;
mod timers;
pub mod trace;
pub mod tunnel;
pub mod turns;
pub mod upgrade;
pub mod upstream;
pub mod verdicts;
pub mod workers;
