//! Drawing endpoints at random in proportion to their weights.
//!
//! Random and least request both draw; this is the one place that knows how. Draws come from a generator of
//! the calling thread, so workers share nothing. The generator is fast and not cryptographic: what is drawn
//! here is no secret.

use crate::endpoint::Endpoint;

/// How often a draw that was turned down is repeated before the endpoints are looked through one by one.
/// With half of the endpoints unusable one selection in 256 gets that far.
const DRAWS_MAX: usize = 8;

/// Endpoints to draw from.
#[derive(Debug)]
pub(crate) struct Weighted {
    endpoints: usize,
    /// Running sums of the weights; 65,535 weights of 65,535 still fit. Left empty when all weights are
    /// equal, for then an index can be drawn without a search.
    ends: Box<[u32]>,
}

impl Weighted {
    pub(crate) fn new(endpoints: &[Endpoint]) -> Self {
        let equal = endpoints.windows(2).all(|pair| pair[0].weight == pair[1].weight);
        let ends = if equal { Box::default() } else { running_sums(endpoints) };
        Self { endpoints: endpoints.len(), ends }
    }

    /// An endpoint that `accept` takes, drawn in proportion to weight among those it takes; `None` when it
    /// takes none.
    ///
    /// Costs a random number and a binary search, unless most endpoints are turned down: then all of them
    /// are looked at, twice.
    pub(crate) fn draw(&self, accept: impl Fn(usize) -> bool) -> Option<usize> {
        (0..DRAWS_MAX)
            .map(|_| self.draw_any())
            .find(|&endpoint| accept(endpoint))
            .or_else(|| self.draw_searching(accept))
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.ends)
    }

    fn draw_any(&self) -> usize {
        match self.ends.last() {
            Some(&total) => {
                let point = fastrand::u32(..total);
                self.ends.partition_point(|&end| end <= point)
            }
            None => fastrand::usize(..self.endpoints),
        }
    }

    fn draw_searching(&self, accept: impl Fn(usize) -> bool) -> Option<usize> {
        let accepted = || (0..self.endpoints).filter(|&endpoint| accept(endpoint));
        let total: u32 = accepted().map(|endpoint| self.weight(endpoint)).sum();
        if total == 0 {
            return None;
        }
        let mut left = fastrand::u32(..total);
        let mut last = None;
        for endpoint in accepted() {
            let weight = self.weight(endpoint);
            if left < weight {
                return Some(endpoint);
            }
            left -= weight;
            last = Some(endpoint);
        }
        // Only reached when an endpoint became unusable between the two passes.
        last
    }

    fn weight(&self, endpoint: usize) -> u32 {
        match (self.ends.get(endpoint), endpoint.checked_sub(1)) {
            (Some(end), Some(before)) => end - self.ends[before],
            (Some(end), None) => *end,
            (None, _) => 1,
        }
    }
}

fn running_sums(endpoints: &[Endpoint]) -> Box<[u32]> {
    let add = |sum: &mut u32, endpoint: &Endpoint| {
        *sum += u32::from(endpoint.weight);
        Some(*sum)
    };
    endpoints.iter().scan(0, add).collect()
}

#[cfg(test)]
mod tests;
