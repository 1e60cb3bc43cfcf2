//! Tokens that were fetched ahead, by key.
//!
//! A lease holds the tokens that one key has left of what the server granted, and when they lapse. How
//! many are fetched next follows what the key has used: a key that nobody asks for gets one, a hot one
//! what it uses in half a lease. So the tokens that lapse are few, and so are the round trips. Leases
//! know no server: what is asked is up to the caller, who tells what came of it.

use std::hash::{BuildHasher, BuildHasherDefault, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use tokio::sync::watch;

use super::super::buckets::{AsItIs, Rate, Taken};
use super::figures::Failure;

/// A table is shared out so that workers seldom wait for one another.
const SHARDS_MAX: u64 = 64;

/// Fewer, and which leases are evicted depends on how keys fall to shards.
const KEYS_PER_SHARD_MIN: u64 = 1024;

/// Leases that hold nothing, looked at when a new one is made: more than one, so that the table shrinks.
const SWEPT: usize = 2;

/// Below this, fetching ahead would double the round trips of a small batch.
const BATCH_AHEAD_MIN: u32 = 8;

/// How long a key that is over a slow limit goes without asking: a bucket that is emptied by hand, or
/// lost with its server, is seen a second later.
const PAUSE_MAX_NS: u64 = 1_000_000_000;

/// How long a key goes without asking after it was told nothing: the rest of a server may be well.
const FAILED_PAUSE_NS: u64 = 200_000_000;

/// How much is fetched, and how long it is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// How long tokens may be used.
    pub(super) lease_ns: u64,
    /// The time that a batch is meant for: half a lease, so that tokens lapse only where a key's use
    /// has halved.
    pub(super) batch_ns: u64,
    /// The most that is fetched at once.
    pub(super) batch_max: u32,
    /// How long a key that was granted less than it wanted waits before it asks again. Meanwhile the
    /// bucket at the server fills.
    pub(super) pause_ns: u64,
}

impl Terms {
    pub(super) fn new(rate: Rate, lease_ns: u64) -> Self {
        let batch_ns = (lease_ns / 2).max(1);
        let batch_max = (batch_ns / rate.interval_ns).clamp(1, rate.burst);
        // A bucket that is full before anybody asks loses tokens.
        let half_full_ns = rate.interval_ns.saturating_mul(rate.burst) / 2;
        Self {
            lease_ns,
            batch_ns,
            batch_max: u32::try_from(batch_max).unwrap_or(u32::MAX),
            pause_ns: batch_ns.min(half_full_ns),
        }
    }
}

/// What the server granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    /// Tokens that may be used from now on.
    pub(super) tokens: u32,
    /// Tokens that are left at the server.
    pub(super) remaining: u64,
    /// The time until the server has one more.
    pub(super) wait_ns: u64,
}

/// How a fetch has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    /// It has not.
    Pending,
    /// Whoever waits looks again.
    Answered,
    /// Whoever waits does without.
    Failed(Failure),
}

/// A fetch that the caller is to make.
#[derive(Debug)]
pub(super) struct Fetch {
    /// Tokens to ask for.
    pub(super) wanted: u32,
    /// Tells whoever waits.
    pub(super) done: watch::Sender<Fetched>,
}

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Turn {
    /// It passes. The fetch, if any, is for those that come later.
    Admitted(Taken, Option<Fetch>),
    /// It is refused.
    Refused(Taken),
    /// The server did not answer just now, and is not asked again yet.
    Unknown(Failure),
    /// It waits for a fetch, which the caller makes if it is given one.
    Wait(watch::Receiver<Fetched>, Option<Fetch>),
}

/// What one key has left.
#[derive(Debug)]
struct Lease {
    tokens: u32,
    lapses_at_ns: u64,
    /// The latest grant, for a fetch ahead.
    granted: u32,
    /// The server is not asked before.
    paused_until_ns: u64,
    /// Why the latest fetch failed, if it did.
    failed: Option<Failure>,
    /// As the server said last.
    remaining: u64,
    /// When the server has one more, as it said last.
    next_at_ns: u64,
    /// Requests since the latest fetch began.
    used: u32,
    fetched_at_ns: u64,
    waiting: u32,
    under_way: Option<watch::Receiver<Fetched>>,
}

