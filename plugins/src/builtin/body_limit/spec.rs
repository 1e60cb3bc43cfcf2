//! What may be set of `body_limit`.

use sallyport_config::schema::JsonSchema;
use sallyport_config::spec::scalar::Bytes;
use serde::{Deserialize, Serialize};

/// Refuses requests with long bodies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BodyLimitSpec {
    /// The most that a body may have; more is answered with 413.
    pub bytes: Bytes<0, 1_099_511_627_776>,
}
