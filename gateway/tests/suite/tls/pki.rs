//! An authority for the tests, and a client that trusts it.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, RootCertStore,
    SignatureScheme, StreamOwned,
};
use tempfile::TempDir;

use crate::support::PATIENCE;

const DAY: Duration = Duration::from_secs(86_400);

/// A folder with an authority's certificate (`ca.pem`, `ca.key`) and what it has issued.
pub(crate) struct Pki {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let key_pem = key.serialize_pem();
        let authority = CertifiedIssuer::self_signed(params, key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        fs::write(folder.path().join("ca.key"), key_pem).unwrap();
        Self { folder, authority }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The authority, to sign what is not a usual certificate.
    pub(crate) fn authority(&self) -> &CertifiedIssuer<'static, KeyPair> {
        &self.authority
    }

    /// A certificate for `names` and its key, both PEM.
    pub(crate) fn pair(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        let now = SystemTime::now();
        (params.not_before, params.not_after) = ((now - DAY).into(), (now + 90 * DAY).into());
        change(&mut params);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        (params.signed_by(&key, &self.authority).unwrap().pem(), key.serialize_pem())
    }

    /// Issues a certificate for `names` as `NAME.pem` and `NAME.key`.
    pub(crate) fn issue(&self, name: &str, names: &[&str]) {
        self.issue_changed(name, names, |_| {});
    }

    /// As [`Pki::issue`], after `change`.
    pub(crate) fn issue_changed(
        &self,
        name: &str,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) {
        let (certificate, key) = self.pair(names, change);
        fs::write(self.path(&format!("{name}.pem")), certificate).unwrap();
        fs::write(self.path(&format!("{name}.key")), key).unwrap();
    }

    /// The entry of `certificates` for what was issued as `name`.
    pub(crate) fn entry(&self, name: &str) -> String {
        let path = |ending: &str| self.path(&format!("{name}.{ending}")).display().to_string();
        format!("{{ cert: {}, key: {} }}", path("pem"), path("key"))
    }

    /// A client that trusts the authority, and makes a full handshake each time: one that resumes is
    /// not shown the certificate again.
    pub(crate) fn forgetful_client(&self, identity: Option<(&Self, &str)>) -> Arc<ClientConfig> {
        let mut config = Arc::unwrap_or_clone(self.client(identity));
        config.resumption = Resumption::disabled();
        Arc::new(config)
    }

    /// A client that trusts the authority, and shows what was issued as `identity`.
    pub(crate) fn client(&self, identity: Option<(&Self, &str)>) -> Arc<ClientConfig> {
        self.client_of(rustls::ALL_VERSIONS, identity)
    }

    /// As [`Pki::client`], of these versions of TLS.
    pub(crate) fn client_of(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
        identity: Option<(&Self, &str)>,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(sallyport_tls::provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match identity {
            Some((pki, name)) => {
                let chain = fs::read(pki.path(&format!("{name}.pem"))).unwrap();
                let chain = CertificateDer::pem_slice_iter(&chain).map(Result::unwrap).collect();
                let key = fs::read(pki.path(&format!("{name}.key"))).unwrap();
                let key = PrivateKeyDer::from_pem_slice(&key).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
            None => builder.with_no_client_auth(),
        })
    }
}

/// What a client has seen of one connection.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The serial number of the server's certificate, in upper-case hexadecimal.
    pub(crate) serial: String,
    pub(crate) resumed: bool,
    /// The whole response.
    pub(crate) answer: String,
}

/// A TLS stream to `address` that asks for `name`.
pub(crate) fn connect(
    config: &Arc<ClientConfig>,
    address: SocketAddr,
    name: &str,
) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut stream = StreamOwned::new(ClientConnection::new(config.clone(), name).unwrap(), socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// Asks for `/` of `host` on a new connection by `name`.
pub(crate) fn ask(
    config: &Arc<ClientConfig>,
    address: SocketAddr,
    name: &str,
    host: &str,
) -> std::io::Result<Seen> {
    let mut stream = connect(config, address, name)?;
    write!(stream, "GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let leaf = stream.conn.peer_certificates().and_then(|chain| chain.first()).unwrap();
    Ok(Seen {
        serial: sallyport_tls::ClientFacts::of(leaf).serial.into(),
        resumed: stream.conn.handshake_kind() == Some(HandshakeKind::Resumed),
        answer: String::from_utf8_lossy(&answer).into_owned(),
    })
}

/// A client that trusts every server.
pub(crate) fn trusting() -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(sallyport_tls::provider())
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting))
        .with_no_client_auth();
    Arc::new(config)
}

#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        sallyport_tls::provider().signature_verification_algorithms.supported_schemes()
    }
}
