//! Whether an upstream takes another request now: its limits, and the queue before them.
//!
//! A request passes once, whatever the number of its attempts, and holds its slots until it is over. Filters' calls
//! pass as requests do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sallyport_stats::{Limited, QueueRejection, QueueStats};

use super::Upstream;
use super::gate::{Gate, NoSlot, Permit, Tenant, Terms};

/// The slots of an admitted request.
#[derive(Debug, Default)]
pub struct Admission {
    _request: Option<Permit>,
    _connection: Option<Permit>,
}

/// The gates of one upstream, kept across configurations: requests under way hold slots of theirs.
#[derive(Debug, Default)]
pub(super) struct Gates {
    requests: Arc<Gate>,
    connections: Arc<Gate>,
}

/// A limit has turned the request away; that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLimit;

impl Upstream {
    /// Whether requests have to pass [`admit`](Self::admit).
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.spec.resilience.limits.is_some()
    }

    /// Takes what slots the upstream's limits have requests take, and waits for them where there is a queue; at most
    /// for `left`.
    ///
    /// # Errors
    /// A limit is reached.
    pub async fn admit(
        &self,
        tenant: Tenant,
        left: Option<Duration>,
    ) -> Result<Admission, OverLimit> {
        let Some(limits) = &self.spec.resilience.limits else { return Ok(Admission::default()) };
        let began = Instant::now();
        let request = match limits.requests {
            Some(slots) => Some(self.request_slot(slots as usize, tenant, left).await?),
            None => None,
        };
        let pending = limits.pending.map_or(PENDING_MAX, |pending| pending as usize);
        if limits.pending.is_some() && self.endpoints().connecting() >= pending.max(1) {
            return Err(self.over(Limited::Pending));
        }
        let connection = match limits.connections {
            Some(slots) => {
                let left = left.map(|left| left.saturating_sub(began.elapsed()));
                Some(self.connection_slot(slots as usize, pending, left).await?)
            }
            None => None,
        };
        Ok(Admission { _request: request, _connection: connection })
    }

    async fn request_slot(
        &self,
        slots: usize,
        tenant: Tenant,
        left: Option<Duration>,
    ) -> Result<Permit, OverLimit> {
        let gate = &self.account.gates().requests;
        let Some(queue) = &self.spec.resilience.queue else {
            return gate.try_enter(slots).map_err(|_| self.over(Limited::Requests));
        };
        let patience = left.map_or(queue.deadline, |left| left.min(queue.deadline));
        let terms = Terms { slots, waiting_max: queue.length as usize, patience };
        let stats = self.account.queue();
        let (began, mut waited) = (Instant::now(), false);
        let wait = || {
            waited = true;
            stats.map(QueueStats::wait)
        };
        let entered = gate.enter(tenant, terms, wait).await;
        if let Some(stats) = stats {
            match entered {
                Ok(_) if waited => stats.served(began.elapsed()),
                Ok(_) => {}
                Err(NoSlot::Full) => stats.rejected(QueueRejection::Full),
                Err(NoSlot::Late) => stats.rejected(QueueRejection::Deadline),
            }
        }
        entered.map_err(|_| OverLimit)
    }

    async fn connection_slot(
        &self,
        slots: usize,
        pending: usize,
        left: Option<Duration>,
    ) -> Result<Permit, OverLimit> {
        let gate = &self.account.gates().connections;
        if pending == 0 {
            return gate.try_enter(slots).map_err(|_| self.over(Limited::Connections));
        }
        // As long as for a connection that has to be made.
        let connect = self.spec.timeouts.connect;
        let patience = left.map_or(connect, |left| left.min(connect));
        let terms = Terms { slots, waiting_max: pending, patience };
        let entered = gate.enter(Tenant::default(), terms, || {}).await;
        entered.map_err(|reason| {
            self.over(match reason {
                NoSlot::Full => Limited::Pending,
                NoSlot::Late => Limited::Connections,
            })
        })
    }

    fn over(&self, limit: Limited) -> OverLimit {
        self.account.stats.limited(limit);
        OverLimit
    }
}

/// Requests that may wait for a connection where the configuration does not say: Envoy's number.
const PENDING_MAX: usize = 1_024;
