//! What may be set of `basic_auth`.

use sallyport_config::schema::JsonSchema;
use sallyport_config::spec::scalar::{HeaderName, Int, Name};
use serde::{Deserialize, Serialize};

/// Lets requests in with a name and password of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuthSpec {
    /// The file with a `name:hash` on each line. Watched.
    pub file: Name,
    /// What browsers show of what the password is for.
    #[schemars(regex(pattern = r#"^[ !#-\[\]-~]+$"#))]
    pub realm: Name,
    /// The field that tells the origin the name. None by default.
    pub user_header: Option<HeaderName>,
    /// Whether `Authorization` goes on to the origin.
    #[serde(default)]
    pub forward: bool,
    /// Passwords that are checked at once. One for each worker by default.
    pub at_once: Option<Int<1, 64>>,
    /// Requests that may wait for their password to be checked.
    #[serde(default = "queue")]
    pub queue: Int<1, 10_000>,
}

/// At 50 ms each and one at once, the last waits for three seconds.
fn queue() -> Int<1, 10_000> {
    Int(64)
}
