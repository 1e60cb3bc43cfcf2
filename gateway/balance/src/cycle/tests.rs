use std::cell::Cell;

use super::*;

/// Only these endpoints are usable.
pub(crate) struct Only<'a>(pub(crate) &'a [usize]);

impl View for Only<'_> {
    fn usable(&self, endpoint: usize) -> bool {
        self.0.contains(&endpoint)
    }
}

#[test]
fn the_search_goes_round_once() {
    let order = [0, 1, 2, 0, 1];
    assert_eq!(first_usable(&order, 2, 3, &Only(&[0])), Some(3));
    assert_eq!(first_usable(&order, 3, 3, &Only(&[2])), Some(2));
    assert_eq!(first_usable(&order, 2, 3, &()), Some(2));
}

#[test]
fn nothing_usable_costs_one_question_an_endpoint() {
    struct Counting(Cell<usize>);
    impl View for Counting {
        fn usable(&self, _: usize) -> bool {
            self.0.set(self.0.get() + 1);
            false
        }
    }
    let view = Counting(Cell::new(0));
    let order = vec![0; 65_537];
    assert_eq!(first_usable(&order, 7, 3, &view), None);
    assert_eq!(view.0.get(), 3);
}
