//! One probe of one endpoint: a connection, or a request and its status.
//!
//! Every probe makes a connection of its own: one that is kept would not notice an endpoint that
//! stopped accepting.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{Method, header};
use pingora_core::connectors::TransportConnector;
use pingora_core::connectors::http::v2::{H2HandshakeSettings, handshake};
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::protocols::http::v1::client::HttpSession as Http1;
use pingora_core::protocols::l4::stream::Stream as L4Stream;
use pingora_core::protocols::{ALPN, Stream};
use pingora_error::{Error, ErrorType};
use pingora_http::RequestHeader;
use sallyport_balance::Address;
use tokio::net::{TcpStream, UnixStream};

use super::grpc;
use crate::config::{HealthCheck, HttpProbe, Probe, Protocol, Transport};
use crate::descriptors;
use crate::upstream::Member;
use crate::upstream::introduction::introduce;

/// Bytes of an answer's body that are read, so that an origin's short answer is not cut off.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Asks endpoints how they are.
pub(super) struct Prober {
    probe: Probe,
    timeout: Duration,
    /// How the upstream speaks to its endpoints.
    transport: Transport,
    connector: Arc<OnceLock<TransportConnector>>,
}

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unhealthy {
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("no connection: {0}")]
    Handshake(String),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("status {found}, expected {expected}")]
    Status { found: u16, expected: String },
    #[error("the connection was closed without an answer")]
    Closed,
    #[error("the service is {0}")]
    Grpc(&'static str),
    #[error("the answer is no HTTP")]
    Malformed,
}

impl Unhealthy {
    /// Whether the probe says nothing of the endpoint, because this process could not make it.
    pub(super) fn is_own(&self) -> bool {
        matches!(self, Self::Connect(error) if descriptors::is_exhaustion(error))
    }
}

impl Prober {
    pub(super) fn new(
        check: &HealthCheck,
        transport: &Transport,
        connector: Arc<OnceLock<TransportConnector>>,
    ) -> Self {
        let (probe, timeout) = (check.probe.clone(), check.timeout);
        Self { probe, timeout, transport: transport.clone(), connector }
    }

    /// Probes `member` once.
    ///
    /// # Errors
    /// Why the endpoint is not healthy.
    pub(super) async fn probe(&self, member: &Member) -> Result<(), Unhealthy> {
        let mut result = Err(Unhealthy::Timeout(self.timeout));
        // What comes after the result, reading the body, does not change it by taking long.
        tokio::time::timeout(self.timeout, self.ask(member, &mut result)).await.ok();
        result
    }

    async fn ask(&self, member: &Member, result: &mut Result<(), Unhealthy>) {
        let stream = match self.connect(member).await {
            Ok(stream) => stream,
            Err(error) => return *result = Err(error),
        };
        if self.probe == Probe::Tcp {
            return *result = Ok(());
        }
        let mut session = match self.session(stream).await {
            Ok(session) => session,
            Err(error) => return *result = Err(unhealthy(&error)),
        };
        let address = &member.endpoint.address;
        match &self.probe {
            Probe::Tcp => {}
            Probe::Http(probe) => match status(&mut session, probe, address).await {
                Ok(status) => {
                    *result = probe.judge(status);
                    drain(&mut session).await;
                }
                Err(error) => *result = Err(error),
            },
            Probe::Grpc { service } => *result = check(&mut session, service, address).await,
        }
        session.shutdown().await;
    }

    /// Connects as requests do: in the same encryption, with the same protocols on offer.
    async fn connect(&self, member: &Member) -> Result<Stream, Unhealthy> {
        if self.transport == Transport::plain() {
            let stream = connect(&member.endpoint.address).await.map_err(Unhealthy::Connect)?;
            return Ok(Box::new(stream));
        }
        let mut peer = member.peer.clone();
        if let Some(version) = self.transport.proxy_protocol {
            introduce(&mut peer, version, None);
        }
        let connector = self.connector.get_or_init(|| TransportConnector::new(None));
        connector.new_stream(&peer).await.map_err(|error| unconnected(&error))
    }

    async fn session(&self, stream: Stream) -> pingora_error::Result<HttpSession> {
        let agreed = stream.selected_alpn_proto() == Some(ALPN::H2);
        let known = self.transport.protocol == Protocol::Http2 && self.transport.tls.is_none();
        if !agreed && !known {
            return Ok(HttpSession::H1(Http1::new(stream)));
        }
        let mut settings = H2HandshakeSettings::new();
        settings.max_streams = 1;
        let connection = handshake(stream, settings).await?;
        let session = connection.spawn_stream().await?;
        session.map(HttpSession::H2).ok_or_else(|| Error::new(ErrorType::H2Error))
    }
}

