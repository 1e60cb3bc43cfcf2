//! `limits`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::{Bytes, BytesOrUnlimited, Int, RateOrOff};

/// What a client or a configuration may at most make the gateway hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Virtual hosts in all files together.
    pub virtual_hosts: Int<1, 10_000_000>,
    /// Domains in all virtual hosts together.
    pub domains: Int<1, 10_000_000>,
    /// Routes in all virtual hosts together.
    pub routes: Int<1, 10_000_000>,
    /// Upstreams in all files together.
    pub upstreams: Int<1, 1_000_000>,
    /// Endpoints of one upstream.
    pub endpoints: Int<1, 65_535>,
    /// Slots of all consistent-hashing tables together, two bytes each.
    pub hash_table_slots: Int<1, 68_719_476_736>,
    // Pingora's own parser refuses a request with more than 256 fields, or a head over 1 MiB.
    /// Header fields of one request; more are refused with 431.
    pub request_headers: Int<1, 256>,
    /// Bytes of one request's head; more are refused with 431.
    pub request_header_bytes: Bytes<256, 1_048_576>,
    /// Which names a request's header fields may have.
    pub header_names: HeaderNames,
    /// Bytes of one request's body; more are refused with 413.
    pub request_body_bytes: BytesOrUnlimited,
    /// Bytes a second that a request's body must bring on average, after 5 s for free and until the
    /// response begins. Slower ones end with 408.
    pub request_body_min_rate: RateOrOff,
    /// Bytes that the gateway holds of one response for a client that does not read; the kernel's queues
    /// are beside it.
    pub client_unread_bytes: BytesOrUnlimited<65_536>,
    /// Routes up to which each has its series from the start, at 0; with more a series comes with its first
    /// request.
    pub idle_route_series: Int<0, 1_000_000>,
    /// Idle connections kept to all endpoints together, for each worker thread.
    pub upstream_idle_connections: Int<1, 1_000_000>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            virtual_hosts: Int(100_000),
            domains: Int(200_000),
            routes: Int(100_000),
            upstreams: Int(10_000),
            endpoints: Int(65_535),
            hash_table_slots: Int(64 << 20),
            request_headers: Int(100),
            request_header_bytes: Bytes(64 << 10),
            header_names: HeaderNames::Strict,
            request_body_bytes: BytesOrUnlimited(u64::MAX),
            request_body_min_rate: RateOrOff(240),
            client_unread_bytes: BytesOrUnlimited(256 << 10),
            idle_route_series: Int(1_000),
            upstream_idle_connections: Int(1_024),
        }
    }
}

/// Which names of header fields are passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(title = "rule for names")]
pub enum HeaderNames {
    /// Letters, digits and `-`. Fields with other names are left out: an origin behind CGI or WSGI takes
    /// `X_User` for `X-User`, which a filter may have vouched for.
    Strict,
    /// Whatever RFC 9110 allows, but for names that imitate a field that is there.
    Any,
}
