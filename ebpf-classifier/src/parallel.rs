//! Two halves of one piece of work, at the same time.

use std::panic::resume_unwind;
use std::thread::{self, Builder};

/// Does both, the second on a thread of its own where there can be one; waits for both.
pub(crate) fn both<T: Send>(one: impl Fn() -> T, other: impl Fn() -> T + Sync) -> [T; 2] {
    thread::scope(|scope| {
        let started = Builder::new().name("half".into()).spawn_scoped(scope, &other);
        let first = one();
        let second = match started {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            // The system has no thread to give: one after the other, then.
            Err(_) => other(),
        };
        [first, second]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_done_and_in_order() {
        let numbers = [1, 2, 3, 4];
        let (one, other) = numbers.split_at(1);
        assert_eq!(both(|| one.iter().sum::<i32>(), || other.iter().sum()), [1, 9]);
    }
}
