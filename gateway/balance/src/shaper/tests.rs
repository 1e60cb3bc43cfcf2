use proptest::prelude::*;

use super::*;

const MIB: u64 = 1 << 20;
const SECOND: u64 = 1_000_000_000;

fn weight(weight: u16) -> NonZeroU16 {
    NonZeroU16::new(weight).unwrap()
}

/// A class whose senders each have one piece that waits, and another as soon as it has passed.
#[derive(Clone, Copy, Debug)]
struct Class {
    weight: u16,
    senders: usize,
    piece_bytes: u32,
}

/// How many bytes of each class pass in `seconds`, with a timer that is late by `late_ns`.
fn passed(classes: &[Class], rate: Rate, seconds: u64, late_ns: u64) -> Vec<u64> {
    let mut shaper = Shaper::default();
    let mut passed = vec![0; classes.len()];
    let wait = |shaper: &mut Shaper<usize, usize>, index: usize| {
        let Class { weight: of, piece_bytes, .. } = classes[index];
        shaper.wait(index, weight(of), piece_bytes, index).unwrap();
    };
    for (index, class) in classes.iter().enumerate() {
        (0..class.senders).for_each(|_| wait(&mut shaper, index));
    }
    let mut now_ns = 0;
    while now_ns < seconds * SECOND {
        while let Some(index) = shaper.release(rate, now_ns) {
            passed[index] += u64::from(classes[index].piece_bytes);
            wait(&mut shaper, index);
        }
        now_ns = shaper.next_ns(rate).unwrap().max(now_ns) + late_ns;
    }
    passed
}

#[test]
fn what_is_within_the_burst_passes_at_once_and_the_rest_waits() {
    let rate = Rate { bytes_per_s: 1_000, burst_bytes: 500 };
    let mut shaper = Shaper::<u8, u8>::default();
    assert!(shaper.try_pass(400, rate, SECOND) && shaper.try_pass(300, rate, SECOND));
    assert!(!shaper.try_pass(1, rate, SECOND), "more than the burst has passed");
    shaper.wait(0, weight(1), 1, 7).unwrap();
    assert_eq!(shaper.next_ns(rate), Some(SECOND + 200_000_000));
    assert_eq!(shaper.release(rate, SECOND + 199_000_000), None);
    assert_eq!(shaper.release(rate, SECOND + 200_000_000), Some(7));
    assert_eq!(shaper.next_ns(rate), None);
    // A time without traffic saves up the burst and no more.
    let later = 100 * SECOND;
    assert!(shaper.try_pass(501, rate, later) && !shaper.try_pass(1, rate, later));
}

#[test]
fn nobody_overtakes_what_waits() {
    let rate = Rate { bytes_per_s: 1_000, burst_bytes: 0 };
    let mut shaper = Shaper::<u8, u8>::default();
    assert!(shaper.try_pass(1_000, rate, 0));
    let ticket = shaper.wait(0, weight(1), 1_000, 7).unwrap();
    assert!(!shaper.try_pass(1, rate, 2 * SECOND));
    assert_eq!(shaper.cancel(&ticket), Some(7));
    assert_eq!(shaper.cancel(&ticket), None);
    assert!(shaper.is_empty() && shaper.try_pass(1, rate, 2 * SECOND), "it costs nothing");
}

#[test]
fn a_small_piece_waits_for_one_piece_of_each_other_class_at_most() {
    let rate = Rate { bytes_per_s: MIB, burst_bytes: 0 };
    let mut shaper = Shaper::default();
    for value in 0..100 {
        shaper.wait("bulk", weight(1), 65_536, value).unwrap();
    }
    assert_eq!(shaper.release(rate, 0), Some(0));
    shaper.wait("small", weight(1), 500, 1_000).unwrap();
    assert_eq!(shaper.release(rate, shaper.next_ns(rate).unwrap()), Some(1_000));
}

