//! Kinds of this gateway's own.

use serde::Deserialize;
use serde_json::Value;

use super::kinds;

kinds! {
    ExtensionFilter: "sallyport.dev", "v1alpha1", "SallyportFilter", "sallyportfilters",
        OPTIONAL = true, HAS_STATUS = true;
    ExtensionPolicy: "sallyport.dev", "v1alpha1", "SallyportPolicy", "sallyportpolicies",
        OPTIONAL = true, HAS_STATUS = true;
}

/// A filter as an entry of `filters` in a file has it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub(crate) struct ExtensionFilter(pub(crate) Value);

/// What is asked of the objects that it is attached to. It is read with care later, so that one that
/// cannot be read is told in its status.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub(crate) struct ExtensionPolicy(pub(crate) Value);

/// An object that a policy is attached to, in the policy's namespace.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyTargetRef {
    #[serde(default)]
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) name: String,
}
