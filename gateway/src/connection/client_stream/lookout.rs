//! Whether a client has left that is not read.
//!
//! An upload that its origin does not take is not read on, and its end waits behind it: a reset
//! shows in the state of the socket, and a close does not show at all, because the client's kernel
//! cannot send it while our window is shut. On that side nobody is left to take anything, so that
//! whatever it is sent brings a reset. An interim response is all that may be sent at this time.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pingora_core::protocols::UniqueID as _;
use pingora_core::protocols::l4::ext::get_tcp_info;
use tokio::time::{Sleep, sleep};

use super::{ClientStream, TCP_CLOSE};

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// At which looks in a row without anything read the client is sent an interim response. Those who
/// leave mostly do so soon, and Go's clients take no more than five in all.
const PROBED_AT: [u32; 3] = [1, 4, 16];

/// The client has closed its side; `linux/tcp_states.h`.
const TCP_CLOSE_WAIT: u8 = 8;

/// What is known of a client that is not read.
#[derive(Debug, Default)]
pub(super) struct Lookout {
    next: Option<Pin<Box<Sleep>>>,
    /// Whether something of it was read since the last look.
    pub(super) has_read: bool,
    /// Looks since something was read.
    looks: u32,
    /// Whether it was sent an interim response after it had closed its side.
    probed_half_closed: bool,
}

impl ClientStream {
    /// Ready when the client is gone, without reading what it has sent. It takes a second to tell.
    pub(crate) fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let next = self.lookout.next.get_or_insert_with(|| Box::pin(sleep(LOOK_EVERY)));
            ready!(next.as_mut().poll(context));
            self.lookout.next = None;
            if self.has_left(context) {
                return Poll::Ready(());
            }
        }
    }

    fn has_left(&mut self, context: &mut Context<'_>) -> bool {
        // What is no TCP says nothing.
        let Ok(info) = get_tcp_info(self.id()) else { return false };
        if info.tcpi_state == TCP_CLOSE {
            return true;
        }
        if std::mem::take(&mut self.lookout.has_read) {
            self.lookout.looks = 0;
            return false;
        }
        self.lookout.looks += 1;
        let is_half_closed = info.tcpi_state == TCP_CLOSE_WAIT;
        let is_due = match is_half_closed {
            true => !std::mem::replace(&mut self.lookout.probed_half_closed, true),
            false => PROBED_AT.contains(&self.lookout.looks),
        };
        is_due
            && self.may_probe()
            && matches!(self.poll_write_continue(context), Poll::Ready(Err(_)))
    }

    /// Whether the client has a body under way, and may be told to go on with it.
    fn may_probe(&self) -> bool {
        !self.wrote
            && !self.is_at_request_end()
            && self.knows_interim.load(Relaxed)
            && !self.awaits_continue.load(Relaxed)
    }
}
