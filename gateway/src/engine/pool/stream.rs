//! A connection to an origin, whatever it is made of.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

/// A connection to an origin.
#[derive(Debug)]
pub(crate) enum OriginStream {
    /// Not encrypted.
    Clear(Socket),
    /// Encrypted; boxed, since it is large and few are.
    Tls(Box<TlsStream<Socket>>),
}

/// A socket towards an origin.
#[derive(Debug)]
pub(crate) enum Socket {
    /// Over TCP.
    Tcp(TcpStream),
    /// Of this host.
    Unix(UnixStream),
}

impl OriginStream {
    /// Its socket's descriptor.
    pub(crate) fn descriptor(&self) -> RawFd {
        match self.socket() {
            Socket::Tcp(stream) => stream.as_raw_fd(),
            Socket::Unix(stream) => stream.as_raw_fd(),
        }
    }

    /// Our end of it, if it is TCP.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        match self.socket() {
            Socket::Tcp(stream) => stream.local_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    /// Whether it is encrypted.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Its socket, if it is not encrypted.
    pub(crate) fn clear_socket(&self) -> Option<&Socket> {
        match self {
            Self::Clear(socket) => Some(socket),
            Self::Tls(_) => None,
        }
    }

    /// Ends the connection where what was sent stays without an acknowledgement for this long. The
    /// kernel counts a window that stays shut as well, so it is no bound for a request with a body:
    /// how long an origin may take none of that is another question.
    pub(crate) fn bound_silence(&self, within: Option<Duration>) {
        if let Socket::Tcp(stream) = self.socket() {
            // It cannot be refused to a socket that is open.
            SockRef::from(stream).set_tcp_user_timeout(within).ok();
        }
    }

    fn socket(&self) -> &Socket {
        match self {
            Self::Clear(socket) => socket,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Ready if a connection that nobody uses is of no use any more: its origin has closed it, or
    /// has sent what nobody has asked for. Messages of TLS itself, as tickets are, are taken in.
    pub(super) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut byte = [0];
        Pin::new(self).poll_read(context, &mut ReadBuf::new(&mut byte)).map(|_| ())
    }

    /// Tells the origin that nothing follows, as far as the kernel takes it at once.
    pub(crate) fn close(mut self) {
        let mut context = Context::from_waker(Waker::noop());
        // Nobody is left to be told of a failure.
        drop(Pin::new(&mut self).poll_shutdown(&mut context));
    }
}

macro_rules! on_socket {
    ($this:ident, $stream:ident => $call:expr) => {
        match $this.get_mut() {
            Socket::Tcp($stream) => $call,
            Socket::Unix($stream) => $call,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_socket!(self, stream => Pin::new(stream).poll_read(context, into))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        on_socket!(self, stream => Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_socket!(self, stream => Pin::new(stream).poll_write_vectored(context, parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_socket!(self, stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_socket!(self, stream => Pin::new(stream).poll_shutdown(context))
    }
}

macro_rules! on_stream {
    ($this:ident, $stream:ident => $call:expr) => {
        match $this.get_mut() {
            OriginStream::Clear($stream) => $call,
            OriginStream::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for OriginStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_stream!(self, stream => Pin::new(stream).poll_read(context, into))
    }
}

impl AsyncWrite for OriginStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        on_stream!(self, stream => Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_stream!(self, stream => Pin::new(stream).poll_write_vectored(context, parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => Pin::new(stream).poll_shutdown(context))
    }
}
