use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, HandshakeKind, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio_rustls::TlsConnector;

use super::*;
use crate::{
    Certificates, ClientAuth, ClientMode, Facts, MinVersion, ServerSpec, ServerTls, Tickets,
    provider, self_signed,
};

/// Trusts every server: these tests are about the other side.
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
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

struct Client(ClientConfig);

impl Client {
    fn new(
        versions: &[&'static rustls::SupportedProtocolVersion],
        alpn: &[&str],
        identity: Option<&Identity>,
    ) -> Self {
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Trusting));
        let mut config = match identity {
            Some((chain, key)) => {
                config.with_client_auth_cert(chain.clone(), key.clone_key()).unwrap()
            }
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.resumption = Resumption::in_memory_sessions(8);
        Self(config)
    }

    fn of_any_version(identity: Option<&Identity>) -> Self {
        Self::new(rustls::ALL_VERSIONS, &["h2", "http/1.1"], identity)
    }
}

/// What a server with `tls` makes of a connection by `client` to `name`, and what the client does.
async fn handshake(
    tls: &ServerTls,
    client: &Client,
    name: &'static str,
) -> (Result<Facts, Failure>, Result<HandshakeKind, String>) {
    let (client_end, server_end) = duplex(64 << 10);
    let server = async {
        let mut io: DuplexStream = server_end;
        let hello = read_hello(&mut io).await?;
        if !tls.certificates().serves(hello.server_name().as_deref()) {
            refuse_name(&mut io).await;
            return Err(Failure::UnknownName);
        }
        let ja4 = hello.ja4();
        let (rules, config) = tls.config(0).unwrap();
        let mut stream = finish(io, hello, config.clone()).await?;
        stream.write_all(b"x").await.unwrap();
        stream.flush().await.unwrap();
        let facts = Facts::of(stream.get_ref().1, Some(ja4), rules);
        // Until the client leaves.
        drop(stream.read(&mut [0; 1]).await);
        Ok(facts)
    };
    let client = async {
        let connector = TlsConnector::from(Arc::new(client.0.clone()));
        let name = ServerName::try_from(name).unwrap();
        let mut stream =
            connector.connect(name, client_end).await.map_err(|error| error.to_string())?;
        // In TLS 1.3 a refusal of the client's certificate, and the tickets, come after it.
        stream.read_exact(&mut [0; 1]).await.map_err(|error| error.to_string())?;
        Ok(stream.get_ref().1.handshake_kind().unwrap())
    };
    tokio::join!(server, client)
}

fn tls(spec: impl FnOnce(&mut ServerSpec<'_>), refuses: bool, tickets: &Tickets) -> ServerTls {
    let domains = ["a.example".to_owned(), "b.example".to_owned()];
    let pair = self_signed(&domains, SystemTime::now(), &provider()).unwrap();
    let certificates = Arc::new(Certificates::new(&[Arc::new(pair)], refuses));
    let mut of = ServerSpec {
        certificates,
        alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        min_version: MinVersion::Tls12,
        rules: vec![None],
        tickets,
    };
    spec(&mut of);
    ServerTls::build(&of).unwrap()
}

#[tokio::test]
async fn a_handshake_settles_version_protocol_and_name() {
    let tickets = Tickets::default();
    let tls = tls(|_| {}, false, &tickets);
    let (facts, client) = handshake(&tls, &Client::of_any_version(None), "a.example").await;
    let facts = facts.unwrap();
    assert_eq!((facts.version, facts.alpn.as_deref()), ("1.3", Some("h2")));
    assert_eq!(facts.sni.as_deref(), Some("a.example"));
    assert!(facts.cipher.starts_with("TLS_AES_"), "{}", facts.cipher);
    assert!(!facts.resumed && facts.client.is_none());
    assert!(facts.ja4.unwrap().starts_with("t13d"));
    assert!(client.is_ok());
    let old = Client::new(&[&rustls::version::TLS12], &["http/1.1"], None);
    let facts = handshake(&tls, &old, "unknown.example").await.0.unwrap();
    assert_eq!((facts.version, facts.alpn.as_deref()), ("1.2", Some("http/1.1")));
}

#[tokio::test]
async fn sessions_are_resumed_by_tickets_until_the_rules_change() {
    let tickets = Tickets::default();
    let first = tls(|_| {}, false, &tickets);
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let client = Client::new(versions, &[], None);
        assert!(!handshake(&first, &client, "a.example").await.0.unwrap().resumed);
        let again = tls(|_| {}, false, &tickets);
        let (facts, kind) = handshake(&again, &client, "a.example").await;
        assert!(facts.unwrap().resumed);
        assert_eq!(kind, Ok(HandshakeKind::Resumed));
        let rules = rules(&authority("ours"), ClientMode::Optional, None);
        let other = tls(|spec| spec.rules = vec![Some(rules)], false, &tickets);
        assert!(!handshake(&other, &client, "a.example").await.0.unwrap().resumed);
    }
}

