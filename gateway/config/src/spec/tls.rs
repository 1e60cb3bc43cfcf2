//! `tls` of a listener, and `client_certificates`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::{Duration, Int, Name};
use crate::schema::{exactly_one, needs};

/// What a listener shows its clients, and what it asks of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerTls {
    /// The certificates, chosen by the name that a client asks for: exact, then by wildcard. The first is
    /// for all others.
    #[schemars(length(min = 1, max = 100_000))]
    pub certificates: Vec<Certificate>,
    /// What becomes of clients that ask for a name that no certificate has.
    #[serde(default)]
    pub default: TlsDefault,
    /// The oldest version that is spoken.
    #[serde(default)]
    pub min_version: TlsVersion,
    /// What is asked of clients, where their virtual host says nothing else. Nothing by default.
    pub client_certificates: Option<ClientCertificates>,
    /// How long a handshake may take.
    #[serde(default = "handshake_timeout")]
    pub handshake_timeout: Duration,
    /// Handshakes under way at most.
    #[serde(default = "max_handshakes")]
    pub max_handshakes: Int<1, 10_000_000>,
    /// Whether clients' certificates are sent upstream (RFC 9440).
    #[serde(default)]
    pub forward_client_certificate: bool,
}

/// A handshake takes two round trips; ten seconds are a lost packet or two on a bad line.
fn handshake_timeout() -> Duration {
    Duration::seconds(10)
}

/// Each holds some 16 KiB while it lasts: 160 MB of clients that never finish.
fn max_handshakes() -> Int<1, 10_000_000> {
    Int(10_000)
}

/// A certificate, from files or made by the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    transform = exactly_one(&["cert", "self_signed"]),
    transform = needs("cert", "key"),
    transform = needs("self_signed", "domains")
)]
pub struct Certificate {
    /// The file of the certificate and those that vouch for it, as PEM. Watched.
    pub cert: Option<Name>,
    /// The file of its key, as PEM. Watched.
    pub key: Option<Name>,
    /// The file of the answer of its OCSP responder. Watched.
    pub ocsp: Option<Name>,
    /// That the gateway makes one, for which nobody vouches.
    #[schemars(extend("const" = true))]
    pub self_signed: Option<bool>,
    /// What it is for: names and addresses.
    #[schemars(length(min = 1))]
    pub domains: Option<Vec<Name>>,
}

/// What becomes of clients that ask for a name that no certificate has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is no default"))]
pub enum TlsDefault {
    /// They are shown the first certificate.
    #[default]
    First,
    /// They are refused.
    Refuse,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-wrong" = "is no version of TLS"))]
pub enum TlsVersion {
    /// RFC 5246.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    Tls13,
}

/// What is asked of clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificates {
    /// The file of those that vouch for clients, as PEM. Watched.
    pub ca: Name,
    /// The file of certificates that are revoked, as PEM. Watched.
    pub crl: Option<Name>,
    /// Whether clients without a certificate are refused.
    pub mode: ClientCertificateMode,
}

/// Whether clients without a certificate are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is no mode"))]
pub enum ClientCertificateMode {
    /// They are.
    Required,
    /// They are not; what a certificate says is known where there is one.
    Optional,
}

/// A protocol that a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("x-wrong" = "is no protocol that is spoken here"))]
pub enum ListenerProtocol {
    /// HTTP/1.0 and HTTP/1.1.
    Http1,
    /// HTTP/2: agreed on with TLS, known beforehand without.
    Http2,
}
