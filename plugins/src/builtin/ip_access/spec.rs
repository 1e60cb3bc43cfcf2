//! What may be set of `ip_access`.

use sallyport_config::schema::JsonSchema;
use sallyport_config::schema::at_least_one;
use sallyport_config::spec::scalar::{Name, Network};
use serde::{Deserialize, Serialize};

/// Lets clients in by where they are. The longest prefix decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = at_least_one(&IpAccessSpec::LISTS))]
pub struct IpAccessSpec {
    /// Networks that are let in.
    #[schemars(length(max = 100_000))]
    pub allow: Option<Vec<Network>>,
    /// Networks that are not.
    #[schemars(length(max = 100_000))]
    pub deny: Option<Vec<Network>>,
    /// Networks of the classifier that are let in.
    #[schemars(length(max = 100))]
    pub allow_networks: Option<Vec<Name>>,
    /// Networks of the classifier that are not.
    #[schemars(length(max = 100))]
    pub deny_networks: Option<Vec<Name>>,
    /// Screens of the classifier: who tripped one is not let in.
    #[schemars(length(max = 100))]
    pub deny_screens: Option<Vec<Name>>,
    /// What becomes of all others. They are let in unless a list says who is.
    pub default: Option<Access>,
}

impl IpAccessSpec {
    /// The keys of which at least one is written.
    pub const LISTS: [&'static str; 5] =
        ["allow", "deny", "allow_networks", "deny_networks", "deny_screens"];
}

/// Whether somebody is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// They are.
    Allow,
    /// They are not: 403.
    Deny,
}
