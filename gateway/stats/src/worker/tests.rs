use std::{collections::HashSet, thread};

use super::index;

#[test]
fn a_thread_keeps_its_number() {
    assert_eq!(index(), index());
}

#[test]
fn no_two_threads_share_one() {
    let threads: Vec<_> = (0..8).map(|_| thread::spawn(index)).collect();
    let numbers: HashSet<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    assert_eq!(numbers.len(), 8);
}
