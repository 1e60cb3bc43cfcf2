//! One type for all policies.
//!
//! An upstream's policy is chosen by its configuration, so it is known only at run time; an enum makes that a
//! branch the processor predicts instead of a call through a pointer, and lets the view be inlined. Nothing
//! of an algorithm is here.

use crate::endpoint::{BuildError, Endpoint};
use crate::least_request::LeastRequest;
use crate::maglev::{self, Maglev};
use crate::random::Random;
use crate::ring_hash::RingHash;
use crate::round_robin::RoundRobin;
use crate::view::View;

/// How an upstream's requests are spread over its endpoints. All policies respect weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Smooth weighted round robin: every endpoint in turn, the turns of heavier ones spread evenly. Exact up
    /// to 65,536 turns a round (the sum of the weights by their greatest common divisor); beyond, weights are
    /// scaled to fit, an error of less than one turn in that many for each endpoint.
    RoundRobin,
    /// The less loaded of two endpoints drawn by weight, by requests in flight for their weight (power of two
    /// choices, Mitzenmacher 2001). While both are idle the weights alone decide.
    LeastRequest,
    /// Drawn by weight.
    Random,
    /// Consistent hashing over a ring of about 160 points an endpoint, at most about a million together
    /// (Karger et al. 1997). When one of several equal endpoints leaves, only its own keys move; among uneven
    /// ones the mean weight changes with it, and a few more. Shares are even to about 8 %.
    RingHash,
    /// Consistent hashing through a table of this many slots, a prime (Maglev, Eisenbud et al., NSDI 2016).
    /// More even and faster than the ring; a few keys move that need not. See
    /// [`MAGLEV_TABLE_SIZE`](crate::MAGLEV_TABLE_SIZE) for the usual size.
    Maglev {
        /// Number of slots, at least the number of endpoints; a hundred for each keeps shares even to 1 %.
        table_size: u32,
    },
}

impl Policy {
    /// Whether a balancer of this policy can be built for so many endpoints, without building it.
    ///
    /// # Errors
    ///
    /// What is wrong with the Maglev table's size.
    pub fn check(self, endpoints: usize) -> Result<(), BuildError> {
        match self {
            Self::Maglev { table_size } => maglev::check_size(table_size, endpoints),
            _ => Ok(()),
        }
    }
}

/// An upstream's endpoints and the policy that chooses among them.
///
/// Immutable apart from round robin's cursor, and shared between threads without a lock.
#[derive(Debug)]
pub struct Balancer(Algorithm);

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "the padding of round robin's cursor; a box would put a pointer before every request, and there is one of these an upstream"
)]
enum Algorithm {
    RoundRobin(RoundRobin),
    LeastRequest(LeastRequest),
    Random(Random),
    RingHash(RingHash),
    Maglev(Maglev),
}

impl Balancer {
    /// Builds whatever the policy looks things up in.
    ///
    /// Costs a sort of the endpoints and, for a hashing policy, the building of its table or ring: a few
    /// milliseconds for 1,000 endpoints, so off the request path.
    ///
    /// # Errors
    /// An empty or too long list, a weight of 0, an address given twice, or a Maglev table size that is not
    /// prime, smaller than the list or past the limit: see [`BuildError`].
    pub fn new(policy: Policy, endpoints: &[Endpoint]) -> Result<Self, BuildError> {
        let algorithm = match policy {
            Policy::RoundRobin => Algorithm::RoundRobin(RoundRobin::new(endpoints)?),
            Policy::LeastRequest => Algorithm::LeastRequest(LeastRequest::new(endpoints)?),
            Policy::Random => Algorithm::Random(Random::new(endpoints)?),
            Policy::RingHash => Algorithm::RingHash(RingHash::new(endpoints)?),
            Policy::Maglev { table_size } => Algorithm::Maglev(Maglev::new(endpoints, table_size)?),
        };
        Ok(Self(algorithm))
    }

    /// The endpoint for a request, as an index into the list given to [`new`](Self::new), or `None` exactly
    /// when `view` has none usable.
    ///
    /// The hashing policies send equal keys to equal endpoints; `key` should be a hash of what identifies the
    /// client, such as [`hash_key`](crate::hash_key) gives. The others ignore it. For a retry, call again with
    /// a view in which the endpoints tried so far are not usable: the hashing policies then go on to the next
    /// endpoint in the order of their table or ring, the same for every request with that key.
    ///
    /// Allocates nothing and takes no lock. Some nanoseconds while most endpoints are usable; with few, up to
    /// a question to `view` for each entry of the schedule, table or ring.
    pub fn select(&self, key: u64, view: &(impl View + ?Sized)) -> Option<usize> {
        match &self.0 {
            Algorithm::RoundRobin(algorithm) => algorithm.select(view),
            Algorithm::LeastRequest(algorithm) => algorithm.select(view),
            Algorithm::Random(algorithm) => algorithm.select(view),
            Algorithm::RingHash(algorithm) => algorithm.select(key, view),
            Algorithm::Maglev(algorithm) => algorithm.select(key, view),
        }
    }

    /// The endpoint that [`select`](Self::select) would give the next request with this key and view. Takes no
    /// turn, so asking changes nothing for requests. Policies that draw may well draw another next time.
    pub fn peek(&self, key: u64, view: &(impl View + ?Sized)) -> Option<usize> {
        match &self.0 {
            Algorithm::RoundRobin(algorithm) => algorithm.peek(view),
            _ => self.select(key, view),
        }
    }

    /// Bytes this balancer occupies, its tables included.
    pub fn memory_bytes(&self) -> usize {
        let heap = match &self.0 {
            Algorithm::RoundRobin(algorithm) => algorithm.heap_bytes(),
            Algorithm::LeastRequest(algorithm) => algorithm.heap_bytes(),
            Algorithm::Random(algorithm) => algorithm.heap_bytes(),
            Algorithm::RingHash(algorithm) => algorithm.heap_bytes(),
            Algorithm::Maglev(algorithm) => algorithm.heap_bytes(),
        };
        size_of::<Self>() + heap
    }
}

#[cfg(test)]
mod tests;
