//! What may be set of `api_key`.

use sallyport_config::schema::JsonSchema;
use sallyport_config::schema::at_most_one;
use sallyport_config::spec::scalar::{HeaderName, Name};
use serde::{Deserialize, Serialize};

/// Lets requests in that bring a key of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = at_most_one(&["header", "query"]))]
pub struct ApiKeySpec {
    /// The file with a `name:sha256` on each line. Watched.
    pub file: Name,
    /// The field that holds the key: `x-api-key` by default.
    pub header: Option<HeaderName>,
    /// The parameter of the query that holds the key, in place of a field.
    pub query: Option<Name>,
    /// Whether the key goes on to the origin.
    #[serde(default)]
    pub pass: bool,
    /// The field that tells the origin whose key it was.
    #[serde(default = "consumer_header")]
    pub consumer_header: HeaderName,
    /// Whether requests are counted by consumer.
    #[serde(default)]
    pub label: bool,
}

fn consumer_header() -> HeaderName {
    HeaderName("x-consumer".into())
}
