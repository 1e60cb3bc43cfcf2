//! What the configuration says of an upstream's origins: where they are, how they are found, and how
//! they are spoken to.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use sallyport_balance::Address;

/// One endpoint as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it is.
    pub location: Location,
    /// Its share in relation to the others' weights; of a name, that of each of its addresses.
    pub weight: u16,
    /// Its level: a higher one is used as far as lower ones are not healthy enough.
    pub priority: u8,
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// At this address.
    At(Address),
    /// At all addresses of this name.
    Name(Name),
}

/// A name to be resolved, and the port of each of its addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    /// The host, in lower case.
    pub host: Arc<str>,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Location {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address) => address.fmt(out),
            Self::Name(name) => write!(out, "{}:{}", name.host, name.port),
        }
    }
}

/// Where an upstream's endpoints are found, besides those that are written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Discovery {
    /// In the SRV records of this name.
    Srv(Arc<str>),
    /// In this file.
    File(PathBuf),
    /// In this group of this source of configuration.
    Source(&'static str, Arc<str>),
}

/// How an upstream's origins are spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transport {
    /// The version of HTTP.
    pub protocol: Protocol,
    /// Encryption, if there is any.
    pub tls: Option<Arc<OriginTls>>,
    /// Streams on one HTTP/2 connection at once, at most.
    pub max_streams: usize,
    /// The PROXY protocol header that each connection begins with, if any.
    pub proxy_protocol: Option<ProxyProtocol>,
}

impl Transport {
    /// The default of `max_streams`: what servers usually allow a client (RFC 9113, 6.5.2, recommends
    /// no fewer than 100).
    pub const MAX_STREAMS: usize = 100;

    /// Plain HTTP/1.
    #[must_use]
    pub fn plain() -> Self {
        Self { max_streams: Self::MAX_STREAMS, ..Self::default() }
    }

    /// Whether origins are spoken to in HTTP/1, whatever they could speak beside it.
    #[must_use]
    pub fn is_http1(&self) -> bool {
        match self.protocol {
            Protocol::Http1 => true,
            Protocol::Auto => self.tls.is_none(),
            Protocol::Http2 => false,
        }
    }
}

/// The version of HTTP that origins are spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: by ALPN with TLS, else with prior knowledge.
    Http2,
    /// With TLS what the origin chooses by ALPN, else HTTP/1.1.
    Auto,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// The line of text.
    V1,
    /// The binary header.
    V2,
}

/// How connections to origins are encrypted and origins known.
#[derive(Clone, PartialEq, Eq)]
pub struct OriginTls {
    /// The name that the certificate must be for; the endpoint's own by default.
    pub server_name: Option<Arc<str>>,
    /// The authorities that certificates must come from; the system's by default.
    pub ca: Option<Vec<CertificateDer<'static>>>,
    /// What the gateway shows of itself.
    pub client: Option<ClientIdentity>,
    /// Whether the certificate is verified at all.
    pub verify: bool,
}

/// A certificate chain and its key, in DER.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The certificate, and those between it and its authority.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key.
    pub key: Vec<u8>,
}

impl fmt::Debug for OriginTls {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("OriginTls")
            .field("server_name", &self.server_name)
            .field("ca", &self.ca.as_ref().map(Vec::len))
            .field("client", &self.client.is_some())
            .field("verify", &self.verify)
            .finish()
    }
}

/// How names are resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolver {
    /// The servers that are asked; those of `/etc/resolv.conf` by default.
    pub servers: Vec<SocketAddr>,
    /// Domains that are tried behind names with few dots; those of `/etc/resolv.conf` by default.
    pub search: Option<Vec<Arc<str>>>,
    /// How long one server is waited for.
    pub timeout: Duration,
    /// How often servers are asked again.
    pub attempts: usize,
    /// The shortest time after which a name is asked for again.
    pub min_ttl: Duration,
    /// The longest.
    pub max_ttl: Duration,
}
