//! The bytes of a tunnel, both ways: closed, half-closed and reset as its ends are.

use std::cell::RefCell;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use pingora_core::protocols::l4::ext::get_tcp_info;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::{End, Relayed};
use crate::turns;

/// Read at once. Each worker thread has one such space for all its tunnels, so that an idle one holds none.
const PART_BYTES: usize = 32 << 10;

/// Bytes that one direction passes on before others have a turn.
const TURN_BYTES: u64 = 64 << 10;

/// How long what was in flight may take to arrive before a reset follows it: a reset makes the kernel drop
/// what it has not sent. One that does not read has lost its claim by then.
const DELIVERY: Duration = Duration::from_secs(1);
const DELIVERY_POLL: Duration = Duration::from_millis(2);

thread_local! {
    static SPACE: RefCell<Box<[u8]>> = RefCell::new(vec![0; PART_BYTES].into());
}

/// One end of a tunnel.
pub(crate) trait Side: AsyncRead + AsyncWrite + Unpin {
    /// The number of its descriptor.
    fn descriptor(&self) -> i32;

    /// Makes closing it a reset.
    ///
    /// # Errors
    /// The system does not let us; it is closed in order then.
    fn close_by_reset(&self) -> io::Result<()>;
}

/// Which end failed, as seen from one direction.
enum Failed {
    Reader,
    Writer,
}

/// One direction.
struct Direction {
    /// Read, and not written yet.
    pending: Bytes,
    /// The reader has closed, and whether the writer knows.
    ended: bool,
    done: bool,
    unflushed: bool,
    /// Whether its reader had nothing more to say when it was last asked.
    silent: bool,
    bytes: u64,
}

impl Direction {
    fn new(pending: Bytes) -> Self {
        Self { pending, ended: false, done: false, unflushed: false, silent: true, bytes: 0 }
    }

    /// Passes on what there is, until either end has to be waited for or others should have a turn.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Failed> {
        if self.done {
            return Ok(());
        }
        let until = self.bytes + TURN_BYTES;
        loop {
            if !self.pending.is_empty() {
                match Pin::new(&mut *writer).poll_write(context, &self.pending) {
                    Poll::Ready(Ok(0) | Err(_)) => return Err(Failed::Writer),
                    Poll::Ready(Ok(written)) => {
                        self.pending.advance(written);
                        self.bytes += written as u64;
                        self.unflushed = true;
                        continue;
                    }
                    Poll::Pending => return Ok(()),
                }
            }
            if self.ended {
                return self.finish(context, writer);
            }
            if self.bytes >= until {
                context.waker().wake_by_ref();
                return Ok(());
            }
            match self.poll_fill(context, reader, writer) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(failed)) => return Err(failed),
                Poll::Pending => return self.flush(context, writer),
            }
        }
    }

    /// Reads a part and writes as much of it as goes at once; only the rest is kept.
    fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<Result<(), Failed>> {
        SPACE.with_borrow_mut(|space| {
            let mut read = ReadBuf::new(space);
            match Pin::new(reader).poll_read(context, &mut read) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Failed::Reader)),
                Poll::Pending => {
                    self.silent = true;
                    return Poll::Pending;
                }
            }
            self.silent = false;
            let part = read.filled();
            self.ended = part.is_empty();
            let written = match Pin::new(writer).poll_write(context, part) {
                Poll::Ready(Ok(written)) => written,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Failed::Writer)),
                Poll::Pending => 0,
            };
            self.bytes += written as u64;
            self.unflushed |= written > 0;
            self.pending = Bytes::copy_from_slice(&part[written..]);
            Poll::Ready(Ok(()))
        })
    }

    fn flush(
        &mut self,
        context: &mut Context<'_>,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Failed> {
        if self.unflushed {
            match Pin::new(writer).poll_flush(context) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => return Err(Failed::Writer),
                Poll::Pending => {}
            }
        }
        Ok(())
    }

    /// Passes the end on: the writer's other direction goes on.
    fn finish(
        &mut self,
        context: &mut Context<'_>,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Failed> {
        match Pin::new(writer).poll_shutdown(context) {
            Poll::Ready(Ok(())) => {
                self.done = true;
                Ok(())
            }
            Poll::Ready(Err(_)) => Err(Failed::Writer),
            Poll::Pending => Ok(()),
        }
    }
}

