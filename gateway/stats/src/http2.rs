//! What is counted of clients' HTTP/2 connections: why the gateway ended them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why the gateway ended an HTTP/2 connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http2Closed {
    /// It was as old as a connection may become; its requests were finished.
    Age,
    /// No request came for as long as it may be idle.
    Idle,
    /// Its source came under a verdict.
    Verdict,
    /// Too many of its requests were malformed.
    Malformed,
    /// Too many RST_STREAM.
    Resets,
    /// Too many PING.
    Pings,
    /// Too many SETTINGS.
    Settings,
    /// Too many other frames that carry nothing.
    Frames,
    /// Too many of its streams waited for the client's windows.
    Stalled,
}

impl Http2Closed {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Age,
        Self::Idle,
        Self::Verdict,
        Self::Malformed,
        Self::Resets,
        Self::Pings,
        Self::Settings,
        Self::Frames,
        Self::Stalled,
    ];

    /// Its label in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Idle => "idle",
            Self::Verdict => "verdict",
            Self::Malformed => "malformed",
            Self::Resets => "resets",
            Self::Pings => "pings",
            Self::Settings => "settings",
            Self::Frames => "frames",
            Self::Stalled => "stalled",
        }
    }
}

/// Counts of ended connections, by reason. Exposed from the first one on.
#[derive(Debug, Default)]
pub struct Http2Stats {
    closed: [AtomicU64; Http2Closed::ALL.len()],
}

impl Http2Stats {
    /// Counts a connection that the gateway ended.
    pub fn closed(&self, reason: Http2Closed) {
        self.closed[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn figures(&self) -> [(Http2Closed, u64); Http2Closed::ALL.len()] {
        Http2Closed::ALL
            .map(|reason| (reason, self.closed[reason as usize].load(Ordering::Relaxed)))
    }
}
