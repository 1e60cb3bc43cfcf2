//! What a listener shows its clients, and what it asks of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sallyport_tls::{
    AcmeAccount, ClientAuth, DnsPattern, MinVersion, NamePattern, Pair, SignatureAlgorithm,
};

use super::model::Target;

/// The TLS of one listener.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificates. The first is the default. Empty only where all is passed on.
    pub certificates: Vec<Certificate>,
    /// What is passed on without being terminated.
    pub passthrough: Vec<Passthrough>,
    /// Whether clients that ask for another name are refused.
    pub refuses_others: bool,
    /// The oldest version that is spoken.
    pub min_version: MinVersion,
    /// What is asked of clients, where their virtual host says nothing else.
    pub clients: Option<Arc<ClientAuth>>,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// Handshakes under way at most.
    pub max_handshakes: u64,
    /// Whether clients' certificates are sent upstream (RFC 9440).
    pub forward_client_certificate: bool,
}

/// Where connections for some names go, without being terminated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passthrough {
    /// The names.
    pub names: Vec<NamePattern>,
    /// The upstreams and their shares; one of them has a weight above 0.
    pub targets: Vec<Target>,
}

/// A certificate of a listener.
#[derive(Clone, Debug)]
pub enum Certificate {
    /// It is in files.
    Files {
        /// The file of the certificate.
        path: PathBuf,
        /// What the files hold.
        pair: Arc<Pair>,
    },
    /// An authority issues it.
    Acme {
        /// The account with the authority.
        account: Arc<AcmeAccount>,
        /// What it is for.
        domains: Vec<String>,
        /// The one that was issued last, if it is for these domains.
        pair: Option<Arc<Pair>>,
    },
    /// The gateway makes it, and nobody vouches for it.
    SelfSigned {
        /// What it is for.
        domains: Vec<String>,
    },
}

impl Certificate {
    /// The names that it is for.
    #[must_use]
    pub fn names(&self) -> Vec<DnsPattern> {
        match self {
            Self::Files { pair, .. } => pair.names.clone(),
            Self::SelfSigned { domains } | Self::Acme { domains, .. } => {
                domains.iter().filter_map(|domain| DnsPattern::parse(domain)).collect()
            }
        }
    }

    /// The algorithm of its key, which the gateway chooses where it makes one.
    #[must_use]
    pub fn algorithm(&self) -> SignatureAlgorithm {
        match self {
            Self::Files { pair, .. } => pair.algorithm(),
            Self::SelfSigned { .. } | Self::Acme { .. } => SignatureAlgorithm::ECDSA,
        }
    }
}
