//! What may be set of `headers`.

use sallyport_config::Entries;
use sallyport_config::schema::JsonSchema;
use sallyport_config::schema::at_least_one;
use sallyport_config::spec::scalar::HeaderName;
use serde::{Deserialize, Serialize};

/// Changes of header fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = at_least_one(&["request", "response"]))]
pub struct HeadersSpec {
    /// Changes of the request, as it is sent upstream.
    pub request: Option<ChangesSpec>,
    /// Changes of the response, the gateway's own answers among them.
    pub response: Option<ChangesSpec>,
}

/// What is done to the fields of one message, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ChangesSpec {
    /// Fields to remove.
    pub remove: Vec<HeaderName>,
    /// Fields to write, in place of what the message has under that name. Values are templates.
    #[schemars(extend("maxProperties" = 100))]
    pub set: Entries<Box<str>>,
    /// Fields to add to those that the message has. Values are templates.
    #[schemars(extend("maxProperties" = 100))]
    pub add: Entries<Box<str>>,
}
