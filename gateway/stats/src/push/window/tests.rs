use super::*;
use crate::push::sample::Rate;

const PLENTY: usize = 1 << 20;

fn sample(kind: Kind, index: usize, value: f64) -> Sample {
    Sample { id: SeriesId::new(kind, index), rate: Rate::ALL, value }
}

fn window(distributions: Distributions) -> Window {
    Window::new(distributions, 1_000, PLENTY)
}

fn values(mut window: Window) -> Vec<Value> {
    window.take().entries.into_iter().map(|entry| entry.value).collect()
}

#[test]
fn counters_are_summed_and_gauges_overwritten() {
    let mut window = window(Distributions::Sketch);
    window.add(sample(Kind::Counter, 3, 2.0), 0);
    window.add(sample(Kind::Gauge, 9, 1.0), 0);
    window.add(sample(Kind::Counter, 3, 5.0), 1);
    window.add(sample(Kind::Gauge, 9, -4.0), 1);
    assert_eq!(values(window), [Value::Count(7.0), Value::Gauge(-4.0)]);
}

#[test]
fn rates_are_made_up_for() {
    let mut window = window(Distributions::Sketch);
    let rate = Rate::new(0.25);
    window.add(Sample { rate, ..sample(Kind::Counter, 0, 3.0) }, 0);
    window.add(Sample { rate, ..sample(Kind::Timing, 1, 3.0) }, 0);
    let values = values(window);
    assert_eq!(values[0], Value::Count(12.0));
    assert_eq!(values[1].sketch().unwrap().count(), 4);
}

#[test]
fn raw_values_become_a_sketch_when_there_are_many() {
    let mut window = window(Distributions::Raw { values_max: 3 });
    for value in [1.0, 2.0, 3.0] {
        window.add(sample(Kind::Histogram, 0, value), 0);
    }
    window.add(sample(Kind::Histogram, 1, 1.0), 0);
    window.add(sample(Kind::Histogram, 0, 4.0), 0);
    let values = values(window);
    assert!(matches!(&values[0], Value::Sketch(sketch) if sketch.count() == 4));
    assert_eq!(values[1], Value::Raw(vec![(1.0, 1.0)]));
}

#[test]
fn a_window_is_empty_once_taken() {
    let mut window = window(Distributions::Sketch);
    window.add(sample(Kind::Counter, 3, 2.0), 0);
    assert_eq!(window.take().samples, 1);
    assert!(window.take().entries.is_empty());
    window.add(sample(Kind::Counter, 3, 4.0), 0);
    assert_eq!(values(window), [Value::Count(4.0)]);
}

#[test]
fn two_windows_are_put_together() {
    let mode = Distributions::Raw { values_max: 2 };
    let (mut one, mut other, mut merged) = (window(mode), window(mode), window(mode));
    for (window, value, stamp) in [(&mut one, 1.0, 5), (&mut other, 2.0, 4)] {
        window.add(sample(Kind::Counter, 0, value), stamp);
        window.add(sample(Kind::Gauge, 1, value), stamp);
        window.add(sample(Kind::Histogram, 2, value), stamp);
        window.add(sample(Kind::Histogram, 3, value), stamp);
    }
    other.add(sample(Kind::Histogram, 3, 3.0), 4);
    merged.merge(one.take());
    merged.merge(other.take());
    let taken = merged.take();
    assert_eq!(taken.samples, 9);
    let values: Vec<_> = taken.entries.into_iter().map(|entry| entry.value).collect();
    assert_eq!(values[0], Value::Count(3.0));
    assert_eq!(values[1], Value::Gauge(1.0), "set in a later batch, though merged first");
    assert_eq!(values[2], Value::Raw(vec![(1.0, 1.0), (2.0, 1.0)]));
    assert_eq!(values[3].sketch().unwrap().count(), 3);
}

#[test]
fn memory_is_bounded_and_what_has_its_place_goes_on() {
    let mut window = Window::new(Distributions::Sketch, 100_000, 10_000);
    let series: usize = if cfg!(miri) { 300 } else { 10_000 };
    for index in 0..series {
        window.add(sample(Kind::Timing, index, 0.001), 0);
    }
    window.add(sample(Kind::Timing, 0, 0.001), 0);
    window.add(sample(Kind::Timing, 0, 1_000_000.0), 0);
    let held = window.entries.len();
    assert!((50..200).contains(&held), "{held}");
    assert_eq!(window.losses().full as usize, series - held + 1);
    assert_eq!(window.samples as usize, held + 1);
    assert!(window.bytes < 11_000);
}

#[test]
fn handles_of_another_catalogue_do_no_harm() {
    let mut window = window(Distributions::Sketch);
    window.add(sample(Kind::Counter, SeriesId::INDEX_MAX, 1.0), 0);
    window.add(sample(Kind::Counter, 1, 1.0), 0);
    window.add(sample(Kind::Gauge, 1, 1.0), 0);
    assert_eq!(window.losses().unknown, 2);
    assert_eq!(values(window), [Value::Count(1.0)]);
}
