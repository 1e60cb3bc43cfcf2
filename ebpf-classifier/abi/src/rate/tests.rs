extern crate std;

use super::{Meter, WINDOW_NS, per_second, per_window};

#[test]
fn a_limit_admits_that_many_and_no_more() {
    let meter = Meter::new();
    let now = 7 * WINDOW_NS + 5;
    assert_eq!((0..500).filter(|_| meter.admit(200, now)).count(), 200);
    assert_eq!(meter.level(now), 200);
}

#[test]
fn what_was_counted_leaves_as_the_window_slides() {
    let meter = Meter::new();
    let now = 7 * WINDOW_NS;
    (0..1000).for_each(|_| meter.add(now));
    assert_eq!(meter.level(now + WINDOW_NS), 1000);
    assert_eq!(meter.level(now + WINDOW_NS + WINDOW_NS / 2), 500);
    assert_eq!(meter.level(now + 2 * WINDOW_NS), 0);
}

#[test]
fn a_steady_flood_gets_its_share_evenly() {
    let meter = Meter::new();
    let step = WINDOW_NS / 10_000;
    let admitted = |from: u64| (0..10_000).filter(|i| meter.admit(1000, from + i * step)).count();
    admitted(WINDOW_NS);
    let second = admitted(2 * WINDOW_NS);
    assert!((900..=1100).contains(&second), "{second}");
    let first_half = (0..5_000).filter(|i| meter.admit(1000, 3 * WINDOW_NS + i * step)).count();
    assert!((400..=600).contains(&first_half), "{first_half}");
}

#[test]
fn all_threads_share_one_count() {
    let meter = Meter::new();
    let admitted = std::thread::scope(|scope| {
        let count = || (0..10_000).filter(|_| meter.admit(0, WINDOW_NS)).count();
        let threads: std::vec::Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
    });
    assert_eq!((admitted, meter.level(WINDOW_NS)), (40_000, 40_000));
}

#[test]
fn a_full_meter_stays_full() {
    let meter = Meter::new();
    (0..super::PER_WINDOW_MAX + 10).for_each(|_| meter.add(WINDOW_NS));
    assert!(meter.level(WINDOW_NS) >= super::PER_WINDOW_MAX - 4096);
    assert_eq!(meter.level(3 * WINDOW_NS), 0);
}

#[test]
fn rates_convert() {
    assert_eq!(per_window(1), 2);
    assert_eq!(per_window(1000), 1074);
    assert_eq!(per_second(per_window(200)), 200);
    assert_eq!(per_window(u32::MAX), super::PER_WINDOW_MAX);
}
