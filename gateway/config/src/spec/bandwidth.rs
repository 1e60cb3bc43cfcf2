//! `bandwidth` of a route or an upstream.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::resilience::TenantHint;
use super::scalar::{BitRate, Bytes, HeaderName, Int};
use crate::entries::Entries;

/// How much of bodies passes in a second, and who shares it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bandwidth {
    /// What passes in each of both directions, all requests together.
    pub rate: BitRate,
    /// What tells classes apart, which share it.
    #[serde(default)]
    pub by: ClassBy,
    /// The weights of classes by their names; others have 1.
    #[schemars(extend("maxProperties" = 1_000))]
    pub weights: Option<Entries<Int<1, 65_535>>>,
    /// What passes at once after a time in which less passed. As much as passes in 50ms by default,
    /// and at least 64KiB.
    pub burst: Option<Bytes<0, 1_073_741_824>>,
}

/// What tells the classes of a `bandwidth` apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is nothing to tell classes apart by"))]
pub enum ClassBy {
    /// The client's address.
    #[default]
    Source,
    /// The route.
    Route,
    /// What the `queue` of the request's upstream tells tenants apart by, with its weights.
    Tenant,
    /// The name that the client asked for when TLS began (SNI).
    Tls,
    /// The value of a header field.
    Header(HeaderName),
    /// What the classifier says.
    Hint(TenantHint),
}
