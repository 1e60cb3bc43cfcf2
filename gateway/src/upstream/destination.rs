//! What the engine's connections to an endpoint are made of: built once, with the set that the
//! endpoint is in.
//!
//! The counterpart of `peer.rs`, which says the same to Pingora. How an origin proves who it is
//! belongs to the upstream: its connections share one configuration of TLS, so that sessions are
//! resumed whatever authority or certificate of our own it names.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pingora_core::upstreams::peer::{HttpPeer, Peer as _};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use sallyport_balance::Address;

use super::EndpointSet;
use crate::config::{self, OriginTls, Protocol};

/// The protocol that is asked for (RFC 7301).
const ALPN: &[u8] = b"http/1.1";

/// How to connect to one endpoint.
#[derive(Debug)]
pub struct Destination {
    /// Where it is.
    pub address: Address,
    /// Tells its connections from all others, in whatever they are not the same.
    pub key: u64,
    /// How it is encrypted, if it is.
    pub tls: Option<Tls>,
    /// How long a connection may be idle.
    pub idle_timeout: Duration,
    /// How long the endpoint may take nothing of what is written.
    pub write_timeout: Duration,
    /// How long what is sent may stay without an acknowledgement: as long as making a connection may
    /// take, after which the endpoint is as good as not there.
    pub silence: Duration,
}

/// How a connection is encrypted.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The name that the certificate must be for.
    pub name: ServerName<'static>,
    /// Everything else, or why there is no connection.
    pub config: Result<Arc<ClientConfig>, Error>,
    made_of: Arc<OriginTls>,
}

impl Destination {
    /// The destination that `peer` is at `address`, encrypted with `config`.
    pub(super) fn new(
        spec: &config::Upstream,
        address: &Address,
        peer: &HttpPeer,
        config: Option<&Result<Arc<ClientConfig>, Error>>,
    ) -> Self {
        let tls = config.zip(spec.transport.tls.as_ref()).map(|(config, made_of)| {
            // Names are checked with the configuration.
            let name = ServerName::try_from(peer.sni().to_owned());
            let config = match &name {
                Ok(_) => config.clone(),
                Err(_) => Err(Error::General("the server's name is none".to_owned())),
            };
            let unnamed = || ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
            Tls { name: name.unwrap_or_else(|_| unnamed()), config, made_of: made_of.clone() }
        });
        Self {
            address: address.clone(),
            key: peer.reuse_hash(),
            tls,
            idle_timeout: spec.timeouts.idle,
            write_timeout: spec.timeouts.write,
            silence: spec.timeouts.connect,
        }
    }

    /// What is at `address`, not encrypted.
    #[cfg(test)]
    pub(crate) fn for_tests(address: Address, key: u64) -> Self {
        let long = Duration::from_secs(60);
        let (idle_timeout, write_timeout, silence) = (long, long, long);
        Self { address, key, tls: None, idle_timeout, write_timeout, silence }
    }

    /// What is at `address` and is called `name`.
    #[cfg(test)]
    pub(crate) fn encrypted_for_tests(address: Address, name: &str, tls: OriginTls) -> Self {
        let (config, name) = (build(&tls).map(Arc::new), ServerName::try_from(name.to_owned()));
        let tls = Tls { name: name.unwrap(), config, made_of: Arc::new(tls) };
        Self { tls: Some(tls), ..Self::for_tests(address, 1) }
    }
}

/// The configuration of TLS towards the origins of `spec`, if the engine has one to use: that of
/// the set `before`, where it was made of the same.
pub(super) fn client_config(
    spec: &config::Upstream,
    before: Option<&EndpointSet>,
) -> Option<Result<Arc<ClientConfig>, Error>> {
    let tls = spec.transport.tls.as_ref().filter(|_| spec.transport.protocol == Protocol::Http1)?;
    let before = before.and_then(|set| set.members().first()?.destination.tls.as_ref());
    let same = before.filter(|before| before.made_of == *tls);
    Some(same.map_or_else(|| build(tls).map(Arc::new), |same| same.config.clone()))
}

fn build(tls: &OriginTls) -> Result<ClientConfig, Error> {
    let roots = match &tls.ca {
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            for certificate in ca {
                roots.add(certificate.clone())?;
            }
            Arc::new(roots)
        }
        None => system_roots(),
    };
    // Named, because who only explains a configuration has not installed one.
    let provider = sallyport_tls::provider();
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let builder = if tls.verify {
        builder.with_root_certificates(roots)
    } else {
        let verifier = Arc::new(Unverified::new(provider)?);
        builder.dangerous().with_custom_certificate_verifier(verifier)
    };
    let mut config = match &tls.client {
        Some(client) => {
            let key = PrivateKeyDer::try_from(client.key.clone())
                .map_err(|problem| Error::General(problem.to_owned()))?;
            builder.with_client_auth_cert(client.chain.clone(), key)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// The authorities that the system trusts, read once: they are the process's, and parsing them
/// takes milliseconds.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let read = || {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "authorities of the system cannot be read");
        }
        roots.add_parsable_certificates(found.certs);
        Arc::new(roots)
    };
    ROOTS.get_or_init(read).clone()
}

/// Takes any certificate; whoever shows it must hold its key all the same.
#[derive(Debug)]
struct Unverified(Arc<WebPkiServerVerifier>);

impl Unverified {
    fn new(provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        // Checks signatures only, so its authorities count for nothing; there must be one.
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(super::peer::NOBODY))?;
        let roots = Arc::new(roots);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
        verifier.map(Self).map_err(|error| Error::General(error.to_string()))
    }
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
