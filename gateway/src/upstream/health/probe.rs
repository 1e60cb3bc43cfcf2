//! One probe of one endpoint: a connection, or a request and its status.
//!
//! Every probe makes a connection of its own: one that is kept would not notice an endpoint that
//! stopped accepting.

use std::io;
use std::time::Duration;

use http::header;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::protocols::http::v1::client::HttpSession as Http1;
use pingora_core::protocols::l4::stream::Stream;
use pingora_error::{Error, ErrorType};
use pingora_http::RequestHeader;
use sallyport_balance::Address;
use tokio::net::{TcpStream, UnixStream};

use crate::config::{HealthCheck, HttpProbe, Probe};
use crate::descriptors;

/// Bytes of an answer's body that are read, so that an origin's short answer is not cut off.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Asks endpoints how they are.
#[derive(Debug)]
pub(super) struct Prober {
    probe: Probe,
    timeout: Duration,
}

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unhealthy {
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("status {found}, expected {expected}")]
    Status { found: u16, expected: String },
    #[error("the connection was closed without an answer")]
    Closed,
    #[error("the answer is no HTTP/1")]
    Malformed,
}

impl Unhealthy {
    /// Whether the probe says nothing of the endpoint, because this process could not make it.
    pub(super) fn is_own(&self) -> bool {
        matches!(self, Self::Connect(error) if descriptors::is_exhaustion(error))
    }
}

impl Prober {
    pub(super) fn new(check: &HealthCheck) -> Self {
        Self { probe: check.probe.clone(), timeout: check.timeout }
    }

    /// Probes `address` once.
    ///
    /// # Errors
    /// Why the endpoint is not healthy.
    pub(super) async fn probe(&self, address: &Address) -> Result<(), Unhealthy> {
        let mut result = Err(Unhealthy::Timeout(self.timeout));
        // What comes after the result, reading the body, does not change it by taking long.
        tokio::time::timeout(self.timeout, self.ask(address, &mut result)).await.ok();
        result
    }

    async fn ask(&self, address: &Address, result: &mut Result<(), Unhealthy>) {
        let stream = match connect(address).await {
            Ok(stream) => stream,
            Err(error) => return *result = Err(Unhealthy::Connect(error)),
        };
        let Probe::Http(probe) = &self.probe else { return *result = Ok(()) };
        let mut session = HttpSession::H1(Http1::new(Box::new(stream)));
        match status(&mut session, probe, address).await {
            Ok(status) => {
                *result = probe.judge(status);
                drain(&mut session).await;
            }
            Err(error) => *result = Err(error),
        }
        session.shutdown().await;
    }
}

async fn connect(address: &Address) -> io::Result<Stream> {
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

    fn head(&self, address: &Address) -> pingora_error::Result<RequestHeader> {
        let mut head = RequestHeader::build(self.method.clone(), self.path.as_bytes(), Some(3))?;
        // As clients that are given an address do (RFC 9110, 7.2).
        match &self.host {
            Some(host) => head.insert_header(header::HOST, &**host)?,
            None => head.insert_header(header::HOST, authority(address))?,
        }
        head.insert_header(header::USER_AGENT, "sallyport-health-check")?;
        head.insert_header(header::CONNECTION, "close")?;
        Ok(head)
    }
}

async fn status(
    session: &mut HttpSession,
    probe: &HttpProbe,
    address: &Address,
) -> Result<u16, Unhealthy> {
    let head = probe.head(address).map_err(|error| unhealthy(&error))?;
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
