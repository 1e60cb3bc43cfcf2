//! Large bodies that nobody looks at, moved by the kernel: from the origin's socket into a pipe, and
//! from there into the client's (`splice(2)`). No byte of them is copied to this process.
//!
//! A pipe takes two descriptors and is made once: each worker keeps a few.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::pool::Socket;
use crate::descriptors;

/// What a pipe holds, and so what a client that does not read keeps there. A call moves as much at
/// most. It is the kernel's default: what a user's pipes may hold together is bounded, and larger
/// ones reach that bound sooner.
pub(super) const PIPE_BYTES: usize = 64 << 10;

/// Pipes that a worker keeps: as many large bodies pass at once before new ones are made.
const KEPT_MAX: usize = 16;

/// The pipes of one worker.
#[derive(Debug, Default)]
pub(super) struct Pipes(Mutex<Vec<Pipe>>);

/// A pipe with bytes on their way.
#[derive(Debug)]
pub(super) struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
    inside: usize,
}

impl Pipes {
    /// A pipe without bytes; `None` if there is none to be had, so that they have to go another way.
    pub(super) fn take(&self) -> Option<Pipe> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.or_else(Pipe::new)
    }

    /// Keeps a pipe, unless bytes are left in it.
    pub(super) fn put(&self, pipe: Pipe) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pipe.inside == 0 && kept.len() < KEPT_MAX {
            kept.push(pipe);
        }
    }
}

impl Pipe {
    fn new() -> Option<Self> {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        if descriptors::is_reserved(into.as_raw_fd()) || descriptors::is_reserved(out.as_raw_fd()) {
            return None;
        }
        // Beyond the bound of a user's pipes the kernel makes smaller ones, which are slower than copying.
        if fcntl_getpipe_size(&into).ok()? < PIPE_BYTES {
            return None;
        }
        Some(Self { out, into, inside: 0 })
    }

    /// Whether nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.inside == 0
    }

    /// Moves up to `most` bytes from `socket` into the pipe, which is empty. Returns how many; 0 at the end.
    pub(super) fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        socket: &Socket,
        most: u64,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(self.is_empty(), "what is in the pipe would be taken for an empty socket");
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(PIPE_BYTES);
        let moved = match socket {
            Socket::Tcp(stream) => loop {
                ready!(stream.poll_read_ready(context))?;
                match stream.try_io(Interest::READABLE, || shift(stream, &self.into, most)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    moved => break moved?,
                }
            },
            Socket::Unix(stream) => loop {
                ready!(stream.poll_read_ready(context))?;
                match stream.try_io(Interest::READABLE, || shift(stream, &self.into, most)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    moved => break moved?,
                }
            },
        };
        self.inside = moved;
        Poll::Ready(Ok(moved))
    }

    /// Moves what is in the pipe to `client`. Returns how many bytes went.
    pub(super) fn poll_drain(
        &mut self,
        context: &mut Context<'_>,
        client: &TcpStream,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(client.poll_write_ready(context))?;
            let inside = self.inside;
            match client.try_io(Interest::WRITABLE, || shift(&self.out, client, inside)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                moved => {
                    let moved = moved?;
                    self.inside -= moved;
                    return Poll::Ready(Ok(moved));
                }
            }
        }
    }
}

fn shift(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
    Ok(splice(from, None, to, None, most, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)?)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, UnixStream};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (connected, accepted) = tokio::join!(connecting, listener.accept());
        (connected.unwrap(), accepted.unwrap().0)
    }

    /// Moves `left` bytes, or fewer if `from` ends before. Returns how many are missing.
    async fn relay(pipes: &Pipes, from: &Socket, to: &TcpStream, mut left: u64) -> u64 {
        let mut pipe = pipes.take().unwrap();
        while left > 0 {
            let moved = poll_fn(|context| pipe.poll_fill(context, from, left)).await.unwrap();
            if moved == 0 {
                break;
            }
            left -= moved as u64;
            while !pipe.is_empty() {
                poll_fn(|context| pipe.poll_drain(context, to)).await.unwrap();
            }
        }
        pipes.put(pipe);
        left
    }

    fn noise(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| (at * 31 % 251) as u8).collect()
    }

    #[tokio::test]
    async fn a_body_passes_whole_and_what_follows_it_stays() {
        let pipes = Pipes::default();
        let body = noise(1_000_003);
        let (mut origin, from) = pair().await;
        let (mut client, to) = pair().await;
        let sent = [&body[..], b"next"].concat();
        let from = Socket::Tcp(from);
        let (left, _, came) = tokio::join!(
            relay(&pipes, &from, &to, body.len() as u64),
            async { origin.write_all(&sent).await.unwrap() },
            async {
                let mut came = vec![0; body.len()];
                client.read_exact(&mut came).await.unwrap();
                came
            }
        );
        assert_eq!(left, 0);
        assert!(came == body);
        let (Socket::Tcp(mut from), mut next) = (from, [0; 4]) else { unreachable!() };
        from.read_exact(&mut next).await.unwrap();
        assert_eq!(&next, b"next");
        assert_eq!(pipes.0.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_body_that_is_cut_is_noticed_and_unix_sockets_are_spliced_too() {
        let pipes = Pipes::default();
        let (mut origin, from) = UnixStream::pair().unwrap();
        let (mut client, to) = pair().await;
        let from = Socket::Unix(from);
        let (left, ()) = tokio::join!(relay(&pipes, &from, &to, 100), async {
            origin.write_all(b"half").await.unwrap();
            drop(origin);
        });
        drop(to);
        let mut came = Vec::new();
        client.read_to_end(&mut came).await.unwrap();
        assert_eq!((left, &came[..]), (96, &b"half"[..]));
    }

    #[tokio::test]
    async fn a_client_that_is_gone_is_an_error_and_its_pipe_is_not_kept() {
        let pipes = Pipes::default();
        let (mut origin, from) = pair().await;
        let (client, to) = pair().await;
        drop(client);
        origin.write_all(&noise(64 << 10)).await.unwrap();
        let from = Socket::Tcp(from);
        let mut pipe = pipes.take().unwrap();
        let failed = loop {
            poll_fn(|context| pipe.poll_fill(context, &from, 1)).await.unwrap();
            if let Err(error) = poll_fn(|context| pipe.poll_drain(context, &to)).await {
                break error;
            }
        };
        let gone = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
        assert!(gone.contains(&failed.kind()), "{failed}");
        pipes.put(pipe);
        assert!(pipes.0.lock().unwrap().is_empty());
    }
}
