//! `verdicts`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::{Duration, Int, Network};

/// Which sources are shut out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verdicts {
    /// How many at once; more are refused and counted.
    #[serde(default = "max")]
    pub max: Int<1, 1_000_000>,
    /// Networks that never are.
    #[serde(default)]
    pub exempt: Vec<Network>,
    /// How much of an IPv6 address a verdict is on, in bits: what one customer has at least.
    #[serde(default = "ipv6_prefix")]
    pub ipv6_prefix: Int<32, 128>,
    /// What earns a verdict.
    #[schemars(length(max = 8))]
    pub rules: Vec<VerdictRule>,
}

fn max() -> Int<1, 1_000_000> {
    Int(10_000)
}

/// RFC 6177.
fn ipv6_prefix() -> Int<32, 128> {
    Int(64)
}

/// More than `more_than` offences `within` a time earn a verdict that lasts `for` a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerdictRule {
    /// What is counted.
    pub on: Offence,
    /// How many are still borne.
    pub more_than: Int<1, 1_000_000>,
    /// The time they are counted in.
    pub within: Duration,
    /// How long the verdict holds.
    #[serde(rename = "for")]
    pub lasting: Duration,
}

/// What a source does that may earn it a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is nothing to count"))]
pub enum Offence {
    /// Its requests are answered with a 4xx status, whoever answers.
    #[serde(rename = "4xx")]
    ClientError,
    /// Its requests break the protocol or do not arrive in time.
    Refused,
    /// Its requests are over a limit.
    Limit,
}
