//! The routes that meet at one place.
//!
//! Owns a short ascending list of positions. Apart from `Vec` because nearly every place holds one
//! position or none, and then there is neither an allocation to make nor a pointer to follow.

/// Ascending positions of routes whose path predicate leads to the same place.
#[derive(Debug, Clone, Default)]
pub(super) enum Positions {
    #[default]
    None,
    One(u32),
    Many(Vec<u32>),
}

impl Positions {
    /// Appends a position, unless a route before it at this place asks nothing but its path: that
    /// one always wins.
    pub(super) fn push(&mut self, position: u32, path_only: &[bool]) {
        if self.as_slice().last().is_some_and(|&last| path_only[last as usize]) {
            return;
        }
        match self {
            Self::None => *self = Self::One(position),
            Self::One(first) => *self = Self::Many(vec![*first, position]),
            Self::Many(positions) => positions.push(position),
        }
    }

    pub(super) fn as_slice(&self) -> &[u32] {
        match self {
            Self::None => &[],
            Self::One(position) => std::slice::from_ref(position),
            Self::Many(positions) => positions,
        }
    }

    /// The first position, or [`NONE`](super::NONE).
    pub(super) fn least(&self) -> u32 {
        match self {
            Self::None => super::NONE,
            Self::One(position) => *position,
            Self::Many(positions) => positions[0],
        }
    }
}
