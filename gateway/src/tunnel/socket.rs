//! The origin's end of a connection that may become a tunnel, as Pingora gets to use it.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr as InetAddress;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf as _, Bytes};
use pingora_core::connectors::l4::Connect as L4Connect;
use pingora_core::protocols::l4::ext::{connect, set_tcp_keepalive};
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream as L4Stream;
use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora_error::{Error, ErrorType, Result};
use pingora_timeout::timeout;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::{Tunnel, wake};

/// Read at once while the response's head is looked for.
const HEAD_PART_BYTES: usize = 4 << 10;

/// What is after the response's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// A head is read: no more than it is given out.
    Head,
    /// The head is out, and nothing more is until it is judged.
    Unknown,
    /// Another one: given to the tunnel only.
    Switched,
    /// Still HTTP/1.
    Http1,
    /// Nothing; the request is over.
    None,
}

/// The origin's socket while Pingora and the tunnel share it.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Option<TcpStream>,
    protocol: Protocol,
    /// Read, and not given out.
    ahead: Bytes,
    line_ended: bool,
    reader: Option<Waker>,
    /// The most that is given out at once of a response that is no tunnel.
    piece_bytes: usize,
}

impl Socket {
    pub(super) fn new(piece_bytes: Option<usize>) -> Self {
        Self {
            piece_bytes: piece_bytes.unwrap_or(usize::MAX),
            stream: None,
            protocol: Protocol::Head,
            ahead: Bytes::new(),
            line_ended: false,
            reader: None,
        }
    }

    pub(super) fn switch(&mut self) {
        self.protocol = Protocol::Switched;
    }

    pub(super) fn decline(&mut self) {
        self.protocol = Protocol::Http1;
        wake(&mut self.reader);
    }

    pub(super) fn expect_head(&mut self) {
        self.protocol = Protocol::Head;
        wake(&mut self.reader);
    }

    pub(super) fn close(&mut self) {
        self.protocol = Protocol::None;
        self.stream = None;
        wake(&mut self.reader);
    }

    /// The socket itself, and what was read of it.
    pub(super) fn take(&mut self) -> Option<(TcpStream, Bytes)> {
        let ahead = std::mem::take(&mut self.ahead);
        self.stream.take().map(|stream| (stream, ahead))
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.protocol {
            // The end of a connection that nobody may use again.
            Protocol::None => return Poll::Ready(Ok(())),
            // Pingora waits for as long as the tunnel lasts.
            Protocol::Unknown | Protocol::Switched => {
                self.reader = Some(context.waker().clone());
                return Poll::Pending;
            }
            Protocol::Head | Protocol::Http1 => {}
        }
        if self.ahead.is_empty() {
            if self.protocol == Protocol::Http1 {
                return self.poll_read_piece(context, into);
            }
            ready!(self.poll_read_ahead(context))?;
        }
        // No more is looked at than can be given, since what was looked at counts.
        let room = self.ahead.len().min(into.remaining());
        let part = self.part_to_give(room);
        into.put_slice(&self.ahead[..part]);
        self.ahead.advance(part);
        Poll::Ready(Ok(()))
    }

    /// Bytes of what is ahead that belong to the head. It ends with an empty line.
    fn part_to_give(&mut self, room: usize) -> usize {
        if self.protocol == Protocol::Http1 {
            return room;
        }
        for (index, byte) in self.ahead[..room].iter().enumerate() {
            match byte {
                b'\n' if self.line_ended => {
                    self.line_ended = false;
                    self.protocol = Protocol::Unknown;
                    return index + 1;
                }
                b'\n' => self.line_ended = true,
                b'\r' => {}
                _ => self.line_ended = false,
            }
        }
        room
    }

    fn poll_read_ahead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = [MaybeUninit::uninit(); HEAD_PART_BYTES];
        let mut read = ReadBuf::uninit(&mut space);
        ready!(self.poll_read_stream(context, &mut read))?;
        self.ahead = Bytes::copy_from_slice(read.filled());
        Poll::Ready(Ok(()))
    }

    fn poll_read_piece(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if into.remaining() <= self.piece_bytes {
            return self.poll_read_stream(context, into);
        }
        let mut piece = ReadBuf::new(into.initialize_unfilled_to(self.piece_bytes));
        ready!(self.poll_read_stream(context, &mut piece))?;
        let bytes = piece.filled().len();
        into.advance(bytes);
        Poll::Ready(Ok(()))
    }

    fn poll_read_stream(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_read(context, into),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        Pin::new(stream).poll_write(context, bytes)
    }
}

