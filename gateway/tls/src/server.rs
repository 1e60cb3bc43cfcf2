//! What a listener answers handshakes with.

use std::sync::Arc;

use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ServerConfig, SupportedProtocolVersion};

use crate::certificates::Certificates;
use crate::client::{ClientAuth, RulesId};
use crate::tickets::Tickets;

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl MinVersion {
    fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        static TLS13: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
        match self {
            Self::Tls12 => rustls::ALL_VERSIONS,
            Self::Tls13 => &TLS13,
        }
    }
}

/// What a listener's TLS is made of.
#[derive(Debug)]
pub struct ServerSpec<'a> {
    /// The certificates.
    pub certificates: Arc<Certificates>,
    /// The protocols that clients may choose (ALPN), the preferred one first.
    pub alpn: Vec<Vec<u8>>,
    /// The oldest version of TLS.
    pub min_version: MinVersion,
    /// The rules for client certificates that may apply, by position; `None` asks for none.
    pub rules: Vec<Option<Arc<ClientAuth>>>,
    /// The keys for session tickets.
    pub tickets: &'a Tickets,
}

/// A listener's TLS, ready for handshakes: one rustls configuration for each set of rules.
#[derive(Debug)]
pub struct ServerTls {
    certificates: Arc<Certificates>,
    configs: Vec<(RulesId, Arc<ServerConfig>)>,
}

impl ServerTls {
    /// Builds it once for a configuration of the gateway.
    ///
    /// # Errors
    /// If the system has no random numbers, or the provider lacks a version.
    pub fn build(spec: &ServerSpec<'_>) -> Result<Self, rustls::Error> {
        let configs = spec.rules.iter().map(|rules| {
            let id = rules.as_ref().map_or_else(RulesId::default, |rules| rules.id());
            Ok((id, Arc::new(config(spec, rules.as_deref(), id)?)))
        });
        let configs = configs.collect::<Result<_, rustls::Error>>()?;
        Ok(Self { certificates: spec.certificates.clone(), configs })
    }

    /// The certificates.
    #[must_use]
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// The rustls configuration with the rules at `position`, and their identity.
    #[must_use]
    pub fn config(&self, position: usize) -> Option<(RulesId, &Arc<ServerConfig>)> {
        self.configs.get(position).map(|(id, config)| (*id, config))
    }
}

fn config(
    spec: &ServerSpec<'_>,
    rules: Option<&ClientAuth>,
    id: RulesId,
) -> Result<ServerConfig, rustls::Error> {
    let verifier = match rules {
        Some(rules) => rules.verifier(),
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let mut config = ServerConfig::builder_with_provider(crate::provider())
        .with_protocol_versions(spec.min_version.versions())?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(spec.certificates.clone());
    config.alpn_protocols.clone_from(&spec.alpn);
    // Sessions are in the tickets: nothing that a client could fill is kept here.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = spec.tickets.of(id)?;
    Ok(config)
}
