//! The streams of one connection whose requests are being served, counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::Notify;

use super::watched::Watch;

/// How many there are, and how many wait for their client.
#[derive(Debug)]
pub(super) struct Streams {
    open: AtomicUsize,
    stalled: AtomicUsize,
    stalled_max: usize,
    /// Wakes the connection's loop: none is open, or too many are stalled.
    changed: Notify,
    watch: Watch,
}

/// One of them, for as long as this lives.
#[derive(Debug)]
pub(super) struct OpenStream(Arc<Streams>);

/// A stream that has waited for its client's window for long, for as long as this lives.
#[derive(Debug)]
pub(super) struct Stalled(Arc<Streams>);

impl Streams {
    /// Those of the connection that is watched by `watch`, of which `stalled_max` may be stalled.
    pub(super) fn new(watch: Watch, stalled_max: usize) -> Arc<Self> {
        Arc::new(Self {
            open: AtomicUsize::new(0),
            stalled: AtomicUsize::new(0),
            stalled_max,
            changed: Notify::new(),
            watch,
        })
    }

    /// Counts one in.
    pub(super) fn begin(self: &Arc<Self>) -> OpenStream {
        self.open.fetch_add(1, Relaxed);
        OpenStream(self.clone())
    }

    /// Waits until none was open for as long as `idle`; begins anew when it is asked again.
    pub(super) async fn idle_for(self: Arc<Self>, idle: Duration) {
        while self.open.load(Relaxed) > 0 {
            self.changed.notified().await;
        }
        pingora_timeout::sleep(idle).await;
    }
}

impl OpenStream {
    /// What is known of the connection.
    pub(super) fn watch(&self) -> &Watch {
        &self.0.watch
    }

    /// Counts it as stalled.
    pub(super) fn stall(&self) -> Stalled {
        self.0.stalled.fetch_add(1, Relaxed);
        Stalled(self.0.clone())
    }
}

impl Stalled {
    /// Ends the connection if too many of its streams are stalled.
    pub(super) fn check(&self) {
        let Self(streams) = self;
        if streams.stalled.load(Relaxed) > streams.stalled_max {
            streams.watch.set_stalled();
            streams.changed.notify_one();
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Relaxed) == 1 {
            self.0.changed.notify_one();
        }
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        self.0.stalled.fetch_sub(1, Relaxed);
    }
}
