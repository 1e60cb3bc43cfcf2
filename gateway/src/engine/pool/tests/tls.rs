use std::sync::Arc;

use pingora_error::ErrorType;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::super::*;
use super::{pool, terms};
use crate::config::{ClientIdentity, OriginTls};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issue(authority: &Authority, name: &str) -> (CertificateDer<'static>, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    (certificate.der().clone(), key.serialize_der())
}

/// An origin that greets each connection over TLS, shows a certificate for `localhost`, and demands
/// one.
async fn origin(authority: &Authority) -> (std::net::SocketAddr, JoinHandle<()>) {
    let (certificate, key) = issue(authority, "localhost");
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = sallyport_tls::provider();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let verifier = verifier.build().unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], PrivateKeyDer::try_from(key).unwrap())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            // Whoever does not trust it goes away.
            if let Ok(stream) = acceptor.accept(socket).await {
                held.push(stream);
            }
        }
    });
    (address, serving)
}

fn kind(stream: &OriginStream) -> HandshakeKind {
    let OriginStream::Tls(stream) = stream else { panic!("it is not encrypted") };
    stream.get_ref().1.handshake_kind().unwrap()
}

fn settings(authority: &Authority, client: &Authority) -> OriginTls {
    let (certificate, key) = issue(client, "gateway");
    OriginTls {
        server_name: None,
        ca: Some(vec![authority.der().clone()]),
        client: Some(ClientIdentity { chain: vec![certificate], key }),
        verify: true,
    }
}

#[tokio::test]
async fn sessions_are_resumed_with_an_authority_and_a_certificate_of_our_own() {
    let authority = authority();
    let (address, serving) = origin(&authority).await;
    let to = Destination::encrypted_for_tests(
        address.into(),
        "localhost",
        settings(&authority, &authority),
    );
    let pool = pool(10);
    let (first, _) = pool.connect(&to, &terms()).await.unwrap();
    assert_eq!(kind(&first), HandshakeKind::Full);
    assert!(first.is_tls());
    pool.put(first, &to, &terms());
    // Idle, it takes in the tickets and goes on being of use.
    let (mut first, reused) = pool.connect(&to, &terms()).await.unwrap();
    assert!(reused);
    let kinds = async {
        loop {
            let (another, reused) = pool.connect(&to, &terms()).await.unwrap();
            assert!(!reused);
            if kind(&another) == HandshakeKind::Resumed {
                break;
            }
            // The tickets are on their way.
            let mut context = Context::from_waker(Waker::noop());
            assert!(first.poll_gone(&mut context).is_pending());
            tokio::task::yield_now().await;
        }
    };
    kinds.await;
    first.write_all(b"x").await.unwrap();
    serving.abort();
}

#[tokio::test]
async fn an_origin_that_is_not_trusted_is_none() {
    let (ours, theirs) = (authority(), authority());
    let (address, serving) = origin(&theirs).await;
    let pool = pool(10);
    let wrong_name = settings(&theirs, &theirs);
    for (name, tls) in [("localhost", settings(&ours, &theirs)), ("other.test", wrong_name)] {
        let to = Destination::encrypted_for_tests(address.into(), name, tls);
        let error = pool.connect(&to, &terms()).await.unwrap_err();
        assert_eq!(*error.etype(), ErrorType::TLSHandshakeFailure, "{name}");
    }
    let unverified = OriginTls { verify: false, ..settings(&ours, &theirs) };
    let to = Destination::encrypted_for_tests(address.into(), "other.test", unverified);
    pool.connect(&to, &terms()).await.unwrap();
    serving.abort();
}
