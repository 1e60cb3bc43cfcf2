//! Ring hash: consistent hashing with many points for each endpoint.
//!
//! Every endpoint owns points scattered over a circle of 64-bit numbers, and a key belongs to the first point
//! at or after it (Karger et al., "Consistent Hashing and Random Trees", 1997). An endpoint that leaves
//! disturbs only the keys it had and, where weights differ, the few that a changed mean weight moves. Against
//! Maglev the ring moves fewer keys when endpoints come and go, is less even, and costs a binary search where
//! Maglev costs one load. It reads addresses and weights only: the order of the list leaves no trace, so
//! gateways agree without talking to each other.

use crate::cycle;
use crate::endpoint::{BuildError, Endpoint, Identity, Ranked, rank};
use crate::hash::hash_seeded;
use crate::view::View;

/// Points of an endpoint of mean weight. The shares of equal endpoints then differ by about 8 % (one
/// standard deviation, `1 / sqrt(160)`).
const POINTS_MEAN: u64 = 160;

/// Points of a ring, before the one point that every endpoint has at least: 10 MiB.
const POINTS_MAX: u64 = 1 << 20;

/// Part of the compatibility promise: another seed is another ring.
const POINT_SEED: u64 = 0x7269_6e67;

/// The points in order, and beside each the endpoint that owns it.
#[derive(Debug)]
pub(crate) struct RingHash {
    points: Box<[u64]>,
    owners: Box<[u16]>,
    endpoints: usize,
}

impl RingHash {
    /// Costs a sort of the points: about 10 ms for 1,000 endpoints, 80 ms at the most.
    pub(crate) fn new(endpoints: &[Endpoint]) -> Result<Self, BuildError> {
        let ring = ring(&rank(endpoints)?);
        let points = ring.iter().map(|&(point, ..)| point).collect();
        let owners = ring.iter().map(|&(.., index)| index).collect();
        Ok(Self { points, owners, endpoints: endpoints.len() })
    }

    /// The owner of the first point at or after the key, or of the next point whose owner is usable.
    pub(crate) fn select(&self, key: u64, view: &(impl View + ?Sized)) -> Option<usize> {
        let position = self.position(key);
        let first = usize::from(self.owners[position]);
        if view.usable(first) {
            return Some(first);
        }
        let found = cycle::first_usable(&self.owners, position, self.endpoints, view)?;
        Some(self.owners[found].into())
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.points) + size_of_val(&*self.owners)
    }

    fn position(&self, key: u64) -> usize {
        let position = self.points.partition_point(|&point| point < key);
        if position == self.points.len() { 0 } else { position }
    }
}

/// Point, rank and index of everything on the ring. Two endpoints on the same point, rare as that is, are
/// put in order by rank, which is the same everywhere, and not by index.
fn ring(ranked: &[Ranked]) -> Vec<(u64, u16, u16)> {
    let weights: u64 = ranked.iter().map(|endpoint| u64::from(endpoint.weight)).sum();
    let total = POINTS_MAX.min(POINTS_MEAN * ranked.len() as u64);
    let mut ring = Vec::with_capacity(total as usize + ranked.len());
    for (rank, endpoint) in (0..=u16::MAX).zip(ranked) {
        let count = (total * u64::from(endpoint.weight) / weights).max(1);
        ring.extend(points(&endpoint.identity, count).map(|point| (point, rank, endpoint.index)));
    }
    ring.sort_unstable();
    ring
}

/// The first `count` of an endpoint's own endless row of points: another weight lengthens or shortens the
/// row, and the points that stay keep their keys.
fn points(identity: &Identity, count: u64) -> impl Iterator<Item = u64> + use<> {
    let own = hash_seeded(identity.octets(), POINT_SEED);
    (0..count).map(move |number| hash_seeded(&own.to_be_bytes(), number))
}

#[cfg(test)]
mod tests;
