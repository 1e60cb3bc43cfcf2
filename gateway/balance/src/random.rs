//! Weighted random selection.
//!
//! Keeps no state, so it is the policy to compare the others against; among many workers it is also the one
//! that shares nothing at all between them.

use crate::endpoint::{BuildError, Endpoint, validate};
use crate::view::View;
use crate::weighted::Weighted;

/// Each request goes to an endpoint drawn in proportion to weight, independently of every other.
#[derive(Debug)]
pub(crate) struct Random {
    endpoints: Weighted,
}

impl Random {
    pub(crate) fn new(endpoints: &[Endpoint]) -> Result<Self, BuildError> {
        validate(endpoints)?;
        Ok(Self { endpoints: Weighted::new(endpoints) })
    }

    pub(crate) fn select(&self, view: &(impl View + ?Sized)) -> Option<usize> {
        self.endpoints.draw(|endpoint| view.usable(endpoint))
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.endpoints.heap_bytes()
    }
}
