//! What sources did that may earn them a verdict, counted by rule.
//!
//! Whoever asks chooses the sources, so there is room for a fixed number of them: a source beyond it
//! takes the place of the oldest one that was not heard of lately.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::window::Window;
use crate::config::{Offence, VERDICT_RULES_MAX, VerdictRule};

/// Sources that are counted at once; 240 bytes each, 16 MiB in all.
const SOURCES_MAX: usize = 65_536;

/// Locks among which the sources are divided.
const SHARDS: usize = 16;

/// Places that are looked at for one whose source was silent, before the oldest goes all the same.
const SPARED_MAX: usize = 8;

/// What one request did, all of it at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OffenceSet(u8);

impl OffenceSet {
    /// This set and `offence`, if `condition` holds.
    #[must_use]
    pub fn with(self, offence: Offence, condition: bool) -> Self {
        Self(self.0 | u8::from(condition) << offence as u8)
    }

    /// Whether nothing was done.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `offence` is in it.
    #[must_use]
    pub fn has(self, offence: Offence) -> bool {
        self.0 >> offence as u8 & 1 == 1
    }
}

/// The counters of all sources.
#[derive(Debug)]
pub(super) struct Offences {
    shards: [Mutex<Shard>; SHARDS],
    places_max: usize,
}

#[derive(Debug, Default)]
struct Shard {
    places: HashMap<IpAddr, usize>,
    sources: Vec<Source>,
    /// The place that is given away next.
    hand: usize,
}

#[derive(Debug)]
struct Source {
    address: IpAddr,
    /// Whether it was heard of since the hand last passed.
    heard: bool,
    windows: [Window; VERDICT_RULES_MAX],
}

impl Default for Offences {
    fn default() -> Self {
        Self::with_room(SOURCES_MAX)
    }
}

impl Offences {
    /// Room for so many sources.
    pub(super) fn with_room(sources: usize) -> Self {
        Self { shards: Default::default(), places_max: (sources / SHARDS).max(1) }
    }

    /// Counts what `address` did; returns the rule that this has broken, and begins anew with it.
    pub(super) fn note<'r>(
        &self,
        address: IpAddr,
        did: OffenceSet,
        rules: &'r [VerdictRule],
        now_ns: u64,
    ) -> Option<&'r VerdictRule> {
        if !rules.iter().any(|rule| did.has(rule.on)) {
            return None;
        }
        let mut shard = lock(&self.shards[shard_of(address)]);
        let source = shard.source(address, self.places_max);
        let mut broken: Option<&VerdictRule> = None;
        for (rule, window) in rules.iter().zip(&mut source.windows) {
            if !did.has(rule.on) {
                continue;
            }
            if window.add(now_ns, rule.within.as_nanos() as u64) > rule.more_than {
                window.clear();
                // Of several at once, the one that shuts out for longest.
                if broken.is_none_or(|broken| broken.lasting < rule.lasting) {
                    broken = Some(rule);
                }
            }
        }
        broken
    }

    /// Forgets everything, for rules that are other ones now.
    pub(super) fn forget(&self) {
        for shard in &self.shards {
            *lock(shard) = Shard::default();
        }
    }
}

impl Shard {
    fn source(&mut self, address: IpAddr, places_max: usize) -> &mut Source {
        let place = match self.places.get(&address) {
            Some(place) => *place,
            None => self.take_place(address, places_max),
        };
        let source = &mut self.sources[place];
        source.heard = true;
        source
    }

    fn take_place(&mut self, address: IpAddr, places_max: usize) -> usize {
        let source = Source { address, heard: true, windows: Default::default() };
        let place = if self.sources.len() < places_max {
            self.sources.push(source);
            self.sources.len() - 1
        } else {
            let place = self.place_to_give();
            let gone = std::mem::replace(&mut self.sources[place], source);
            self.places.remove(&gone.address);
            place
        };
        self.places.insert(address, place);
        place
    }

    fn place_to_give(&mut self) -> usize {
        for _ in 0..SPARED_MAX {
            let place = self.hand;
            if !std::mem::take(&mut self.sources[place].heard) {
                break;
            }
            self.hand = (self.hand + 1) % self.sources.len();
        }
        let place = self.hand;
        self.hand = (self.hand + 1) % self.sources.len();
        place
    }
}

fn shard_of(address: IpAddr) -> usize {
    let hash = match address {
        IpAddr::V4(address) => sallyport_balance::hash_key(&address.octets()),
        IpAddr::V6(address) => sallyport_balance::hash_key(&address.octets()),
    };
    hash as usize % SHARDS
}

/// Counters may be off by one after a panic elsewhere; nothing rests on more.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
