//! The attempts of one exchange with an upstream: choosing an endpoint, trying another, setting
//! aside what fails, and counting. Requests and filters' calls go through it alike.
//!
//! It pins the upstream's endpoints with the first attempt and holds indices into them, so that what
//! discovery changes meanwhile is nothing to it.

use std::net::SocketAddr;

use pingora_core::upstreams::peer::HttpPeer;
use sallyport_stats::ErrorKind;

use super::{Choice, Endpoint, EndpointSet, Upstream};
use crate::live::Pinned;

/// What happened to an attempt that failed, as far as the endpoint and another attempt go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection could be made: nothing was sent, and any request may go elsewhere.
    Connect,
    /// A new connection broke before anything was answered: what may be sent twice may go elsewhere.
    Unanswered,
    /// This process had no descriptor left: no endpoint is to blame, and none would do
    /// better.
    Resources,
}

/// An exchange's attempts. [`Attempts::finish`] must be called in the end.
#[derive(Debug, Default)]
pub struct Attempts {
    /// What a hashing policy goes by.
    pub key: u64,
    /// The endpoints that all attempts choose among; there from the first one on.
    set: Option<Pinned<EndpointSet>>,
    /// Endpoints that failed.
    tried: Vec<usize>,
    current: Option<Current>,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    choice: Choice,
    /// The final status of the answer, 0 as long as there is none.
    status: u16,
    /// Whether anything was answered at all.
    answered: bool,
}

impl Attempts {
    /// Begins an attempt and counts it in. The endpoint at `preferred` is chosen if it is there,
    /// found healthy and untried. `None` if there is no endpoint to use.
    ///
    /// All attempts of one exchange must be at the same upstream.
    pub fn begin(&mut self, upstream: &Upstream, preferred: Option<SocketAddr>) -> Option<usize> {
        self.finish(None);
        let set = self.set.get_or_insert_with(|| upstream.pin());
        let choice = preferred
            .and_then(|address| self::preferred(set, address, &self.tried))
            .or_else(|| set.select(self.key, &self.tried))?;
        set.endpoint(choice.endpoint).begin();
        self.current = Some(Current { choice, status: 0, answered: false });
        Some(choice.endpoint)
    }

    /// The endpoints that attempts choose among, once there was one.
    #[must_use]
    pub fn set(&self) -> Option<&EndpointSet> {
        self.set.as_ref().map(|set| &***set)
    }

    /// The endpoint that the attempt under way is at.
    #[must_use]
    pub fn endpoint(&self) -> Option<&Endpoint> {
        Some(self.set()?.endpoint(self.current?.choice.endpoint))
    }

    /// The peer of the attempt under way.
    #[must_use]
    pub fn peer(&self) -> Option<Box<HttpPeer>> {
        Some(self.set()?.peer(self.current?.choice.endpoint))
    }

    /// Attempts so far: those that failed at an endpoint and the one under way.
    #[must_use]
    pub fn count(&self) -> usize {
        self.tried.len() + usize::from(self.current.is_some())
    }

    /// Whether the endpoint has answered anything in the attempt under way.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.current.is_some_and(|current| current.answered)
    }

    /// A connection is there.
    pub fn connected(&self, reused: bool) {
        if let Some(endpoint) = self.endpoint() {
            endpoint.connected(reused);
        }
    }

    /// The head of an answer came, interim ones included.
    pub fn answered(&mut self, status: u16) {
        let Some(current) = &mut self.current else { return };
        current.answered = true;
        if status >= 200 || status == 101 {
            current.status = status;
        }
        if let Some(endpoint) = self.endpoint() {
            endpoint.answered();
        }
    }

    /// The attempt failed: counts that against the endpoint, and the attempt out as `kind`. The next
    /// goes elsewhere. `upstream` is the name for the log.
    pub fn failed(&mut self, upstream: &str, failure: Failure, kind: Option<ErrorKind>) {
        let Some(current) = self.current else { return };
        let Some(endpoint) = self.endpoint() else { return };
        let set_aside = match failure {
            Failure::Connect => endpoint.connect_failed(),
            Failure::Unanswered => endpoint.broke_unanswered(),
            Failure::Resources => false,
        };
        if set_aside {
            let endpoint = &endpoint.address;
            let why = match failure {
                Failure::Unanswered => "new connections break before anything is answered",
                _ => "connections cannot be made",
            };
            tracing::warn!(upstream, %endpoint, why, "endpoint set aside");
        }
        if failure != Failure::Resources {
            self.tried.push(current.choice.endpoint);
        }
        self.finish(kind);
    }

    /// Whether another attempt may be made after a failure, with up to `retries` other endpoints.
    #[must_use]
    pub fn may_retry(&self, failure: Failure, retries: u32) -> bool {
        failure != Failure::Resources
            && self.tried.len() <= retries as usize
            && self.set().is_some_and(|set| set.has_another(&self.tried))
    }

    /// Counts the attempt under way out, if there is one: as `kind`, or as what the endpoint's
    /// own status says.
    pub fn finish(&mut self, kind: Option<ErrorKind>) {
        let Some(Current { choice, status, .. }) = self.current.take() else { return };
        let Some(set) = &self.set else { return };
        let endpoint = set.endpoint(choice.endpoint);
        if choice.trial {
            endpoint.end_trial();
        }
        let own = (500..600).contains(&status).then_some(ErrorKind::ServerError);
        endpoint.finish(kind.or(own));
    }
}

fn preferred(set: &EndpointSet, address: SocketAddr, tried: &[usize]) -> Option<Choice> {
    let endpoint = set.position(&address.into())?;
    let usable = set.may_use(endpoint) && !tried.contains(&endpoint);
    usable.then_some(Choice { endpoint, trial: false })
}