/// What Pingora reads and writes.
#[derive(Debug)]
pub(super) struct TunnelSocket(Arc<Tunnel>);

impl AsyncRead for TunnelSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.lock().poll_read(context, into)
    }
}

impl AsyncWrite for TunnelSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().poll_write(context, bytes)
    }

    /// A TCP socket has no buffer of its own.
    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0.lock().stream {
            Some(stream) => Pin::new(stream).poll_shutdown(context),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl VirtualSocket for TunnelSocket {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        let socket = self.0.lock();
        let Some(stream) = &socket.stream else { return Ok(()) };
        match option {
            VirtualSockOpt::NoDelay => stream.set_nodelay(true),
            VirtualSockOpt::KeepAlive(keepalive) => {
                set_tcp_keepalive(stream, &keepalive).map_err(io::Error::other)
            }
            // Of those to come, none is needed to pass bytes on.
            _ => Ok(()),
        }
    }
}

/// Connects the socket of one tunnel.
#[derive(Debug)]
pub(super) struct Connect {
    tunnel: Arc<Tunnel>,
    connect_timeout: Option<Duration>,
}

impl Connect {
    pub(super) fn new(tunnel: Arc<Tunnel>, connect_timeout: Option<Duration>) -> Self {
        Self { tunnel, connect_timeout }
    }

    async fn connect_tcp(&self, address: &InetAddress) -> Result<TcpStream> {
        let connecting = connect(address, None);
        let Some(patience) = self.connect_timeout else { return connecting.await };
        timeout(patience, connecting)
            .await
            .map_err(|late| Error::because(ErrorType::ConnectTimedout, "connecting", late))?
    }
}

#[async_trait]
impl L4Connect for Connect {
    async fn connect(&self, address: &SocketAddr) -> Result<L4Stream> {
        let SocketAddr::Inet(address) = address else {
            return Error::e_explain(ErrorType::ConnectError, "no tunnel over this address");
        };
        let stream = self.connect_tcp(address).await?;
        self.tunnel.lock().stream = Some(stream);
        Ok(VirtualSocketStream::new(Box::new(TunnelSocket(self.tunnel.clone()))).into())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::ReadAhead;

    async fn connected() -> (TcpStream, Arc<Tunnel>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = pingora_core::upstreams::peer::HttpPeer::new(
            listener.local_addr().unwrap(),
            false,
            String::new(),
        );
        peer.options.read_timeout = Some(Duration::from_secs(5));
        let tunnel =
            Tunnel::prepare(&mut peer, Duration::from_secs(60), ReadAhead::within(u64::MAX));
        assert_eq!(peer.options.read_timeout, None);
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        tunnel.lock().stream = Some(near);
        (listener.accept().await.unwrap().0, tunnel)
    }

    #[tokio::test]
    async fn what_follows_a_head_is_not_given_out_with_it() {
        let (mut origin, tunnel) = connected().await;
        let mut socket = TunnelSocket(tunnel.clone());
        origin
            .write_all(b"HTTP/1.1 103 Hi\r\nA: b\r\n\r\nHTTP/1.1 101 S\r\n\r\nrest")
            .await
            .unwrap();
        let mut into = [0; 100];
        let mut heads = Vec::new();
        for _ in 0..2 {
            tunnel.expect_head();
            let read = socket.read(&mut into).await.unwrap();
            heads.push(String::from_utf8_lossy(&into[..read]).into_owned());
        }
        assert_eq!(heads, ["HTTP/1.1 103 Hi\r\nA: b\r\n\r\n", "HTTP/1.1 101 S\r\n\r\n"]);
        tunnel.switch();
        assert_eq!(tunnel.lock().take().unwrap().1, "rest");
    }

    #[tokio::test]
    async fn a_response_that_is_no_tunnel_is_given_out_whole_and_the_connection_once() {
        let (mut origin, tunnel) = connected().await;
        let mut socket = TunnelSocket(tunnel.clone());
        origin.write_all(b"HTTP/1.1 200 OK\r\n\r\na\r\n\r\nb").await.unwrap();
        let mut into = [0; 100];
        assert_eq!(socket.read(&mut into).await.unwrap(), 19);
        tunnel.decline();
        assert_eq!(socket.read(&mut into).await.unwrap(), 6);
        tunnel.close();
        assert_eq!(socket.read(&mut into).await.unwrap(), 0);
    }
}
