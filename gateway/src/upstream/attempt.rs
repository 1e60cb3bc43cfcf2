//! The attempts of one exchange with an upstream: choosing an endpoint, trying another, setting
//! aside what fails, and counting. Requests and filters' calls go through it alike.
//!
//! It pins the upstream's endpoints with the first attempt and holds indices into them, so that what
//! discovery changes meanwhile is nothing to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pingora_core::upstreams::peer::HttpPeer;
use sallyport_balance::{Address, full_jitter};
use sallyport_stats::{EjectionReason, ErrorKind};

use super::outlier::Outcome;
use super::retry::{self, Failure, Resend};
use super::{Choice, Destination, Endpoint, EndpointSet, Token, Upstream};
use crate::config::{Backoff, Retry};
use crate::live::Pinned;

/// The longest that an origin's `Retry-After` is waited for; beyond, the client gets the answer and decides.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

/// An exchange's attempts. [`Attempts::finish`] must be called in the end.
#[derive(Debug, Default)]
pub struct Attempts {
    /// What a hashing policy goes by.
    pub key: u64,
    /// What a cookie says of the endpoint that the client was at.
    pub sticky: Option<Token>,
    /// The endpoints that all attempts choose among; there from the first one on.
    set: Option<Pinned<EndpointSet>>,
    /// Endpoints that failed and are not tried again for now.
    tried: Vec<usize>,
    /// Attempts that were begun.
    begun: u32,
    retries: u32,
    current: Option<Current>,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    choice: Choice,
    began: Instant,
    /// Whether it still waits for a connection.
    connecting: bool,
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
        let chosen = preferred
            .and_then(|address| self::preferred(set, address, &self.tried))
            .or_else(|| set.kept(self.sticky?.id, &self.tried))
            .or_else(|| set.select(self.key, &self.tried));
        // What is tried again because there is nothing else.
        let choice = chosen.or_else(|| set.select(self.key, &[]).filter(|_| self.retries > 0))?;
        let began = Instant::now();
        if self.begun == 0 {
            set.account().count_request(began);
        }
        self.begun += 1;
        set.endpoint(choice.endpoint).begin(began);
        let (connecting, status, answered) = (true, 0, false);
        self.current = Some(Current { choice, began, connecting, status, answered });
        Some(choice.endpoint)
    }

    /// Leaves the endpoint at `address` out, as if it had been tried.
    pub fn avoid(&mut self, upstream: &Upstream, address: &Address) {
        let set = self.set.get_or_insert_with(|| upstream.pin());
        self.tried.extend(set.position(address));
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

    /// How the engine connects for the attempt under way.
    #[must_use]
    pub fn destination(&self) -> Option<Arc<Destination>> {
        Some(self.set()?.destination(self.current?.choice.endpoint).clone())
    }

    /// What stands in a cookie for the endpoint that the attempt under way is at.
    #[must_use]
    pub fn sticky_id(&self) -> Option<u64> {
        Some(self.set()?.sticky_id(self.current?.choice.endpoint))
    }

    /// When the attempt under way began.
    #[must_use]
    pub fn began(&self) -> Option<Instant> {
        self.current.map(|current| current.began)
    }

    /// Attempts so far: the first, and each that was made again.
    #[must_use]
    pub fn count(&self) -> usize {
        (self.retries + u32::from(self.begun > 0)) as usize
    }

    /// Whether the endpoint has answered anything in the attempt under way.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.current.is_some_and(|current| current.answered)
    }

    /// A connection is there.
    pub fn connected(&mut self, reused: bool) {
        let (Some(current), Some(set)) = (&mut self.current, &self.set) else { return };
        let index = current.choice.endpoint;
        if std::mem::take(&mut current.connecting) {
            set.endpoint(index).connection_ended();
        }
        if set.endpoint(index).connected(reused) {
            set.is_back(index);
        }
    }

    /// The head of an answer came, interim ones included.
    pub fn answered(&mut self, status: u16) {
        let (Some(current), Some(set)) = (&mut self.current, &self.set) else { return };
        current.answered = true;
        if status >= 200 || status == 101 {
            current.status = status;
        }
        let index = current.choice.endpoint;
        if set.endpoint(index).answered() {
            set.is_back(index);
        }
    }

    /// Returns after what time the attempt under way, which failed, is made again, and spends the budget for it;
    /// `None` if it is not. [`Attempts::failed`] must follow.
    ///
    /// Another endpoint is tried at once unless the policy has a back-off. One that was tried is waited for: as
    /// long as the back-off says, and as the origin does with `retry_after`.
    pub fn retry(
        &mut self,
        policy: &Retry,
        failure: Failure,
        request: Resend<'_>,
        time: Time,
    ) -> Option<Duration> {
        let reason = retry::reason(policy, failure, request)?;
        if self.retries >= policy.attempts {
            return None;
        }
        let another = self.has_another()?;
        // A refused stream may well be served on another connection to the same endpoint.
        if !another && !policy.returns && failure != Failure::RefusedStream {
            return None;
        }
        let wait = self.wait_before_retry(policy, another, time.retry_after)?;
        let account = self.set()?.account();
        if time.left.is_some_and(|left| left <= wait)
            || !account.try_retry(Instant::now(), policy.budget)
        {
            return None;
        }
        account.stats.retried(reason);
        self.retries += 1;
        if !another {
            // All were tried: any but the last may be tried again.
            self.tried.clear();
        }
        Some(wait)
    }

    /// Whether there is an endpoint that was not tried, the present one left aside.
    fn has_another(&mut self) -> Option<bool> {
        let present = self.current?.choice.endpoint;
        self.tried.push(present);
        let another = self.set().is_some_and(|set| set.has_another(&self.tried));
        self.tried.pop();
        Some(another)
    }

    fn wait_before_retry(
        &self,
        policy: &Retry,
        another: bool,
        retry_after: Option<Duration>,
    ) -> Option<Duration> {
        let backoff = policy.backoff.or((!another).then(Backoff::default));
        let jitter = |it: Backoff| full_jitter(it.base, it.max, self.retries, fastrand::u64(..));
        let wait = backoff.map_or(Duration::ZERO, jitter);
        let asked = retry_after.filter(|_| !another).unwrap_or_default();
        (asked <= RETRY_AFTER_MAX).then_some(wait.max(asked))
    }

    /// The attempt failed: counts that against the endpoint, and the attempt out as `kind`. The next
    /// goes elsewhere.
    pub fn failed(&mut self, failure: Failure, kind: Option<ErrorKind>) {
        let Some(Current { choice, began, .. }) = self.current else { return };
        let Some(set) = self.set() else { return };
        let endpoint = set.endpoint(choice.endpoint);
        let reason = match failure {
            Failure::Connect | Failure::ConnectTimeout => {
                // Not what an attempt's own limit has cut short.
                let late = failure == Failure::ConnectTimeout
                    && began.elapsed() >= set.connect_timeout(choice.endpoint);
                endpoint.connect_failed(late).then_some(EjectionReason::Connect)
            }
            Failure::Unanswered => endpoint.broke_unanswered().then_some(EjectionReason::Reset),
            _ => None,
        };
        if let Some(reason) = reason {
            set.eject(choice.endpoint, reason, Instant::now());
        }
        if failure != Failure::Resources {
            self.tried.push(choice.endpoint);
        }
        self.finish(kind);
    }

    /// Counts the attempt under way out, if there is one: as `kind`, or as what the endpoint's
    /// own status says.
    pub fn finish(&mut self, kind: Option<ErrorKind>) {
        let Some(Current { choice, began, connecting, status, .. }) = self.current.take() else {
            return;
        };
        let Some(set) = &self.set else { return };
        let endpoint = set.endpoint(choice.endpoint);
        if choice.trial {
            endpoint.end_trial();
        }
        if connecting {
            endpoint.connection_ended();
        }
        let own = (500..600).contains(&status).then_some(ErrorKind::ServerError);
        let error = kind.or(own);
        endpoint.finish(error);
        let now = Instant::now();
        let outcome = match (error, status) {
            (Some(_), _) => Outcome::Error,
            (None, 0) => Outcome::Nothing,
            (None, _) => Outcome::Success,
        };
        set.note(choice.endpoint, outcome, now);
        set.account().stats.finish(now.duration_since(began));
    }
}

fn preferred(set: &EndpointSet, address: SocketAddr, tried: &[usize]) -> Option<Choice> {
    let endpoint = set.position(&address.into())?;
    let usable = set.may_use(endpoint) && !tried.contains(&endpoint);
    usable.then_some(Choice { endpoint, trial: false })
}

/// The time that there is for another attempt.
#[derive(Clone, Copy, Debug, Default)]
pub struct Time {
    /// Until the exchange must be over; `None` is for ever.
    pub left: Option<Duration>,
    /// How long the origin asks to be left alone.
    pub retry_after: Option<Duration>,
}
