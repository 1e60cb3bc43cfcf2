//! Smooth weighted round robin without a lock.
//!
//! The usual smooth algorithm updates every endpoint's running weight for each request, which takes a lock.
//! Here the whole round is laid out once as a schedule, and a request only takes the next place in it: one
//! atomic addition, whatever the number of endpoints. What one atomic cannot do is coordinate several
//! gateways; each goes through the round on its own.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cycle;
use crate::endpoint::{BuildError, Endpoint, validate};
use crate::view::View;

/// Turns in a round at most: 128 KiB of schedule. Weights that need more are scaled down to fit.
const TURNS_MAX: u32 = 65_536;

/// Turns a request takes one by one when their endpoints are unusable, before it looks ahead instead.
const TURNS_CLAIMED_MAX: usize = 8;

/// A round of turns, and where the next request finds its own.
#[derive(Debug)]
pub(crate) struct RoundRobin {
    cursor: Cursor,
    schedule: Box<[u16]>,
    endpoints: usize,
}

/// Alone in its cache lines, or every request would also take the schedule's address out of the other
/// workers' caches. 128 bytes, because processors fetch lines in pairs.
#[derive(Debug)]
#[cfg_attr(test, derive(Default))]
#[repr(align(128))]
struct Cursor(AtomicUsize);

impl RoundRobin {
    pub(crate) fn new(endpoints: &[Endpoint]) -> Result<Self, BuildError> {
        validate(endpoints)?;
        let schedule = lay_out(&turns(endpoints));
        // Gateways that start or reload together would otherwise all begin with the same endpoints.
        let cursor = Cursor(AtomicUsize::new(fastrand::usize(..schedule.len())));
        Ok(Self { cursor, schedule, endpoints: endpoints.len() })
    }

    /// The endpoint whose turn it is. A turn whose endpoint is unusable is used up, not handed to the
    /// endpoint after it, which would otherwise carry double load while its neighbour is down.
    pub(crate) fn select(&self, view: &(impl View + ?Sized)) -> Option<usize> {
        (0..TURNS_CLAIMED_MAX)
            .map(|_| self.claim())
            .find(|&endpoint| view.usable(endpoint))
            .or_else(|| self.skip_ahead(view))
    }

    /// The endpoint whose turn is next. What [`select`](Self::select) finds turn by turn or by looking ahead is
    /// the same: the first usable turn from here on.
    pub(crate) fn peek(&self, view: &(impl View + ?Sized)) -> Option<usize> {
        let start = self.cursor.0.load(Ordering::Relaxed) % self.schedule.len();
        let found = cycle::first_usable(&self.schedule, start, self.endpoints, view)?;
        Some(self.schedule[found].into())
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.schedule)
    }

    fn claim(&self) -> usize {
        self.schedule[self.advance(1)].into()
    }

    /// Moves the cursor on and returns the place it stood at. Relaxed: the schedule never changes, and
    /// nothing else is published through the cursor.
    fn advance(&self, turns: usize) -> usize {
        self.cursor.0.fetch_add(turns, Ordering::Relaxed) % self.schedule.len()
    }

    /// Finds the next usable turn first and then moves the cursor past it in one step. Two workers doing so
    /// at once may both skip; with this many endpoints down that is no worse than it already is.
    fn skip_ahead(&self, view: &(impl View + ?Sized)) -> Option<usize> {
        let start = self.advance(0);
        let found = cycle::first_usable(&self.schedule, start, self.endpoints, view)?;
        let skipped =
            if found < start { found + self.schedule.len() - start } else { found - start };
        self.advance(skipped + 1);
        Some(self.schedule[found].into())
    }
}

/// Turns of each endpoint in a round: its weight by the greatest common divisor of all, if that makes no
/// more than [`TURNS_MAX`] turns; else the weights scaled by the largest factor `f` with which they fit, so
/// that an endpoint's turns are less than one away from `f x weight` and never none.
fn turns(endpoints: &[Endpoint]) -> Vec<u32> {
    let weights: Vec<u32> = endpoints.iter().map(|endpoint| endpoint.weight.into()).collect();
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor);
    let exact: Vec<u32> = weights.iter().map(|weight| weight / divisor).collect();
    if sum(&exact) <= u64::from(TURNS_MAX) { exact } else { scaled_to_fit(&exact) }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

fn sum(turns: &[u32]) -> u64 {
    turns.iter().copied().map(u64::from).sum()
}

/// The factor is searched for as `shares / sum of weights`; more shares never make fewer turns.
fn scaled_to_fit(weights: &[u32]) -> Vec<u32> {
    let total = sum(weights);
    let (mut fits, mut too_many) = (0, TURNS_MAX + 1);
    while fits + 1 < too_many {
        let shares = fits.midpoint(too_many);
        if sum(&scaled(weights, shares, total)) <= u64::from(TURNS_MAX) {
            fits = shares;
        } else {
            too_many = shares;
        }
    }
    scaled(weights, fits, total)
}

fn scaled(weights: &[u32], shares: u32, total: u64) -> Vec<u32> {
    let turns = |weight: &u32| u64::from(*weight) * u64::from(shares) / total;
    // At most `shares`, so it fits: a weight is at most the total.
    weights.iter().map(|weight| (turns(weight) as u32).max(1)).collect()
}

/// The round in order. The turns of one endpoint lie evenly over it, and endpoints with equally many turns
/// are staggered, so that together they are even as well: the `k`-th turn of the `rank`-th among `group`
/// endpoints with `turns` turns each lies at `(k + (rank + 1/2) / group) / turns` of the round.
///
/// Any window of the round gives an endpoint its share of the window, give or take one turn and its share of
/// as many turns as there are groups.
fn lay_out(turns: &[u32]) -> Box<[u16]> {
    let mut placed: Vec<u64> = Vec::with_capacity(turns.iter().map(|&turns| turns as usize).sum());
    let sizes = turns.iter().fold(HashMap::new(), |mut sizes, turns| {
        *sizes.entry(*turns).or_insert(0_u64) += 1;
        sizes
    });
    let mut ranks: HashMap<u32, u64> = HashMap::new();
    for (index, &turns) in (0_u64..).zip(turns) {
        let rank = ranks.entry(turns).or_default();
        placed.extend(places(turns, *rank, sizes[&turns]).map(|place| place << 16 | index));
        *rank += 1;
    }
    placed.sort_unstable();
    placed.into_iter().map(|place_and_index| place_and_index as u16).collect()
}

/// Places of one endpoint's turns as 31-bit fractions of the round. A group has at most [`TURNS_MAX`] turns
/// together, so the numerator has 33 bits at most and the shifted one fits into 64.
fn places(turns: u32, rank: u64, group: u64) -> impl Iterator<Item = u64> {
    let turns = u64::from(turns);
    (0..turns).map(move |k| ((2 * (group * k + rank) + 1) << 31) / (2 * group * turns))
}

#[cfg(test)]
mod tests;
