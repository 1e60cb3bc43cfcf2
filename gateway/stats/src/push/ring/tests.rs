use super::*;
use crate::push::{
    sample::Rate,
    series::{Kind, SeriesId},
};

fn sample(value: f64) -> Sample {
    Sample { id: SeriesId::new(Kind::Counter, 7), rate: Rate::ALL, value }
}

fn drained(ring: &Ring) -> Vec<f64> {
    (0..ring.shards())
        .flat_map(|shard| std::iter::from_fn(move || ring.pop(shard)))
        .map(|sample| sample.value)
        .collect()
}

#[test]
fn sizes_are_powers_of_two() {
    let ring = Ring::new(1_000, 3, Overflow::DropNewest);
    assert_eq!((ring.shards(), ring.shard_capacity()), (4, 256));
    let default = Ring::new(16_384, 2, Overflow::DropNewest);
    assert!(default.bytes() < 400_000, "{}", default.bytes());
    assert_eq!(Ring::new(0, 0, Overflow::DropNewest).shard_capacity(), 64);
}

#[test]
fn the_newest_is_dropped() {
    let ring = Ring::new(64, 1, Overflow::DropNewest);
    let kept: Vec<_> = (0..66).map(|value| ring.push(sample(f64::from(value)))).collect();
    assert_eq!(kept.iter().filter(|kept| **kept).count(), 64);
    assert_eq!(kept[64..], [false, false]);
    assert_eq!(ring.losses(), RingLosses { newest: 2, ..RingLosses::default() });
    assert_eq!(drained(&ring).first(), Some(&0.0));
}

#[test]
fn the_oldest_is_dropped() {
    let ring = Ring::new(64, 1, Overflow::DropOldest);
    assert!((0..66).all(|value| ring.push(sample(f64::from(value)))));
    assert_eq!(ring.losses(), RingLosses { oldest: 2, ..RingLosses::default() });
    assert_eq!(drained(&ring), (2..66).map(f64::from).collect::<Vec<_>>());
}

#[test]
fn a_closed_ring_takes_nothing_and_keeps_what_it_has() {
    let ring = Ring::new(64, 1, Overflow::DropOldest);
    ring.push(sample(1.0));
    ring.close();
    assert!(!ring.push(sample(2.0)));
    assert_eq!((ring.len(), ring.losses().newest), (1, 1));
}

/// Every sample is either drained or counted as lost, whoever wrote it and whichever was dropped.
#[test]
fn nothing_is_lost_uncounted() {
    const WRITERS: u64 = 4;
    let each: u64 = if cfg!(miri) { 100 } else { 20_000 };
    for overflow in [Overflow::DropNewest, Overflow::DropOldest] {
        let ring = Ring::new(128, 2, overflow);
        let mut read = std::thread::scope(|scope| {
            let write = || (0..each).for_each(|value| _ = ring.push(sample(value as f64)));
            let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(write)).collect();
            let mut read = 0;
            while !writers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                read += drained(&ring).len() as u64;
            }
            read
        });
        read += drained(&ring).len() as u64;
        let RingLosses { newest, oldest, invalid } = ring.losses();
        assert_eq!(read + newest + oldest, WRITERS * each, "{overflow:?}");
        assert_eq!(invalid, 0);
    }
}