/// Why there is no connection. What this process lacks is no reason against the endpoint.
fn unconnected(error: &Error) -> Unhealthy {
    let io = error.root_cause().downcast_ref::<io::Error>();
    match io.and_then(io::Error::raw_os_error) {
        Some(code) => Unhealthy::Connect(io::Error::from_raw_os_error(code)),
        None => Unhealthy::Handshake(error.etype().as_str().to_owned()),
    }
}

async fn connect(address: &Address) -> io::Result<L4Stream> {
    Ok(match address {
        Address::Inet(address) => TcpStream::connect(address).await?.into(),
        Address::Unix(path) => UnixStream::connect(path).await?.into(),
    })
}

/// What stands in `Host` where the configuration names none.
fn authority(address: &Address) -> String {
    address.as_inet().map_or_else(|| "localhost".to_owned(), |address| address.to_string())
}

impl HttpProbe {
    fn judge(&self, found: u16) -> Result<(), Unhealthy> {
        if self.status.iter().any(|range| range.contains(found)) {
            return Ok(());
        }
        let expected = self.status.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        Err(Unhealthy::Status { found, expected })
    }

    fn head(&self, address: &Address, http1: bool) -> pingora_error::Result<RequestHeader> {
        let mut head = RequestHeader::build(self.method.clone(), self.path.as_bytes(), Some(3))?;
        // As clients that are given an address do (RFC 9110, 7.2).
        match &self.host {
            Some(host) => head.insert_header(header::HOST, &**host)?,
            None => head.insert_header(header::HOST, authority(address))?,
        }
        head.insert_header(header::USER_AGENT, "sallyport-health-check")?;
        if http1 {
            head.insert_header(header::CONNECTION, "close")?;
        }
        Ok(head)
    }
}

async fn status(
    session: &mut HttpSession,
    probe: &HttpProbe,
    address: &Address,
) -> Result<u16, Unhealthy> {
    let http1 = session.as_http1().is_some();
    let head = probe.head(address, http1).map_err(|error| unhealthy(&error))?;
    session.write_request_header(Box::new(head)).await.map_err(|error| unhealthy(&error))?;
    session.finish_request_body().await.map_err(|error| unhealthy(&error))?;
    loop {
        session.read_response_header().await.map_err(|error| unhealthy(&error))?;
        let status = session.response_header().ok_or(Unhealthy::Closed)?.status;
        if !status.is_informational() {
            return Ok(status.as_u16());
        }
    }
}

/// Asks a gRPC server for a service's health.
async fn check(
    session: &mut HttpSession,
    service: &str,
    address: &Address,
) -> Result<(), Unhealthy> {
    let exchange = async {
        let mut head = RequestHeader::build(Method::POST, grpc::PATH.as_bytes(), Some(4))?;
        head.insert_header(header::HOST, authority(address))?;
        head.insert_header(header::CONTENT_TYPE, "application/grpc")?;
        head.insert_header(header::TE, "trailers")?;
        head.insert_header(header::USER_AGENT, "sallyport-health-check")?;
        session.write_request_header(Box::new(head)).await?;
        session.write_request_body(grpc::request(service), true).await?;
        session.read_response_header().await?;
        let mut body = Vec::new();
        while let Some(piece) = session.read_response_body().await? {
            body.extend_from_slice(&piece);
            if body.len() > BODY_BYTES_MAX {
                break;
            }
        }
        Ok(body)
    };
    let body = exchange.await.map_err(|error: Box<Error>| unhealthy(&error))?;
    let status = session.response_header().ok_or(Unhealthy::Closed)?.status.as_u16();
    if status != 200 {
        return Err(Unhealthy::Status { found: status, expected: "200".to_owned() });
    }
    grpc::judge(&body).map_err(Unhealthy::Grpc)
}

async fn drain(session: &mut HttpSession) {
    let mut bytes = 0;
    while let Ok(Some(piece)) = session.read_response_body().await {
        bytes += piece.len();
        if bytes > BODY_BYTES_MAX {
            return;
        }
    }
}

fn unhealthy(error: &Error) -> Unhealthy {
    match error.etype() {
        ErrorType::InvalidHTTPHeader | ErrorType::H1Error => Unhealthy::Malformed,
        _ => Unhealthy::Closed,
    }
}