impl Lease {
    /// Begins as one that nobody has used for a while.
    fn new(now_ns: u64, terms: &Terms) -> Self {
        Self {
            tokens: 0,
            lapses_at_ns: 0,
            granted: 0,
            paused_until_ns: 0,
            failed: None,
            remaining: 0,
            next_at_ns: 0,
            used: 0,
            fetched_at_ns: now_ns.saturating_sub(terms.batch_ns),
            waiting: 0,
            under_way: None,
        }
    }

    fn take(&mut self, now_ns: u64, terms: &Terms) -> Turn {
        if self.tokens > 0 {
            self.tokens -= 1;
            let is_low = self.granted >= BATCH_AHEAD_MIN && self.tokens <= self.granted / 4;
            let fetch = (is_low && self.under_way.is_none() && now_ns >= self.paused_until_ns)
                .then(|| self.fetch(now_ns, terms).1);
            return Turn::Admitted(self.taken(true, now_ns), fetch);
        }
        if now_ns < self.paused_until_ns {
            return match self.failed {
                Some(failure) => Turn::Unknown(failure),
                None => Turn::Refused(self.taken(false, now_ns)),
            };
        }
        if let Some(under_way) = &self.under_way {
            return Turn::Wait(under_way.clone(), None);
        }
        let (waits, fetch) = self.fetch(now_ns, terms);
        Turn::Wait(waits, Some(fetch))
    }

    fn taken(&self, is_admitted: bool, now_ns: u64) -> Taken {
        let remaining = self.remaining + u64::from(self.tokens);
        // Whoever is refused is not admitted before the server is asked again.
        let paused_ns = if is_admitted { 0 } else { self.paused_until_ns };
        let wait_ns = self.next_at_ns.max(paused_ns).saturating_sub(now_ns);
        Taken { is_admitted, remaining, wait_ns }
    }

    fn fetch(&mut self, now_ns: u64, terms: &Terms) -> (watch::Receiver<Fetched>, Fetch) {
        // A growth of twice with each fetch: two requests in a row are no hot key yet.
        let elapsed_ns = now_ns.saturating_sub(self.fetched_at_ns).max(terms.batch_ns / 2).max(1);
        let used = u128::from(self.used) * u128::from(terms.batch_ns) / u128::from(elapsed_ns);
        let used = u32::try_from(used).unwrap_or(u32::MAX);
        let wanted = used.max(self.waiting + 1).clamp(1, terms.batch_max);
        (self.used, self.fetched_at_ns) = (0, now_ns);
        let (done, under_way) = watch::channel(Fetched::Pending);
        self.under_way = Some(under_way.clone());
        (under_way, Fetch { wanted, done })
    }

    /// Drops tokens that are too old; returns how many.
    fn lapse(&mut self, now_ns: u64) -> u32 {
        match now_ns >= self.lapses_at_ns {
            true => std::mem::take(&mut self.tokens),
            false => 0,
        }
    }

    /// Whether one that is made anew would be as good.
    fn is_spent(&self, now_ns: u64) -> bool {
        self.lapses_at_ns <= now_ns && self.paused_until_ns <= now_ns && self.under_way.is_none()
    }
}

/// The lease of each key, the least recently used last.
type Shard = LruCache<u64, Lease, BuildHasherDefault<AsItIs>>;

/// Leases by the hash of their key.
#[derive(Debug)]
pub(super) struct Leases {
    terms: Terms,
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
    shard_keys_max: usize,
}

/// Whether a request comes for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    First,
    /// It has waited.
    Again,
}

