//! Turns connections of sources under a verdict away, before TLS and before anything is read.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::listeners::ConnectionFilter;

use super::Verdicts;

/// Asked for every connection that was accepted.
#[derive(Debug)]
pub struct Door {
    verdicts: Arc<Verdicts>,
}

impl Door {
    /// A door that lets in whoever is not under one of `verdicts`.
    #[must_use]
    pub fn new(verdicts: Arc<Verdicts>) -> Self {
        Self { verdicts }
    }
}

#[async_trait]
impl ConnectionFilter for Door {
    async fn should_accept(&self, peer: Option<&SocketAddr>) -> bool {
        let refused = peer.is_some_and(|peer| self.verdicts.holds(peer.ip()));
        if refused {
            self.verdicts.refuse_connection();
        }
        !refused
    }
}
