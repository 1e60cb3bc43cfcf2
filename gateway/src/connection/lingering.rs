//! Closing in stages (RFC 9112, 9.6).
//!
//! A client that is still sending when its connection is closed gets a reset for what it sends, and the reset
//! takes the answer with it. So our side is closed first, and what comes is read and dropped until the client
//! closes too or has had enough of our time.

use std::io;
use std::time::Duration;

use pingora_core::protocols::Stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout, timeout_at};

/// Long enough for a slow link to take an answer and notice; what nginx allows.
const LINGER: Duration = Duration::from_secs(30);

/// One that was refused for being slow is owed no more patience.
const LINGER_SLOW: Duration = Duration::from_secs(2);

/// A client that neither sends nor closes for this long has read its answer or never will.
const SILENCE: Duration = Duration::from_secs(5);

/// Reading costs us less than sending costs the client; still nobody's upload is worth more.
const DROPPED_BYTES_MAX: usize = 256 << 20;

/// Dropped before others have a turn.
const TURN_BYTES: usize = 64 << 10;
const PART_BYTES: usize = 16 << 10;

/// Closes `stream` in stages, in the background; soon if the client was `slow`.
pub(super) fn close(stream: Stream, slow: bool) {
    // Without a runtime the process is ending.
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(linger(stream, if slow { LINGER_SLOW } else { LINGER }));
    }
}

async fn linger(mut stream: Stream, patience: Duration) {
    let deadline = Instant::now() + patience;
    // However it ends, there is nobody to tell.
    timeout_at(deadline, drain(&mut stream)).await.ok();
}

async fn drain(stream: &mut Stream) -> io::Result<()> {
    AsyncWriteExt::shutdown(stream).await?;
    let mut part = vec![0; PART_BYTES];
    let mut dropped = 0;
    let mut this_turn = 0;
    while dropped < DROPPED_BYTES_MAX {
        let read = timeout(SILENCE, stream.read(&mut part)).await.unwrap_or(Ok(0))?;
        if read == 0 {
            break;
        }
        dropped += read;
        this_turn += read;
        if this_turn >= TURN_BYTES {
            this_turn = 0;
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}
