//! The gateway as its users meet it: the real binary, on ports of its own choosing.
//!
//! One file an intent. `support` starts and ends what the tests need; nothing in here sleeps for a
//! condition that can be waited for.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "suite/support.rs"]
mod support;

#[path = "suite/admin.rs"]
mod admin;
#[path = "suite/balancing.rs"]
mod balancing;
#[path = "suite/command_line.rs"]
mod command_line;
#[path = "suite/configuration.rs"]
mod configuration;
#[path = "suite/conformance.rs"]
mod conformance;
#[path = "suite/connections.rs"]
mod connections;
#[path = "suite/drain.rs"]
mod drain;
#[path = "suite/engine.rs"]
mod engine;
#[path = "suite/filters.rs"]
mod filters;
#[path = "suite/fuzz.rs"]
mod fuzz;
#[path = "suite/gateway_api.rs"]
mod gateway_api;
#[path = "suite/grpc.rs"]
mod grpc;
#[path = "suite/guests.rs"]
mod guests;
#[path = "suite/hints.rs"]
mod hints;
#[path = "suite/http2.rs"]
mod http2;
#[cfg(feature = "kubernetes")]
#[path = "suite/kubernetes.rs"]
mod kubernetes;
#[path = "suite/logs.rs"]
mod logs;
#[path = "suite/operating.rs"]
mod operating;
#[path = "suite/origins.rs"]
mod origins;
#[path = "suite/proxying.rs"]
mod proxying;
#[path = "suite/push.rs"]
mod push;
#[path = "suite/reload.rs"]
mod reload;
#[path = "suite/resilience.rs"]
mod resilience;
#[path = "suite/responses.rs"]
mod responses;
#[path = "suite/security.rs"]
mod security;
#[path = "suite/shared_limits.rs"]
mod shared_limits;
#[path = "suite/statistics.rs"]
mod statistics;
#[path = "suite/systemd.rs"]
mod systemd;
#[path = "suite/tls.rs"]
mod tls;
#[path = "suite/tracing.rs"]
mod tracing;
#[path = "suite/tunnels.rs"]
mod tunnels;
#[path = "suite/upgrade.rs"]
mod upgrade;
#[path = "suite/verdicts.rs"]
mod verdicts;
#[cfg(feature = "xds")]
#[path = "suite/xds.rs"]
mod xds;