#[test]
fn a_rate_is_kept_although_the_timer_is_late() {
    let rate = Rate { bytes_per_s: 10 * MIB, burst_bytes: 0 };
    let class = Class { weight: 1, senders: 4, piece_bytes: 4_096 };
    for late_ns in [0, 100_000, 1_000_000, 10_000_000] {
        let passed = passed(&[class], rate, 10, late_ns)[0] as f64;
        let share = passed / (100 * MIB) as f64;
        assert!((share - 1.0).abs() < 0.01, "{share} of the rate with {late_ns} ns");
    }
}

fn classes() -> impl Strategy<Value = Vec<Class>> {
    let class = (1_u16..=8, 1_usize..20, 4_096_u32..65_536)
        .prop_map(|(weight, senders, piece_bytes)| Class { weight, senders, piece_bytes });
    prop::collection::vec(class, 1..6)
}

proptest! {
    // Each simulates thousands of pieces.
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Classes share bytes by their weights, whatever the size of their pieces and the number of their
    /// senders, and together have the rate.
    #[test]
    fn shares_follow_weights_and_the_rate_is_kept(classes in classes(), mib in 4_u64..16) {
        let rate = Rate { bytes_per_s: mib * MIB, burst_bytes: MIB / 10 };
        let seconds = 64 / mib + 1;
        let passed = passed(&classes, rate, seconds, 0);
        let all: u64 = passed.iter().sum();
        let share = all as f64 / (rate.bytes_per_s * seconds) as f64;
        prop_assert!((share - 1.0).abs() < 0.02, "{share} of the rate");
        let weights: u64 = classes.iter().map(|class| u64::from(class.weight)).sum();
        for (class, passed) in classes.iter().zip(&passed) {
            let due = all as f64 * f64::from(class.weight) / weights as f64;
            prop_assert!((*passed as f64 / due - 1.0).abs() < 0.1, "{passed} of {due}: {class:?}");
        }
    }

}

proptest! {
    /// Over any time, no more passes than the rate, the burst and one piece.
    #[test]
    fn no_more_passes_than_may(
        pieces in prop::collection::vec((1_u32..65_536, 0_u64..20_000_000), 1..300),
        kib in 1_u64..5_000,
        burst_bytes in 0_u64..200_000,
    ) {
        let rate = Rate { bytes_per_s: kib << 10, burst_bytes };
        let mut shaper = Shaper::<u8, u8>::default();
        let (mut now_ns, mut passed) = (0, Vec::new());
        for (bytes, after_ns) in pieces {
            now_ns += after_ns;
            if shaper.try_pass(bytes, rate, now_ns) {
                passed.push((now_ns, u64::from(bytes)));
            }
        }
        for from in 0..passed.len() {
            let sums = passed[from..].iter().scan(0, |sum, (at, bytes)| {
                *sum += bytes;
                Some((at, *sum))
            });
            for (at, sum) in sums {
                let due = u128::from(at - passed[from].0) * u128::from(rate.bytes_per_s) / SECOND_NS;
                prop_assert!(u128::from(sum) <= due + u128::from(burst_bytes) + 65_536 + 300);
            }
        }
    }

    /// Whatever is done to it, each piece passes or is taken back, once.
    #[test]
    fn its_books_are_kept(operations in prop::collection::vec((0_u8..4, 0_u8..5, 0_u32..9_000), 0..300)) {
        let rate = Rate { bytes_per_s: MIB, burst_bytes: 10_000 };
        let mut shaper = Shaper::default();
        let (mut tickets, mut waiting) = (Vec::new(), 0_usize);
        for (now, (operation, class, bytes)) in (0_u64..).zip(operations) {
            let now_ns = now * 1_000_000;
            let left = match operation {
                0 | 1 => {
                    if !shaper.try_pass(bytes, rate, now_ns) {
                        tickets.extend(shaper.wait(class, weight(1), bytes, now));
                        waiting += 1;
                    }
                    None
                }
                2 => shaper.release(rate, now_ns),
                _ => tickets.pop().and_then(|ticket| shaper.cancel(&ticket)),
            };
            waiting -= usize::from(left.is_some());
            prop_assert_eq!(shaper.len(), waiting);
        }
    }
}
