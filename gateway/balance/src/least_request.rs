//! Least request by the power of two choices.
//!
//! Looking at every endpoint for the least busy one costs time in proportion to their number and sends every
//! worker to the same endpoint at once. Two random candidates and the better of them come close to the same
//! balance at a constant cost (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001).
//! Counting requests in flight is the caller's: this module only compares the counts it is given.

use crate::endpoint::{BuildError, Endpoint, validate};
use crate::view::View;
use crate::weighted::Weighted;

/// Of two different endpoints drawn in proportion to weight, the one that would be the less loaded for its
/// weight with this request on top.
#[derive(Debug)]
pub(crate) struct LeastRequest {
    candidates: Weighted,
    weights: Box<[u16]>,
}

impl LeastRequest {
    pub(crate) fn new(endpoints: &[Endpoint]) -> Result<Self, BuildError> {
        validate(endpoints)?;
        let weights = endpoints.iter().map(|endpoint| endpoint.weight).collect();
        Ok(Self { candidates: Weighted::new(endpoints), weights })
    }

    pub(crate) fn select(&self, view: &(impl View + ?Sized)) -> Option<usize> {
        let first = self.candidates.draw(|endpoint| view.usable(endpoint))?;
        let other = |endpoint| endpoint != first && view.usable(endpoint);
        match self.candidates.draw(other) {
            Some(second) if self.second_is_better(first, second, view) => Some(second),
            _ => Some(first),
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.candidates.heap_bytes() + size_of_val(&*self.weights)
    }

    /// Whether `(in flight + 1) / weight` is smaller for the second.
    ///
    /// Between two idle endpoints that would always be the heavier one, and the lighter would see nothing of
    /// light traffic. The first was drawn by weight already: while both are idle, and on a tie, it stays.
    fn second_is_better(&self, first: usize, second: usize, view: &(impl View + ?Sized)) -> bool {
        let (first_busy, second_busy) = (view.in_flight(first), view.in_flight(second));
        if first_busy == 0 && second_busy == 0 {
            return false;
        }
        let scaled =
            |busy: u32, other: usize| (u64::from(busy) + 1) * u64::from(self.weights[other]);
        scaled(second_busy, first) < scaled(first_busy, second)
    }
}

#[cfg(test)]
mod tests;
