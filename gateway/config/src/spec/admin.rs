//! `admin`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::{AdminAddress, Duration, FileMode, HostName, Name};
use super::tls::{Certificate, ClientCertificates, TlsVersion, handshake_timeout};
use crate::schema::needs;

/// The admin listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = needs("read_token_file", "token_file"))]
pub struct Admin {
    /// Where it listens: IP:PORT, or unix:PATH. Other addresses than loopback need a `token_file`, or
    /// `tls` with required `client_certificates`.
    pub address: AdminAddress,
    /// Who may connect to a Unix socket, as a mode of files: "0660" by default.
    pub mode: Option<FileMode>,
    /// The names, besides addresses and `localhost`, that requests may be for.
    #[serde(default)]
    pub hosts: Vec<HostName>,
    /// The file of the token that a request must show. None by default.
    pub token_file: Option<Name>,
    /// The file of the token that a request which only reads may show instead.
    pub read_token_file: Option<Name>,
    /// What it shows its clients, and what it asks of them. In clear text by default.
    pub tls: Option<AdminTls>,
}

/// The TLS of the admin listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdminTls {
    /// The certificates, chosen by the name that a client asks for. The first is for all others.
    #[schemars(length(min = 1, max = 100_000))]
    pub certificates: Vec<Certificate>,
    /// The oldest version that is spoken.
    #[serde(default)]
    pub min_version: TlsVersion,
    /// What is asked of clients. Nothing by default.
    pub client_certificates: Option<ClientCertificates>,
    /// How long a handshake may take.
    #[serde(default = "handshake_timeout")]
    pub handshake_timeout: Duration,
}
