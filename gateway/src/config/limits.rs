//! What a client or a configuration may at most make this process hold.
//!
//! One table, here and in `docs/limits.md`: every entry has a default and a reason, and a test
//! compares the two.

use std::time::Duration;

/// The limits of a running gateway. `docs/limits.md` gives the reason of each default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Virtual hosts in all files together.
    pub virtual_hosts: u64,
    /// Domains in all virtual hosts together.
    pub domains: u64,
    /// Routes in all virtual hosts together.
    pub routes: u64,
    /// Upstreams in all files together.
    pub upstreams: u64,
    /// Endpoints of one upstream.
    pub endpoints: u64,
    /// Slots of all consistent-hashing tables together; one takes two bytes.
    pub hash_table_slots: u64,
    /// Header fields of one request; more are refused with 431.
    pub request_headers: u64,
    /// Bytes of one request's head; more are refused with 431.
    pub request_header_bytes: u64,
    /// Which names a request's header fields may have.
    pub header_names: HeaderNames,
    /// Bytes of one request's body; more are refused with 413. `u64::MAX` means unlimited.
    pub request_body_bytes: u64,
    /// Bytes a second that a request's body must bring on average, once it has had [`Self::SLOW_BODY_GRACE`] for
    /// free and as long as no response has begun; 0 for none. Slower ones end with 408.
    pub request_body_min_rate: u64,
    /// Bytes that are held of one response for a client that does not read; `u64::MAX` means as many as fit in Pingora's
    /// queues.
    pub client_unread_bytes: u64,
    /// With how many routes, or endpoints, those without traffic are exposed as metrics as well.
    pub idle_route_series: u64,
    /// Idle connections kept to all endpoints together, per worker thread.
    pub upstream_idle_connections: u64,
}

/// Which names of header fields are passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderNames {
    /// Letters, digits and `-`. Fields with other names are left out: an origin behind CGI or WSGI takes
    /// `X_User` for `X-User`, which a filter may have vouched for.
    Strict,
    /// Whatever RFC 9110 allows, but for names that imitate a field that is there.
    Any,
}

impl HeaderNames {
    /// As it is written in the file.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Any => "any",
        }
    }
}

/// How much of a response is read before its client has taken what came before, by who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadAhead {
    /// At once, by the engine: one such piece waits for its client, and there is room for another.
    pub piece_bytes: usize,
    /// The window of a stream of HTTP/2 from an origin; Pingora's own of 8 MiB where there is no
    /// bound. What its queue holds comes on top.
    pub window_bytes: Option<u32>,
    /// At once, by Pingora from an origin of HTTP/1, of which up to ten pieces are under way.
    pub pingora_piece_bytes: Option<usize>,
    /// The same where the connection might have become a tunnel, as Pingora reads it by our socket.
    pub upgrade_piece_bytes: Option<usize>,
}

impl ReadAhead {
    /// What was measured to be worth its memory: larger pieces save no time.
    const PIECE_BYTES_MAX: u64 = 64 << 10;
    /// RFC 9113, 6.9.1.
    const WINDOW_BYTES_MAX: u64 = (1 << 31) - 1;

    /// With `bound` for all of it; `u64::MAX` is none.
    #[must_use]
    pub fn within(bound: u64) -> Self {
        let is_bounded = bound != u64::MAX;
        Self {
            piece_bytes: (bound / 4).min(Self::PIECE_BYTES_MAX) as usize,
            window_bytes: is_bounded.then(|| (bound / 4).min(Self::WINDOW_BYTES_MAX) as u32),
            pingora_piece_bytes: is_bounded.then_some((bound / 16) as usize),
            upgrade_piece_bytes: is_bounded.then_some((bound / 32) as usize),
        }
    }
}

impl Limits {
    /// How long a body may take before its rate counts: a client that lost its network for a moment is no attack.
    pub const SLOW_BODY_GRACE: Duration = Duration::from_secs(5);

    /// How much of a response is held for a client that does not read it.
    #[must_use]
    pub fn read_ahead(&self) -> ReadAhead {
        ReadAhead::within(self.client_unread_bytes)
    }

    /// Each limit's key in the file and its value, in the order of the table in the documentation.
    #[must_use]
    pub fn entries(&self) -> [(&'static str, u64); 13] {
        [
            ("virtual_hosts", self.virtual_hosts),
            ("domains", self.domains),
            ("routes", self.routes),
            ("upstreams", self.upstreams),
            ("endpoints", self.endpoints),
            ("hash_table_slots", self.hash_table_slots),
            ("request_headers", self.request_headers),
            ("request_header_bytes", self.request_header_bytes),
            ("request_body_bytes", self.request_body_bytes),
            ("request_body_min_rate", self.request_body_min_rate),
            ("client_unread_bytes", self.client_unread_bytes),
            ("idle_route_series", self.idle_route_series),
            ("upstream_idle_connections", self.upstream_idle_connections),
        ]
    }
}
