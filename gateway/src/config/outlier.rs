//! When an endpoint is left out for what requests find, and how it comes back.

use std::time::Duration;

use super::admission::{Queue, UpstreamLimits};
use super::bandwidth::Bandwidth;
use super::sticky::Sticky;

/// What makes an endpoint an outlier among the others of its upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlierDetection {
    /// Errors in a row: answers of 5xx, answers that are late, connections that break or cannot be made.
    pub consecutive_errors: u32,
    /// Percent of the upstream's mean success rate below which an endpoint's own is too low, if that counts.
    pub success_rate: Option<u8>,
    /// How long an endpoint is left out the first time; as much longer each time after.
    pub base_ejection: Duration,
    /// Percent of the endpoints that may be left out at once; at least one may.
    pub max_ejected: u8,
}

impl Default for OutlierDetection {
    /// Envoy's numbers, but for the share: half of the endpoints could not take the whole load anyway.
    fn default() -> Self {
        Self {
            consecutive_errors: 5,
            success_rate: None,
            base_ejection: Duration::from_secs(30),
            max_ejected: 50,
        }
    }
}

/// How an upstream bears endpoints that fail and requests that are too many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resilience {
    /// What leaves endpoints out; where there is nothing, only connections that fail do.
    pub outlier_detection: Option<OutlierDetection>,
    /// How long the share of an endpoint grows that is new or back.
    pub slow_start: Option<Duration>,
    /// What it takes at once.
    pub limits: Option<UpstreamLimits>,
    /// What waits when it takes no more.
    pub queue: Option<Queue>,
    /// What keeps a client at its endpoint.
    pub sticky: Option<Sticky>,
    /// How much of bodies passes.
    pub bandwidth: Option<Bandwidth>,
}
