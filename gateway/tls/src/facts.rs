//! What is known of a connection once its handshake is over.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::{HandshakeKind, ProtocolVersion, ServerConnection};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::client::RulesId;
use crate::pair::hex_upper;
use crate::subject::rfc4514;
use crate::time::from_unix;

/// What a handshake has settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The version: `1.2` or `1.3`.
    pub version: &'static str,
    /// The protocol that was agreed on, such as `h2`; `None` if the client did not ask.
    pub alpn: Option<Box<str>>,
    /// The name that the client asked for, in lower case.
    pub sni: Option<Box<str>>,
    /// The cipher suite, by its IANA name.
    pub cipher: Box<str>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The JA4 fingerprint of the client's hello, where something asks for it.
    pub ja4: Option<Arc<str>>,
    /// The certificate of the client, which was verified.
    pub client: Option<Box<ClientFacts>>,
    /// The rules that the client was judged by.
    pub rules: RulesId,
}

/// A client's certificate. What cannot be parsed is left empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFacts {
    /// The certificate as the value of `Client-Cert` (RFC 9440, 2.1).
    pub field: Box<str>,
    /// Its subject as RFC 4514 writes it.
    pub subject: Box<str>,
    /// Its subject alternative names and addresses, without their types.
    pub sans: Vec<Box<str>>,
    /// Its serial number, in upper-case hexadecimal.
    pub serial: Box<str>,
    /// Its SHA-256, in lower-case hexadecimal.
    pub fingerprint: Box<str>,
    /// The last moment it is valid.
    pub not_after: Option<SystemTime>,
}

impl Facts {
    /// What `connection` has settled; `ja4` and `rules` are known from before.
    #[must_use]
    pub fn of(connection: &ServerConnection, ja4: Option<Arc<str>>, rules: RulesId) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned().into_boxed_str();
        let cipher = connection.negotiated_cipher_suite();
        let cipher = cipher.and_then(|suite| suite.suite().as_str()).unwrap_or_default();
        let client = connection.peer_certificates().and_then(|chain| chain.first());
        Self {
            version: version(connection.protocol_version()),
            alpn: connection.alpn_protocol().map(text),
            sni: connection.server_name().map(Into::into),
            // rustls writes `TLS13_AES_…`, the registry `TLS_AES_…`.
            cipher: cipher.replacen("TLS13_", "TLS_", 1).into(),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            ja4,
            client: client.map(|der| Box::new(ClientFacts::of(der))),
            rules,
        }
    }
}

fn version(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_3) => "1.3",
        _ => "1.2",
    }
}

impl ClientFacts {
    /// What the certificate `der` says.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        let field = format!(":{}:", STANDARD.encode(der)).into();
        let mut facts = Self { field, ..Self::default() };
        let mut fingerprint = String::with_capacity(64);
        for byte in Sha256::digest(der) {
            // Writing to a string cannot fail.
            write!(fingerprint, "{byte:02x}").ok();
        }
        facts.fingerprint = fingerprint.into();
        let Ok((_, parsed)) = X509Certificate::from_der(der) else { return facts };
        facts.subject = rfc4514(parsed.subject()).into();
        facts.serial = hex_upper(parsed.raw_serial()).into();
        facts.not_after = Some(from_unix(parsed.validity().not_after.timestamp()));
        if let Ok(Some(extension)) = parsed.subject_alternative_name() {
            facts.sans = extension.value.general_names.iter().filter_map(san).collect();
        }
        facts
    }
}

/// A subject alternative name as text. Those with characters that end lines or lists are left out:
/// they could pass for several.
fn san(name: &GeneralName<'_>) -> Option<Box<str>> {
    let text = match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => {
            (*text).to_owned()
        }
        GeneralName::IPAddress(bytes) => {
            if let Ok(four) = <[u8; 4]>::try_from(*bytes) {
                Ipv4Addr::from(four).to_string()
            } else {
                Ipv6Addr::from(<[u8; 16]>::try_from(*bytes).ok()?).to_string()
            }
        }
        _ => return None,
    };
    let is_plain = |character: char| !character.is_control() && !matches!(character, ',' | ' ');
    (!text.is_empty() && text.chars().all(is_plain)).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use rcgen::string::Ia5String;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::ClientFacts;

    #[test]
    fn a_certificate_is_told_by_subject_names_serial_and_fingerprint() {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::OrganizationName, "Example, Inc.");
        params.distinguished_name.push(DnType::CommonName, "ann");
        params.serial_number = Some(vec![0x0a, 0xbc].into());
        let text = |text: &str| Ia5String::try_from(text).unwrap();
        params.subject_alt_names = vec![
            SanType::DnsName(text("ann.example")),
            SanType::Rfc822Name(text("ann@example.com")),
            SanType::URI(text("spiffe://example/ann")),
            SanType::IpAddress("192.0.2.7".parse().unwrap()),
            SanType::IpAddress("2001:db8::7".parse().unwrap()),
            SanType::DnsName(text("a.example,b.example")),
            SanType::DnsName(text("a\nb")),
        ];
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let facts = ClientFacts::of(certificate.der());
        assert!(facts.subject.contains("O=Example\\, Inc."), "{}", facts.subject);
        let sans: Vec<&str> = facts.sans.iter().map(|san| &**san).collect();
        assert_eq!(
            sans,
            ["ann.example", "ann@example.com", "spiffe://example/ann", "192.0.2.7", "2001:db8::7"]
        );
        assert_eq!(&*facts.serial, "0ABC");
        assert_eq!(facts.fingerprint.len(), 64);
        assert!(facts.not_after.is_some());
    }

    #[test]
    fn odd_der_is_no_panic() {
        let whole = CertificateParams::new(["a.example".to_owned()]).unwrap();
        let whole = whole.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let whole: &[u8] = whole.der();
        for end in 0..whole.len() {
            drop(ClientFacts::of(&whole[..end]));
        }
        for at in 0..whole.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut odd = whole.to_vec();
                odd[at] ^= flip;
                drop(ClientFacts::of(&odd));
            }
        }
    }
}
