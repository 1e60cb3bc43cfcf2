//! What a policy of a cluster may say: keys of upstreams, routes and listeners, to be attached to
//! objects that have no place for them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bandwidth::Bandwidth;
use super::filter::FilterEntry;
use super::resilience::{OutlierDetection, Queue, Retry, UpstreamLimits};
use super::scalar::Duration;
use super::tls::ClientCertificates;
use super::upstream::{HealthCheck, LoadBalancing, UpstreamTimeouts};

/// What is asked of an object that a policy is attached to. Each key means what it does in the
/// gateway's file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// How an endpoint is chosen. For Services.
    pub load_balancing: Option<LoadBalancing>,
    /// How long to wait for an endpoint. For Services.
    pub timeouts: Option<UpstreamTimeouts>,
    /// Whether and how endpoints are probed. For Services.
    pub health_check: Option<HealthCheck>,
    /// Which endpoints are set aside, and for how long. For Services.
    pub outlier_detection: Option<OutlierDetection>,
    /// How long an endpoint takes less than its share after it came back. For Services.
    pub slow_start: Option<Duration>,
    /// What is taken of one gateway at once. For Services.
    pub limits: Option<UpstreamLimits>,
    /// How requests over `limits.requests` wait. For Services.
    pub queue: Option<Queue>,
    /// How much of bodies passes in a second. For Services.
    pub bandwidth: Option<Bandwidth>,
    /// When a request is sent again, where the rule says nothing. For routes.
    pub retry: Option<Retry>,
    /// What is asked of clients by all listeners that terminate TLS. For Gateways.
    pub client_certificates: Option<ClientCertificates>,
    /// Filters of all requests, such as `rate_limit`. For routes, before those of a rule, and for
    /// Gateways.
    pub filters: Vec<FilterEntry>,
}

/// The kinds of objects that a key of a policy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyTarget {
    /// Services.
    Service,
    /// HTTPRoutes and GRPCRoutes.
    Route,
    /// Gateways.
    Gateway,
}

impl Policy {
    /// The keys that are written, each with what it is for.
    #[must_use]
    pub fn written(&self) -> Vec<(&'static str, &'static [PolicyTarget])> {
        const SERVICE: &[PolicyTarget] = &[PolicyTarget::Service];
        let keys: [(_, _, &[PolicyTarget]); 11] = [
            ("load_balancing", self.load_balancing.is_some(), SERVICE),
            ("timeouts", self.timeouts.is_some(), SERVICE),
            ("health_check", self.health_check.is_some(), SERVICE),
            ("outlier_detection", self.outlier_detection.is_some(), SERVICE),
            ("slow_start", self.slow_start.is_some(), SERVICE),
            ("limits", self.limits.is_some(), SERVICE),
            ("queue", self.queue.is_some(), SERVICE),
            ("bandwidth", self.bandwidth.is_some(), SERVICE),
            ("retry", self.retry.is_some(), &[PolicyTarget::Route]),
            ("client_certificates", self.client_certificates.is_some(), &[PolicyTarget::Gateway]),
            ("filters", !self.filters.is_empty(), &[PolicyTarget::Route, PolicyTarget::Gateway]),
        ];
        keys.into_iter()
            .filter(|(_, is_written, _)| *is_written)
            .map(|(key, _, of)| (key, of))
            .collect()
    }
}
