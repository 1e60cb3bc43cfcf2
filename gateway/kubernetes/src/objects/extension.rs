//! Kinds of this gateway's own.

use serde::Deserialize;
use serde_json::Value;

use super::kinds;

kinds! {
    ExtensionFilter: "sallyport.dev", "v1alpha1", "SallyportFilter", "sallyportfilters",
        OPTIONAL = true, HAS_STATUS = true;
}

/// A filter as an entry of `filters` in a file has it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub(crate) struct ExtensionFilter(pub(crate) Value);
