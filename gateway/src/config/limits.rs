//! What a client or a configuration may at most make this process hold.
//!
//! One table, here and in `docs/limits.md`: every entry has a default and a reason, and a test
//! compares the two.

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
    /// Bytes of one request's body; more are refused with 413. `u64::MAX` means unlimited.
    pub request_body_bytes: u64,
    /// Idle connections kept to all endpoints together, per worker thread.
    pub upstream_idle_connections: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            virtual_hosts: 100_000,
            domains: 200_000,
            routes: 100_000,
            upstreams: 10_000,
            endpoints: 65_535,
            hash_table_slots: 64 << 20,
            request_headers: 100,
            request_header_bytes: 64 << 10,
            request_body_bytes: u64::MAX,
            upstream_idle_connections: 1_024,
        }
    }
}

impl Limits {
    /// Each limit's key in the file and its value, in the order of the table in the documentation.
    #[must_use]
    pub fn entries(&self) -> [(&'static str, u64); 10] {
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
            ("upstream_idle_connections", self.upstream_idle_connections),
        ]
    }
}
