//! What a listener bears of its HTTP/2 clients.

use std::time::Duration;

/// Bounds of one HTTP/2 connection of a client. `docs/limits.md` gives the reason of each default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http2 {
    /// Requests under way at once.
    pub max_streams: u64,
    /// RST_STREAM in ten seconds.
    pub max_resets: u64,
    /// PING in ten seconds, and one more for each KiB sent.
    pub max_pings: u64,
    /// SETTINGS in ten seconds.
    pub max_settings: u64,
    /// Other frames that carry nothing of a message in ten seconds, and one more for each KiB sent.
    pub max_control_frames: u64,
    /// Streams that wait for the client's window for more than five seconds.
    pub max_stalled_streams: u64,
    /// How long it takes new requests.
    pub max_age: Duration,
}
