//! A connection to the endpoint is there: is it fit for use, and until when is it this request's?
//!
//! How often one could be reused is worth publishing, since Pingora silently stops reusing when peers differ in
//! anything.

use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use pingora_error::{Error, ErrorType, Result};

use super::cause::Cause;
use super::client::Client;
use super::context::RequestContext;
use super::pace;
use crate::descriptors;

/// A connection to an endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// Its socket.
    pub(crate) socket: RawFd,
    /// Whether it was used before.
    pub(crate) reused: bool,
    /// Whether the request has it to itself.
    pub(crate) is_http1: bool,
    /// Whether it is encrypted.
    pub(crate) is_tls: bool,
}

/// Counts the connection and sets the request's deadline on it.
///
/// # Errors
/// It came from the pool, and bytes came on it that nobody asked for: they would be taken for the answer. Another
/// connection is tried. Or it is new and took a descriptor kept in reserve: [`Cause::Resources`].
pub(super) fn run(
    client: &mut impl Client,
    origin: Origin,
    ctx: &mut RequestContext,
) -> Result<()> {
    let Origin { socket, reused, is_http1, is_tls } = origin;
    if reused && is_http1 && !is_tls && !is_silent(socket) {
        ctx.attempt.stale = true;
        return Err(Error::new_up(ErrorType::ConnectionClosed));
    }
    ctx.attempt.tries.connected(reused);
    if !reused && descriptors::is_reserved(socket) {
        descriptors::report_exhaustion();
        ctx.cause = Some(Cause::Resources);
        return Err(Cause::Resources.into_error().into_up());
    }
    if is_http1 {
        pace::watch(client, socket, ctx);
    }
    Ok(())
}

/// Whether neither bytes nor an end have come. Pingora asks its reactor when it takes a connection from the pool, and
/// the reactor knows what it was told before this turn of the worker: only the kernel knows what has come since.
fn is_silent(socket: RawFd) -> bool {
    recv(socket, &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) == Err(Errno::EAGAIN)
}
