//! One connection that is never waited for.
//!
//! Owns a socket and the request that is under way on it. It says what became of reading and writing;
//! what that means for the schedule is [`super::engine`]'s part.

use super::reader::{Progress, Reader};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrV4, SocketFlags, SocketType, bind, connect,
    recv, send, socket_with, sockopt,
};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

/// A request that was sent, or waits for its connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    /// Its number in the schedule.
    pub(super) number: u64,
    /// When it was handed to the connection.
    pub(super) since: Instant,
    written: usize,
}

/// What a connection that can be read or written came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Nothing that matters.
    None,
    /// The answer is whole.
    Answered {
        /// Its status.
        status: u16,
        /// Whether the connection can take another request.
        keep: bool,
    },
    /// It could not be made.
    Refused,
    /// It ended; with a request under way, that has failed.
    Closed,
    /// What came is no answer.
    Unreadable,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    connected: bool,
    reader: Reader,
    /// What it is polled for.
    pub(super) polled_for: EventFlags,
    /// The request under way.
    pub(super) pending: Option<Pending>,
}

impl Connection {
    /// Begins to connect; it is to be polled for both ways.
    pub(super) fn open(target: SocketAddr, source: Option<Ipv4Addr>) -> Result<Self, Errno> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let family = match target {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        if let Some(source) = source {
            bind(&socket, &SocketAddrV4::new(source, 0))?;
        }
        match connect(&socket, &target) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let polled_for = EventFlags::IN | EventFlags::OUT;
        let reader = Reader::default();
        Ok(Self { socket, connected: false, reader, polled_for, pending: None })
    }

    /// Its socket, to be polled.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether it waits to become writable.
    pub(super) fn wants_to_write(&self, request_bytes: usize) -> bool {
        !self.connected || self.pending.is_some_and(|pending| pending.written < request_bytes)
    }

    /// Begins request `number`, which is to be written when the connection can be.
    pub(super) fn begin(&mut self, number: u64, now: Instant) {
        self.pending = Some(Pending { number, since: now, written: 0 });
    }

    /// Writes as much of `request` as goes.
    pub(super) fn write(&mut self, request: &[u8]) -> Event {
        if !self.connected {
            match sockopt::socket_error(&self.socket) {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Event::Refused,
            }
        }
        let Some(pending) = &mut self.pending else { return Event::None };
        match send(&self.socket, &request[pending.written..], SendFlags::NOSIGNAL) {
            Ok(bytes) => {
                self.connected = true;
                pending.written += bytes;
                Event::None
            }
            Err(Errno::AGAIN | Errno::NOTCONN) => Event::None,
            Err(_) if self.connected => Event::Closed,
            Err(_) => Event::Refused,
        }
    }

    /// Reads what is there, through `buffer`.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Event {
        match recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) => Event::Closed,
            Ok((bytes, _)) => self.take(&buffer[..bytes]),
            // Not connected: the poll spoke of a connection that this one has replaced.
            Err(Errno::AGAIN | Errno::NOTCONN) => Event::None,
            Err(_) if self.connected => Event::Closed,
            Err(_) => Event::Refused,
        }
    }

    /// Whether an answer has begun.
    pub(super) fn is_answering(&self) -> bool {
        !self.reader.is_fresh()
    }

    fn take(&mut self, bytes: &[u8]) -> Event {
        if self.pending.is_none() {
            return Event::Unreadable;
        }
        match self.reader.feed(bytes) {
            Progress::More => Event::None,
            Progress::Done { status, keep } => Event::Answered { status, keep },
            Progress::Unreadable => Event::Unreadable,
        }
    }
}
