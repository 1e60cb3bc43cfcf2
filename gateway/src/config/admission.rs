//! How much an upstream takes at once, and who waits for it.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::time::Duration;

use http::HeaderName;

use super::model::HintField;

/// The limits of one upstream; what is `None` has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// Connections in use.
    pub connections: Option<u32>,
    /// Requests under way.
    pub requests: Option<u32>,
    /// Requests that wait for a connection.
    pub pending: Option<u32>,
}

/// Shares by tenant; 1 for those that are not there.
pub type TenantWeights = HashMap<Box<str>, NonZeroU16>;

/// The queue of the requests over [`UpstreamLimits::requests`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// What tells tenants apart.
    pub by: TenantBy,
    /// Shares by tenant; 1 for those that are not here.
    pub weights: TenantWeights,
    /// How long a request waits at most.
    pub deadline: Duration,
    /// How many wait at most.
    pub length: u32,
}

/// What tells the tenants of a queue apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantBy {
    /// The client's address.
    Source,
    /// The route, with its virtual host.
    Route,
    /// The value of a header field.
    Header(HeaderName),
    /// What the classifier says: network, zone or protocol.
    Hint(HintField),
    /// The name that the client asked for when TLS began (SNI).
    Tls,
}
