//! Going round a list of endpoint indices until one is usable.
//!
//! Round robin's schedule, the hash ring and Maglev's table are all such lists, entered at some position and
//! read onwards. What follows the first entry matters only when that endpoint cannot be used, so this is the
//! slow path of all three and is kept out of their fast ones.

use crate::view::{View, any_usable};

/// The first position at or after `start`, going round once, whose endpoint is usable.
///
/// Asks about every one of `endpoints` first and returns `None` if there is nothing to find, so that an
/// upstream that is down altogether costs a look at its endpoints and not at a table many times longer.
pub(crate) fn first_usable(
    order: &[u16],
    start: usize,
    endpoints: usize,
    view: &(impl View + ?Sized),
) -> Option<usize> {
    if !any_usable(endpoints, view) {
        return None;
    }
    (start..order.len()).chain(0..start).find(|&position| view.usable(order[position].into()))
}

#[cfg(test)]
pub(crate) mod tests;