impl Leases {
    /// No leases yet; at most about `keys_max` in time.
    pub(super) fn new(terms: Terms, keys_max: u64) -> Self {
        let shards = (keys_max / KEYS_PER_SHARD_MIN).clamp(1, SHARDS_MAX);
        let shards = 1 << shards.ilog2();
        let shard = || Mutex::new(Shard::unbounded_with_hasher(BuildHasherDefault::default()));
        Self {
            terms,
            hasher: RandomState::new(),
            shards: (0..shards).map(|_| shard()).collect(),
            shard_keys_max: usize::try_from(keys_max.div_ceil(shards)).unwrap_or(usize::MAX),
        }
    }

    /// The number of a key's lease.
    pub(super) fn hash(&self, key: &impl Hash) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Takes a token for a request. Returns what becomes of it, and tokens that have lapsed.
    pub(super) fn take(&self, lease: u64, attempt: Attempt, now_ns: u64) -> (Turn, u32) {
        let mut shard = self.shard(lease);
        let mut lapsed = 0;
        if shard.peek(&lease).is_none() {
            lapsed += self.make_room(&mut shard, now_ns);
            shard.put(lease, Lease::new(now_ns, &self.terms));
        }
        let held = shard.get_mut(&lease).expect("it was put there");
        lapsed += held.lapse(now_ns);
        if attempt == Attempt::First {
            held.used = held.used.saturating_add(1);
        }
        (held.take(now_ns, &self.terms), lapsed)
    }

    /// Counts a request that waits, or has stopped waiting.
    pub(super) fn count_waiting(&self, lease: u64, begins: bool) {
        if let Some(held) = self.shard(lease).peek_mut(&lease) {
            held.waiting = match begins {
                true => held.waiting.saturating_add(1),
                false => held.waiting.saturating_sub(1),
            };
        }
    }

    /// Settles a fetch of `wanted` tokens. Tokens for a lease that was evicted meanwhile lapse; returns
    /// how many did.
    pub(super) fn settle(
        &self,
        lease: u64,
        wanted: u32,
        granted: Result<Grant, Failure>,
        now_ns: u64,
    ) -> u32 {
        let mut shard = self.shard(lease);
        let Some(held) = shard.peek_mut(&lease) else {
            return granted.map_or(0, |grant| grant.tokens);
        };
        held.under_way = None;
        held.failed = granted.err();
        match granted {
            Ok(grant) => {
                let lapsed = held.lapse(now_ns);
                held.tokens = held.tokens.saturating_add(grant.tokens);
                held.lapses_at_ns = now_ns + self.terms.lease_ns;
                held.granted = grant.tokens;
                held.remaining = grant.remaining;
                held.next_at_ns = now_ns.saturating_add(grant.wait_ns);
                if grant.tokens < wanted {
                    let empty_ns = if grant.tokens == 0 { grant.wait_ns } else { 0 };
                    let pause_ns = self.terms.pause_ns.max(empty_ns.min(PAUSE_MAX_NS));
                    held.paused_until_ns = now_ns + pause_ns;
                }
                lapsed
            }
            Err(_) => {
                held.paused_until_ns = now_ns + FAILED_PAUSE_NS;
                0
            }
        }
    }

    /// A lease that holds nothing is as good as none; otherwise the one that was used longest ago goes.
    /// Returns the tokens that were in it.
    fn make_room(&self, shard: &mut Shard, now_ns: u64) -> u32 {
        let mut dropped = 0;
        for _ in 0..SWEPT {
            if shard.peek_lru().is_some_and(|(_, held)| held.is_spent(now_ns)) {
                dropped += shard.pop_lru().map_or(0, |(_, held)| held.tokens);
            }
        }
        if shard.len() >= self.shard_keys_max {
            dropped += shard.pop_lru().map_or(0, |(_, held)| held.tokens);
        }
        dropped
    }

    /// The map of a shard uses the bits at both ends of a lease's number.
    fn shard(&self, lease: u64) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[(lease >> 32) as usize & (self.shards.len() - 1)];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }
}

#[cfg(test)]
mod tests;
