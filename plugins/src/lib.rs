//! What makes the gateway programmable: the filter contract, the filters that ship with it, and the
//! host for filters in WebAssembly.
//!
//! A filter is made once for each place that configures it ([`Kind`] reads its configuration), says
//! which phases of a request it takes part in ([`Filter::phases`]), and is called in those alone. The
//! filters of a listener, its virtual hosts and their routes are merged and compiled into one
//! [`Chain`] a route. What travels with a request from phase to phase is a [`Run`].
//!
//! The contract knows no configuration file but its own part of it, no socket and no server: what a
//! filter needs from the process around it is in [`Host`]. It deliberately has no phase before
//! routing: a filter belongs to a place in the configuration, and routing is what finds the place.

pub mod builtin;
mod chain;
mod exchange;
mod field_name;
mod filter;
mod host;
mod kind;
mod list;
pub mod template;
pub mod testing;
mod trace;
#[cfg(feature = "wasm")]
pub mod wasm;

pub use chain::{Chain, ConnectionLogs, Run, Step};
pub use exchange::{About, Exchange, Marks, Outcome, TlsAbout, VerdictAsked};
pub use filter::{Answer, Body, BoxFuture, Filter, Flow, Next, Phases, Stop, body_changes};
pub use host::{
    Call, CallError, Calls, GrpcCall, GrpcEvent, GrpcStatus, Host, Metrics, NoCalls, Reply, Shared,
};
pub use kind::{Kind, Kinds, Setting, UpstreamUse};
pub use list::{Counted, Entry, Instance, Instances, Reader, merge};
pub use trace::TraceContext;
