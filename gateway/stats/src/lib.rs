//! Per-route and per-endpoint statistics: sharded cells, latency histograms and the Prometheus
//! text a scrape is answered with.
//!
//! Counting must not be felt by what is counted. Each worker adds to cells of its own, which lie
//! on cache lines of their own; nothing is locked or allocated while a request is recorded, and
//! the work of summing is left to the scrape. The crate knows nothing of Pingora, of threads' life
//! or of configuration files: it is given names, and hands back one handle for each.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use sallyport_stats::{CodeClass, Registry};
//!
//! let registry = Registry::new(2);
//! let routes = registry.routes(&[(Arc::from("shop"), Arc::from("checkout"))]);
//! routes[0].begin();
//! routes[0].finish(200, None, Duration::from_millis(3));
//! assert_eq!(routes[0].snapshot().requests(CodeClass::Success), 1);
//! assert!(registry.render().contains("sallyport_route_requests_total"));
//! ```
//!
//! A scrape reads: none of this opens a socket, starts a thread or asks for the time. What does is
//! behind the feature `push`, in a module of its own that needs nothing of the rest.

mod attempts;
mod bandwidth;
mod classifier;
mod config;
mod connection;
mod discovery;
mod engine;
mod exemplar;
mod exposition;
pub mod histogram;
mod http2;
mod outcome;
mod passthrough;
mod process;
#[cfg(feature = "push")]
pub mod push;
mod queue;
mod registry;
mod route;
mod sheet;
mod status_codes;
mod table;
mod tls;
mod tracing;
mod trailers;
mod upstream;
mod verdict;
pub mod worker;

pub use attempts::{AttemptStats, Limited, Mirrored, RETRY_STATUSES, RetryReason};
pub use bandwidth::{BandwidthOf, BandwidthStats, BandwidthWait, Direction};
pub use classifier::{ClassifierStats, HintStats};
pub use connection::{ConnectionRefusal, ConnectionStats};
pub use discovery::{DiscoveryFailure, DiscoveryStats};
pub use engine::ServedBy;
pub use exemplar::{Exemplar, Exemplars};
pub use exposition::{Format, build_info};
pub use http2::{Http2Closed, Http2Stats};
pub use outcome::{CodeClass, ErrorKind};
pub use passthrough::{PassthroughResult, PassthroughStats};
pub use process::ProcessFigures;
pub use queue::{QueueRejection, QueueStats, QueueWait};
pub use registry::{HealthSink, Registry};
pub use route::{RouteSnapshot, RouteStats, RouteTotals};
pub use tls::{CertificateExpiry, Issuance, TlsHandshake, TlsStats};
pub use tracing::{SpanLoss, TracingFigures};
pub use upstream::{EjectionReason, EndpointSnapshot, EndpointStats};
pub use verdict::VerdictStats;
