//! What `tracing` says.

pub use sallyport_config::spec::Trust;
use sallyport_stats::push::otlp::TraceReceiver;

use crate::trace::context::Sample;

/// Which requests are traced, and where their spans go.
#[derive(Clone, Debug)]
pub struct Tracing {
    /// Where spans are sent.
    pub receiver: TraceReceiver,
    /// Attributes of the resource.
    pub resource: Vec<(String, String)>,
    /// The share of requests that are recorded where the caller has not decided.
    pub sample: Sample,
    /// Whose trace context is taken.
    pub trust: Trust,
    /// Requests whose spans may wait.
    pub queue: usize,
}
