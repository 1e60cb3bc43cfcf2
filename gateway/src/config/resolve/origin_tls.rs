//! `tls:` of an upstream.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use sallyport_config::spec;
use sallyport_config::spec::scalar::{self, Scalar as _};
use sallyport_config::{Place, Sink};
use sallyport_plugin::Reader;

use crate::config::origins::{ClientIdentity, OriginTls};

pub(super) fn tls(
    spec: &spec::OriginTls,
    place: &Place<'_>,
    files: &mut Reader<'_>,
    sink: &mut Sink,
) -> Option<OriginTls> {
    let at = |key| Place::Key(place, key);
    let server_name =
        spec.server_name.as_ref().map(|name| server_name(name, &at("server_name"), sink));
    let ca = spec.ca.as_ref().map(|file| authorities(file, &at("ca"), files, sink));
    let client = spec.client_certificate.as_ref();
    let client =
        client.map(|spec| client_certificate(spec, &at("client_certificate"), files, sink));
    let verify = spec.insecure.as_ref().is_none_or(|insecure| insecure.verify);
    if spec.ca.is_some() && !verify {
        let what = "`ca` has no effect: `insecure` turns verification off";
        return place.refuse(sink, what, "remove `ca`, or better `insecure`");
    }
    Some(OriginTls {
        server_name: match server_name {
            Some(name) => Some(name?),
            None => None,
        },
        ca: match ca {
            Some(ca) => Some(ca?),
            None => None,
        },
        client: match client {
            Some(client) => Some(client?),
            None => None,
        },
        verify,
    })
}

fn server_name(text: &str, place: &Place<'_>, sink: &mut Sink) -> Option<Arc<str>> {
    place.parsed(sink, text, &scalar::ServerName::fix(), |text| {
        let text = text.strip_suffix('.').unwrap_or(text);
        match ServerName::try_from(text) {
            Ok(_) => Ok(Arc::from(text.to_ascii_lowercase())),
            Err(_) => Err("is no name that a certificate can be for"),
        }
    })
}

fn authorities(
    file: &str,
    place: &Place<'_>,
    files: &mut Reader<'_>,
    sink: &mut Sink,
) -> Option<Vec<CertificateDer<'static>>> {
    const FIX: &str = "name a file of certificates in PEM: -----BEGIN CERTIFICATE-----";
    let (path, pem) = files.file(file, place, sink)?;
    let certificates = match certificates(&pem) {
        Ok(certificates) => certificates,
        Err(why) => return place.refuse(sink, format!("{} {why}", path.display()), FIX),
    };
    let mut store = RootCertStore::empty();
    for (index, certificate) in certificates.iter().enumerate() {
        if let Err(error) = store.add(certificate.clone()) {
            let what = format!(
                "certificate {} of {} cannot be an authority ({error})",
                index + 1,
                path.display()
            );
            return place.refuse(sink, what, FIX);
        }
    }
    Some(certificates)
}

fn client_certificate(
    spec: &spec::OriginClientCertificate,
    place: &Place<'_>,
    files: &mut Reader<'_>,
    sink: &mut Sink,
) -> Option<ClientIdentity> {
    let at = |key| Place::Key(place, key);
    let chain = files.file(&spec.cert, &at("cert"), sink).and_then(|(path, pem)| {
        let fix = "name a file that begins with -----BEGIN CERTIFICATE-----";
        let refuse = |why| at("cert").refuse(sink, format!("{} {why}", path.display()), fix);
        certificates(&pem).map_or_else(refuse, Some)
    });
    let key = files.file(&spec.key, &at("key"), sink).and_then(|(path, pem)| {
        let what = || format!("{} holds no private key", path.display());
        let fix = "name a file that begins with -----BEGIN PRIVATE KEY-----";
        let refuse = |_| at("key").refuse(sink, what(), fix);
        PrivateKeyDer::from_pem_slice(&pem).map_or_else(refuse, Some)
    });
    let (chain, key) = (chain?, key?);
    if let Err(why) = check_pair(&chain, &key) {
        return place.refuse(sink, why, "name a certificate and the key it was made for");
    }
    Some(ClientIdentity { chain, key: key.secret_der().to_vec() })
}

fn check_pair(
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> Result<(), &'static str> {
    let provider = aws_lc_rs::default_provider();
    let key = provider
        .key_provider
        .load_private_key(key.clone_key())
        .map_err(|_| "the key is of a kind that is not supported")?;
    let pair = CertifiedKey::new(chain.to_vec(), key);
    pair.keys_match().map_err(|_| "the key is not the certificate's")
}

/// The certificates in `pem`, at least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = found.map_err(|_| "is no PEM")?;
    // What takes the certificates over for a connection takes it for granted that they parse.
    let parse = |certificate: &CertificateDer<'_>| {
        x509_parser::parse_x509_certificate(certificate).is_ok_and(|(rest, _)| rest.is_empty())
    };
    match certificates.as_slice() {
        [] => Err("holds no certificate"),
        all if !all.iter().all(parse) => Err("holds a certificate that cannot be read"),
        _ => Ok(certificates),
    }
}
