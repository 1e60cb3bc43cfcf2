//! What is counted of the sending of traces.

use prometheus::proto::MetricFamily;

use crate::exposition;

/// Why spans were not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanLoss {
    /// As many waited as may.
    QueueFull,
    /// The receiver did not want them.
    Refused,
    /// The receiver could not be reached, or did not answer in time.
    Failed,
    /// The gateway ended, or tracing was turned off, before they were sent.
    Ended,
}

impl SpanLoss {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::QueueFull, Self::Refused, Self::Failed, Self::Ended];

    /// Its value of the label `reason`.
    pub fn label(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Ended => "ended",
        }
    }
}

/// The sending of traces at one moment.
#[derive(Debug, Clone, Default)]
pub struct TracingFigures {
    /// Spans that the receiver took.
    pub exported: u64,
    /// Spans that it did not, by [`SpanLoss`].
    pub dropped: [u64; SpanLoss::ALL.len()],
    /// Requests to the receiver that failed.
    pub failures: u64,
    /// Spans that wait.
    pub waiting: u64,
}

impl TracingFigures {
    /// The families of `/metrics`.
    pub fn families(&self) -> Vec<MetricFamily> {
        exposition::tracing_families(self)
    }
}
