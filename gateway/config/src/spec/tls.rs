//! `tls` of a listener, and `client_certificates`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::action::Target;
use super::scalar::{Duration, Int, Name, NonEmpty};
use crate::schema::{at_least_one, exactly_one, needs};

/// What a listener shows its clients, and what it asks of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    transform = at_least_one(&["certificates", "passthrough"]),
    transform = needs("client_certificates", "certificates")
)]
pub struct ListenerTls {
    /// The certificates, chosen by the name that a client asks for: exact, then by wildcard. The first is
    /// for all others. They may be left out where `passthrough` is written.
    #[schemars(length(min = 1, max = 100_000))]
    pub certificates: Option<Vec<Certificate>>,
    /// Connections that are passed on as they are, by the name that a client asks for (SNI). None by
    /// default.
    #[schemars(length(min = 1))]
    pub passthrough: Option<Vec<Passthrough>>,
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

impl ListenerTls {
    /// Whether no connection is terminated: all are passed on or refused.
    #[must_use]
    pub fn only_passes_through(&self) -> bool {
        self.certificates.is_none() && self.passthrough.is_some()
    }
}

/// Where connections for some names go, without being terminated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = exactly_one(&Passthrough::TARGETS))]
pub struct Passthrough {
    /// The names: `shop.example.com`; `*.example.com` for those with one label more, `**.example.com`
    /// with one or more; `*` for all, and for clients that ask for none. The closest decides, those of
    /// certificates among them.
    #[schemars(length(min = 1, max = 100_000))]
    pub sni: Vec<Name>,
    /// The upstream's name. Its origins speak TLS with the clients.
    pub upstream: Option<Name>,
    /// Several upstreams and their shares of the connections.
    #[schemars(extend("contains" = {"properties": {"weight": {"minimum": 1}}}))]
    pub split: Option<Vec<Target>>,
}

impl Passthrough {
    /// The keys of which one is written.
    pub const TARGETS: [&'static str; 2] = ["upstream", "split"];
}

/// A handshake takes two round trips; ten seconds are a lost packet or two on a bad line.
pub(super) fn handshake_timeout() -> Duration {
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
    transform = exactly_one(&["cert", "acme", "self_signed"]),
    transform = needs("cert", "key"),
    transform = needs("acme", "domains"),
    transform = needs("self_signed", "domains")
)]
pub struct Certificate {
    /// The file of the certificate and those that vouch for it, as PEM. Watched.
    pub cert: Option<Name>,
    /// The file of its key, as PEM. Watched.
    pub key: Option<Name>,
    /// The file of the answer of its OCSP responder. Watched.
    pub ocsp: Option<Name>,
    /// The account under `acme` that has it issued.
    pub acme: Option<Name>,
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
#[schemars(extend("x-wrong" = "is no version of TLS that is spoken"))]
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

/// What the client's certificate must be; all that is written must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = at_least_one(&ClientCertificateMatch::KEYS))]
pub struct ClientCertificateMatch {
    /// Whether there must be one, or must be none.
    pub verified: Option<bool>,
    /// Its whole subject as RFC 4514 writes it, such as `CN=ann,O=Example`.
    pub subject: Option<Name>,
    /// A name or address of it, without its type.
    pub san: Option<Name>,
}

impl ClientCertificateMatch {
    /// Its keys.
    pub const KEYS: [&'static str; 3] = ["verified", "subject", "san"];
}

/// A part of a client's certificate that is the same on every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is no part of a certificate to hash on"))]
pub enum CertificatePart {
    /// Its subject.
    Subject,
    /// Its serial number.
    Serial,
    /// Its SHA-256.
    Fingerprint,
}

/// An account with an authority that issues certificates by itself (ACME).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Acme {
    /// Its name in certificates and file names; no two alike.
    pub name: Name,
    /// The https URL of the authority's directory.
    pub directory: NonEmpty,
    /// Mail addresses that the authority writes to.
    #[serde(default)]
    pub contact: Vec<NonEmpty>,
    /// The folder that keys, certificates and answers are kept in. Gateways may share it.
    pub storage: NonEmpty,
    /// How the authority validates names.
    #[serde(default)]
    pub challenge: AcmeChallenge,
    /// The file of the authority's own root, PEM, where the system does not know it.
    pub ca: Option<NonEmpty>,
    /// The account with the authority that it belongs to, where the authority asks for one.
    pub external_account: Option<ExternalAccount>,
}

/// How an authority validates names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-wrong" = "is no challenge that is answered here"))]
pub enum AcmeChallenge {
    /// By HTTP on port 80, answered by every listener in clear text.
    #[default]
    #[serde(rename = "http-01")]
    Http01,
    /// By a TLS handshake on port 443, answered by every listener with `tls`.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

/// An account that an ACME account belongs to (RFC 8555, 7.3.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalAccount {
    /// Its identifier.
    pub key_id: NonEmpty,
    /// The file of the key that the authority gave, in base64url.
    pub hmac_file: NonEmpty,
}
