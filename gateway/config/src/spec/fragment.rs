//! What a source of configuration besides the file may say.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Certificate, Listener, Upstream, VirtualHost};

/// The part of a configuration that one source other than the file owns: what there may be many of.
///
/// A virtual host that one of the source's own listeners names is served there and nowhere else.
/// All others are served by the file's listeners that name none.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Fragment {
    /// Its listeners. Each names its `virtual_hosts`.
    pub listeners: Vec<Listener>,
    /// Certificates of the file's listeners that speak TLS and name no virtual hosts.
    pub certificates: Vec<Certificate>,
    /// Its groups of endpoints.
    pub upstreams: Vec<Upstream>,
    /// Its domains and their routes.
    pub virtual_hosts: Vec<VirtualHost>,
}

impl Fragment {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listeners.is_empty()
            && self.certificates.is_empty()
            && self.upstreams.is_empty()
            && self.virtual_hosts.is_empty()
    }
}
