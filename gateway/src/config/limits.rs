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

impl Limits {
    /// How long a body may take before its rate counts: a client that lost its network for a moment is no attack.
    pub const SLOW_BODY_GRACE: Duration = Duration::from_secs(5);

    /// What the kernel may receive of a response ahead of us: `SO_RCVBUF` of an origin's connection. Pingora reads up to
    /// 64 KiB at once, and up to ten such pieces are under way to a client; each is no more than has been received.
    #[must_use]
    pub fn origin_receive_bytes(&self) -> Option<usize> {
        let bound = (self.client_unread_bytes != u64::MAX).then_some(self.client_unread_bytes)?;
        usize::try_from(bound / 16).ok()
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
