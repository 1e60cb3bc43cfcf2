//! What a caller knows of its endpoints at the moment it asks for one.
//!
//! Health, the endpoints one request has tried and the requests in flight change with every request, while
//! an algorithm's tables change with every configuration. Keeping the first behind a trait lets the tables be
//! shared and immutable, and lets a caller answer from whatever it keeps: atomics, a bit set, nothing at all.

/// The state of the endpoints, by their index in the slice the [`Balancer`](crate::Balancer) was built from.
///
/// Both questions are asked on the request path, possibly once an endpoint, so an answer should cost no more
/// than a load. Answers may change while a selection is under way: the selection then uses one or the other.
pub trait View {
    /// Whether a request may go to this endpoint now: healthy, not draining, not yet tried by this request.
    fn usable(&self, endpoint: usize) -> bool {
        let _ = endpoint;
        true
    }

    /// Requests this endpoint is serving now. Only the least request policy asks.
    fn in_flight(&self, endpoint: usize) -> u32 {
        let _ = endpoint;
        0
    }
}

/// Nothing is known: every endpoint is usable and idle.
impl View for () {}

/// Whether one of `endpoints` endpoints is usable. Stops at the first that is, so among mostly healthy
/// endpoints it costs one or two questions.
pub(crate) fn any_usable(endpoints: usize, view: &(impl View + ?Sized)) -> bool {
    (0..endpoints).any(|endpoint| view.usable(endpoint))
}