/// Who spoke last, to tell a conversation from a transfer.
#[derive(Default)]
struct Conversation {
    client_spoke_last: bool,
}

impl Conversation {
    /// Records the bytes that each direction passed on in one turn, and which of them have fallen silent. One
    /// that speaks when the other has fallen silent answers it; a transfer both ways at once is none the less
    /// a transfer.
    fn record(&mut self, up: u64, down: u64, up_silent: bool, down_silent: bool) {
        let answered = match (up > 0, down > 0) {
            (true, true) => up_silent && down_silent,
            (true, false) => !self.client_spoke_last && down_silent,
            (false, true) => self.client_spoke_last && up_silent,
            (false, false) => return,
        };
        if answered {
            turns::answered();
        }
        self.client_spoke_last = up > 0;
        turns::moved(usize::try_from(up + down).unwrap_or(usize::MAX));
    }
}

/// Relays between the two ends, of each of which something may have been read already. `passed` is
/// told how many bytes went to the origin and to the client, whenever some have.
pub(crate) async fn relay(
    (mut client, from_client): (impl Side, Bytes),
    (mut origin, from_origin): (impl Side, Bytes),
    idle: Duration,
    mut passed: impl FnMut(u64, u64),
) -> Relayed {
    let mut up = Direction::new(from_client);
    let mut down = Direction::new(from_origin);
    let mut conversation = Conversation::default();
    let mut patience = Patience::new(idle);
    let end = poll_fn(|context| {
        let before = (up.bytes, down.bytes);
        let ended = match up.poll(context, &mut client, &mut origin) {
            Ok(()) => match down.poll(context, &mut origin, &mut client) {
                Ok(()) => (up.done && down.done).then_some(End::Closed),
                Err(Failed::Reader) => Some(End::OriginReset),
                Err(Failed::Writer) => Some(End::ClientReset),
            },
            Err(Failed::Reader) => Some(End::ClientReset),
            Err(Failed::Writer) => Some(End::OriginReset),
        };
        let (sent, received) = (up.bytes - before.0, down.bytes - before.1);
        conversation.record(sent, received, up.silent, down.silent);
        if sent + received > 0 {
            passed(sent, received);
        }
        if let Some(end) = ended {
            return Poll::Ready(end);
        }
        patience.poll_over(context, sent + received > 0).map(|()| End::Idle)
    })
    .await;
    match end {
        End::ClientReset => reset_after(&mut origin, &up.pending).await,
        End::OriginReset => reset_after(&mut client, &down.pending).await,
        End::Closed | End::Idle => {}
    }
    Relayed { end, up_bytes: up.bytes, down_bytes: down.bytes }
}

/// Resets `side` once it has received what was in flight for it.
async fn reset_after(side: &mut impl Side, pending: &[u8]) {
    let delivery = async {
        if side.write_all(pending).await.is_err() || side.flush().await.is_err() {
            return;
        }
        while !is_delivered(side.descriptor()) {
            sleep(DELIVERY_POLL).await;
        }
    };
    // Late or not, the reset follows.
    timeout(DELIVERY, delivery).await.ok();
    if let Err(error) = side.close_by_reset() {
        tracing::debug!(%error, "a reset is passed on as a close");
    }
}

/// Whether the other end has confirmed all that was sent.
fn is_delivered(descriptor: i32) -> bool {
    get_tcp_info(descriptor)
        .map_or(true, |info| info.tcpi_unacked == 0 && info.tcpi_notsent_bytes == 0)
}

/// The time for which nothing may pass.
struct Patience {
    idle: Duration,
    last: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Patience {
    fn new(idle: Duration) -> Self {
        Self { idle, last: Instant::now(), timer: Box::pin(sleep(idle)) }
    }

    /// Ready when it is over. The timer is only set anew when it fires: something passes far more often.
    fn poll_over(&mut self, context: &mut Context<'_>, passed: bool) -> Poll<()> {
        if passed {
            self.last = Instant::now();
        }
        while self.timer.as_mut().poll(context).is_ready() {
            let until = self.last + self.idle;
            if until <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(until);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;
