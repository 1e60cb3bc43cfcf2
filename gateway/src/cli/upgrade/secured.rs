//! TLS to an admin listener: its certificate is known from its file, so nobody else has to vouch
//! for it.

use std::net::{IpAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme,
    StreamOwned,
};

/// A client that trusts the first certificate of each of `files`, and shows `identity`, a
/// certificate and its key.
///
/// # Errors
/// If a file holds no such thing.
pub(super) fn config(
    files: &[PathBuf],
    identity: Option<(&Path, &Path)>,
) -> anyhow::Result<Arc<ClientConfig>> {
    if files.is_empty() {
        bail!(
            "its certificate is in no file: send SIGUSR2 to the process, or name the certificate with \
             --admin and --server-certificate"
        );
    }
    let provider = sallyport_tls::provider();
    let trusted = files.iter().map(|file| first(file)).collect::<anyhow::Result<_>>()?;
    let pinned = Pinned { trusted, provider: provider.clone() };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pinned));
    let Some((certificate, key)) = identity else {
        return Ok(Arc::new(config.with_no_client_auth()));
    };
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.with_context(|| format!("the certificate in {}", certificate.display()))?;
    let read = PrivateKeyDer::from_pem_file(key);
    let read = read.with_context(|| format!("the key in {}", key.display()))?;
    Ok(Arc::new(config.with_client_auth_cert(chain, read)?))
}

fn first(file: &Path) -> anyhow::Result<CertificateDer<'static>> {
    let read = CertificateDer::from_pem_file(file);
    read.with_context(|| format!("the certificate in {}", file.display()))
}

/// The stream of what is in `stream`, which leads to `address`.
///
/// # Errors
/// If the session cannot begin.
pub(super) fn stream(
    stream: TcpStream,
    address: IpAddr,
    config: Arc<ClientConfig>,
) -> anyhow::Result<StreamOwned<ClientConnection, TcpStream>> {
    Ok(StreamOwned::new(ClientConnection::new(config, ServerName::from(address))?, stream))
}

/// Accepts these certificates and no other, whatever their names are.
#[derive(Debug)]
struct Pinned {
    trusted: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.trusted.iter().any(|trusted| **trusted == **end_entity) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
