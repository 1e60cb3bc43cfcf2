//! `tls:` of an upstream.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use sallyport_config::spec::scalar::{self, Scalar as _};
use sallyport_config::{Node, Sink};
use sallyport_plugin::Reader;

use crate::config::origins::{ClientIdentity, OriginTls};

pub(super) fn tls(node: Node<'_>, filters: &mut Reader<'_>, sink: &mut Sink) -> Option<OriginTls> {
    node.mapping(sink, |fields, sink| {
        let server_name = fields.optional(sink, "server_name", server_name);
        let ca = fields.optional(sink, "ca", |node, sink| authorities(node, filters, sink));
        let client = fields.optional(sink, "client_certificate", |node, sink| {
            client_certificate(node, filters, sink)
        });
        let verify = fields.optional(sink, "insecure", verify).unwrap_or(true);
        if fields.has("ca") && !verify {
            let what = "`ca` has no effect: `insecure` turns verification off";
            return fields.node().refuse(sink, what, "remove `ca`, or better `insecure`");
        }
        Some(OriginTls { server_name, ca, client, verify })
    })
}

fn server_name(node: Node<'_>, sink: &mut Sink) -> Option<Arc<str>> {
    node.parsed(sink, &scalar::ServerName::fix(), |text| {
        let text = &*scalar::ServerName::parse(text)?.0;
        let text = text.strip_suffix('.').unwrap_or(text);
        match ServerName::try_from(text) {
            Ok(_) => Ok(Arc::from(text.to_ascii_lowercase())),
            Err(_) => Err("is no name that a certificate can be for".to_owned()),
        }
    })
}

fn authorities(
    node: Node<'_>,
    filters: &mut Reader<'_>,
    sink: &mut Sink,
) -> Option<Vec<CertificateDer<'static>>> {
    const FIX: &str = "name a file of certificates in PEM: -----BEGIN CERTIFICATE-----";
    let (path, pem) = filters.file(node, sink)?;
    let certificates = match certificates(&pem) {
        Ok(certificates) => certificates,
        Err(why) => return node.refuse(sink, format!("{} {why}", path.display()), FIX),
    };
    let mut store = RootCertStore::empty();
    for (index, certificate) in certificates.iter().enumerate() {
        if let Err(error) = store.add(certificate.clone()) {
            let what = format!(
                "certificate {} of {} cannot be an authority ({error})",
                index + 1,
                path.display()
            );
            return node.refuse(sink, what, FIX);
        }
    }
    Some(certificates)
}

fn client_certificate(
    node: Node<'_>,
    filters: &mut Reader<'_>,
    sink: &mut Sink,
) -> Option<ClientIdentity> {
    node.mapping(sink, |fields, sink| {
        let chain = fields.required(sink, "cert", |node, sink| {
            let (path, pem) = filters.file(node, sink)?;
            certificates(&pem).map_or_else(
                |why| {
                    let fix = "name a file that begins with -----BEGIN CERTIFICATE-----";
                    node.refuse(sink, format!("{} {why}", path.display()), fix)
                },
                Some,
            )
        });
        let key = fields.required(sink, "key", |node, sink| {
            let (path, pem) = filters.file(node, sink)?;
            PrivateKeyDer::from_pem_slice(&pem).map_or_else(
                |_| {
                    let fix = "name a file that begins with -----BEGIN PRIVATE KEY-----";
                    node.refuse(sink, format!("{} holds no private key", path.display()), fix)
                },
                Some,
            )
        });
        let (chain, key) = (chain?, key?);
        if let Err(why) = check_pair(&chain, &key) {
            return fields.node().refuse(
                sink,
                why,
                "name a certificate and the key it was made for",
            );
        }
        Some(ClientIdentity { chain, key: key.secret_der().to_vec() })
    })
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

fn verify(node: Node<'_>, sink: &mut Sink) -> Option<bool> {
    node.mapping(sink, |fields, sink| fields.required(sink, "verify", |node, sink| node.flag(sink)))
}