#[tokio::test]
async fn what_does_not_fit_is_refused_with_its_reason() {
    let tickets = Tickets::default();
    let strict = tls(|spec| spec.min_version = MinVersion::Tls13, true, &tickets);
    let client = Client::of_any_version(None);
    let (server, told) = handshake(&strict, &client, "c.example").await;
    assert_eq!(server, Err(Failure::UnknownName));
    assert!(told.clone().unwrap_err().contains("UnrecognisedName"), "{told:?}");
    let old = Client::new(&[&rustls::version::TLS12], &[], None);
    assert_eq!(handshake(&strict, &old, "a.example").await.0, Err(Failure::Version));
    let other = Client::new(rustls::ALL_VERSIONS, &["smtp"], None);
    assert_eq!(handshake(&strict, &other, "a.example").await.0, Err(Failure::Alpn));
}

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Issuer {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn identity(issuer: &Issuer, serial: u64) -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["ann.example".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "ann");
    params.serial_number = Some(serial.into());
    let certificate = params.signed_by(&key, issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    (vec![certificate.der().clone()], key)
}

fn rules(issuer: &Issuer, mode: ClientMode, revoked: Option<u64>) -> Arc<ClientAuth> {
    let now = SystemTime::now();
    let crl = revoked.map(|serial| {
        let params = CertificateRevocationListParams {
            this_update: now.into(),
            next_update: (now + Duration::from_secs(86_400)).into(),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: now.into(),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(issuer).unwrap().pem().unwrap()
    });
    let crl = crl.as_ref().map(|crl| crl.as_bytes());
    Arc::new(ClientAuth::read(issuer.pem().as_bytes(), crl, mode).unwrap())
}

#[tokio::test]
async fn clients_are_judged_by_authority_list_and_mode() {
    let tickets = Tickets::default();
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let none = Client::of_any_version(None);
    let ann = Client::of_any_version(Some(&identity(&ours, 7)));
    let revoked = Client::of_any_version(Some(&identity(&ours, 8)));
    let stranger = Client::of_any_version(Some(&identity(&theirs, 7)));
    let required = rules(&ours, ClientMode::Required, Some(8));
    let required = tls(|spec| spec.rules = vec![Some(required)], false, &tickets);
    let (facts, told) = handshake(&required, &ann, "a.example").await;
    assert!(told.is_ok());
    let client = facts.unwrap().client.expect("a certificate");
    assert!(client.subject.starts_with("CN=ann"), "{}", client.subject);
    assert_eq!((&*client.serial, client.sans.len()), ("07", 1));
    // Resumed sessions keep what the first handshake has shown.
    let again = handshake(&required, &ann, "a.example").await.0.unwrap();
    assert!(again.resumed && again.client.is_some());
    for (client, failure) in [
        (&none, Failure::NoClientCertificate),
        (&revoked, Failure::ClientCertificate),
        (&stranger, Failure::ClientCertificate),
    ] {
        let (server, told) = handshake(&required, client, "a.example").await;
        assert_eq!(server, Err(failure));
        assert!(told.is_err());
    }
    let optional = rules(&ours, ClientMode::Optional, None);
    let optional = tls(|spec| spec.rules = vec![Some(optional)], false, &tickets);
    assert!(handshake(&optional, &none, "a.example").await.0.unwrap().client.is_none());
    assert!(handshake(&optional, &ann, "a.example").await.0.unwrap().client.is_some());
    let (server, _) = handshake(&optional, &stranger, "a.example").await;
    assert_eq!(server, Err(Failure::ClientCertificate));
}

/// What comes of a connection that begins with `bytes`, and what it is told.
async fn beginning(bytes: &[u8]) -> (Failure, Vec<u8>) {
    let (mut client, mut server) = duplex(1 << 20);
    client.write_all(bytes).await.unwrap();
    client.shutdown().await.unwrap();
    let failure = read_hello(&mut server).await.expect_err("it is no hello");
    drop(server);
    let mut told = Vec::new();
    client.read_to_end(&mut told).await.unwrap();
    (failure, told)
}

#[tokio::test]
async fn what_is_no_hello_is_answered_or_not() {
    assert_eq!(beginning(b"").await.0, Failure::Closed);
    assert_eq!(beginning(b"\x16\x03\x01").await.0, Failure::Closed);
    assert_eq!(beginning(b"GET / HTTP/1.1\r\n\r\n").await.0, Failure::Http);
    assert_eq!(beginning(b"\0\x01\x02").await.0, Failure::NotTls);
    let (failure, told) = beginning(b"\x16\x03\x01\x00\x00").await;
    assert_eq!((failure, told), (Failure::Malformed, [&ALERT[..], &[DECODE_ERROR]].concat()));
    let (failure, told) = beginning(b"\x16\x03\x01\x00\x04\x01\x00\x00\x00").await;
    assert_eq!((failure, told), (Failure::Version, [&ALERT[..], &[PROTOCOL_VERSION]].concat()));
    let odd_hello = b"\x16\x03\x01\x00\x06\x01\x00\x00\x02\x03\x03";
    let (failure, told) = beginning(odd_hello).await;
    assert_eq!((failure, told.first()), (Failure::Malformed, Some(&21)));
}
