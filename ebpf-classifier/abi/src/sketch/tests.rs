use super::{DISTINCT_MAX, Sketch, bits_for, spread};

const NOW: u64 = 1 << 40;

#[test]
fn the_same_thing_counts_once() {
    let sketch = Sketch::new();
    assert_eq!(sketch.add(spread(80), NOW), 1);
    assert_eq!(sketch.add(spread(80), NOW), 1);
    assert_eq!(sketch.add(spread(443), NOW), 2);
}

#[test]
fn a_new_span_begins_empty() {
    let sketch = Sketch::new();
    (0..100).for_each(|port| {
        sketch.add(spread(port), NOW);
    });
    assert_eq!(sketch.add(spread(1), NOW + (1 << 33)), 1);
}

#[test]
fn the_estimate_is_near() {
    for distinct in [10, 20, 50, 100, 300, DISTINCT_MAX] {
        let sketch = Sketch::new();
        let mut seen = 0;
        for i in 0..distinct {
            seen = sketch.add(spread(i.wrapping_mul(2_654_435_769) ^ 0x5bd1_e995), NOW);
        }
        let expected = bits_for(distinct);
        let apart = expected.abs_diff(seen);
        assert!(apart * 10 <= expected.max(20), "{distinct}: {seen} bits, expected {expected}");
    }
}

#[test]
fn the_second_thing_moves_the_first_where_all_are() {
    for (one, other) in [(0, 255), (3, 67), (64, 65), (200, 0)] {
        let sketch = Sketch::new();
        // What an earlier span left counts for nothing.
        (0..256).for_each(|hash| {
            sketch.add(hash, NOW - (1 << 33));
        });
        assert_eq!((sketch.bits(NOW), sketch.has(one, NOW)), (0, false));
        assert_eq!(sketch.add(one, NOW), 1);
        assert!(sketch.has(one, NOW) && !sketch.has(other, NOW));
        assert_eq!(sketch.add(other, NOW), 2);
        assert_eq!((sketch.add(one, NOW), sketch.add(other, NOW)), (2, 2));
        let all = (0..256).filter(|hash| sketch.has(*hash, NOW)).count();
        assert_eq!((all, sketch.bits(NOW)), (2, 2));
        assert_eq!(sketch.add(one ^ 2, NOW), 3);
    }
}
