//! A new connection to an origin: the socket, its options, the PROXY header, TLS.
//!
//! Errors are of the types that Pingora's connector has for the same, so that `proxy/cause.rs` need
//! not know whose they are.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use pingora_error::{Error, ErrorType, OrErr as _, Result};
use rustix::io::Errno;
use sallyport_balance::Address;
use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::stream::{OriginStream, Socket};
use crate::upstream::Destination;
use crate::upstream::destination::Tls;
use crate::upstream::peer::UNSENT_BYTES;

/// What a new connection is besides where it goes to.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// The longest that all of it may take.
    pub(crate) within: Duration,
    /// The PROXY header that it begins with, if any.
    pub(crate) introduction: Option<Bytes>,
}

/// Connects to `destination`.
pub(crate) async fn connect(destination: &Destination, terms: &Terms) -> Result<OriginStream> {
    match timeout(terms.within, begin(destination, terms)).await {
        Ok(connected) => connected,
        Err(late) => {
            let context = format!("connecting to {} took too long", destination.address);
            Error::e_because(ErrorType::ConnectTimedout, context, late)
        }
    }
}

async fn begin(destination: &Destination, terms: &Terms) -> Result<OriginStream> {
    let mut socket = match &destination.address {
        Address::Inet(address) => {
            let made = match address.is_ipv4() {
                true => TcpSocket::new_v4(),
                false => TcpSocket::new_v6(),
            };
            let socket = made.or_err(ErrorType::InternalError, "no socket can be made")?;
            set_options(&socket, destination)
                .or_err(ErrorType::InternalError, "options of a socket")?;
            let connected = socket.connect(*address).await;
            let stream = connected.map_err(|error| refused(error, destination))?;
            stream.set_nodelay(true).or_err(ErrorType::InternalError, "options of a socket")?;
            Socket::Tcp(stream)
        }
        Address::Unix(path) => {
            let connected = UnixStream::connect(path).await;
            Socket::Unix(connected.map_err(|error| refused(error, destination))?)
        }
    };
    if let Some(header) = &terms.introduction {
        socket.write_all(header).await.or_err(ErrorType::ConnectError, "PROXY header")?;
    }
    match &destination.tls {
        None => Ok(OriginStream::Clear(socket)),
        Some(tls) => encrypt(socket, tls).await,
    }
}

fn set_options(socket: &TcpSocket, destination: &Destination) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_user_timeout(Some(destination.silence))?;
    socket.set_tcp_notsent_lowat(UNSENT_BYTES)
}

async fn encrypt(socket: Socket, tls: &Tls) -> Result<OriginStream> {
    let config = tls.config.clone();
    let config = config.or_err(ErrorType::InvalidCert, "TLS towards the origin")?;
    let connecting = TlsConnector::from(config).connect(tls.name.clone(), socket);
    let stream = connecting.await.or_err(ErrorType::TLSHandshakeFailure, "TLS handshake")?;
    Ok(OriginStream::Tls(Box::new(stream)))
}

fn refused(error: io::Error, destination: &Destination) -> Box<Error> {
    let kind = match Errno::from_io_error(&error) {
        Some(Errno::CONNREFUSED) => ErrorType::ConnectRefused,
        Some(Errno::TIMEDOUT) => ErrorType::ConnectTimedout,
        Some(Errno::NETUNREACH | Errno::HOSTUNREACH) => ErrorType::ConnectNoRoute,
        // This host has no port left, or no leave to connect.
        Some(Errno::ADDRNOTAVAIL | Errno::ADDRINUSE | Errno::ACCESS | Errno::PERM) => {
            ErrorType::InternalError
        }
        _ => ErrorType::ConnectError,
    };
    Error::because(kind, format!("connecting to {}", destination.address), error)
}
