//! `admin`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::{AdminAddress, FileMode, HostName, Name};
use crate::schema::needs;

/// The admin listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = needs("read_token_file", "token_file"))]
pub struct Admin {
    /// Where it listens: IP:PORT, or unix:PATH. Other addresses than loopback need a `token_file`.
    pub address: AdminAddress,
    /// Who may connect to a Unix socket, as a mode of files: "0660" by default.
    pub mode: Option<FileMode>,
    /// The names, besides addresses and `localhost`, that requests may be for.
    #[serde(default)]
    pub hosts: Vec<HostName>,
    /// The file of the token that a request must show. None by default.
    pub token_file: Option<Name>,
    /// The file of the token that a request which only reads may show instead.
    pub read_token_file: Option<Name>,
}
