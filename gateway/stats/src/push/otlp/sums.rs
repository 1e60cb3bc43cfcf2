//! What every series has come to, for receivers that want to be told that.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::convert::DataPoint;
use crate::push::batch::{Batch, Point, Value};

/// Sums by series, each since the batch that it first came with.
#[derive(Debug, Default)]
pub(super) struct Sums {
    /// By place, which rises in the order in which they came.
    sums: BTreeMap<usize, Sum>,
    next: usize,
    /// Places by the series' address, which is its own as long as the sum holds it.
    places: HashMap<usize, usize>,
}

#[derive(Debug)]
struct Sum {
    point: Point,
    start_ms: u64,
    /// Whether its series has ended. It is then sent for the last time.
    has_ended: bool,
}

impl Sums {
    pub(super) fn observe(&mut self, batch: &Batch) {
        for point in batch.points() {
            let address = Arc::as_ptr(&point.series).addr();
            let place = self.places.get(&address);
            match place.and_then(|place| self.sums.get_mut(place)) {
                Some(sum) => add(&mut sum.point.value, &point.value),
                None => {
                    let value = match point.value.sketch() {
                        Some(sketch) => Value::Sketch(Box::new(sketch.into_owned())),
                        None => point.value.clone(),
                    };
                    let point = Point { series: Arc::clone(&point.series), value };
                    let sum = Sum { point, start_ms: batch.start_ms(), has_ended: false };
                    self.places.insert(address, self.next);
                    self.sums.insert(self.next, sum);
                    self.next += 1;
                }
            }
        }
        for series in batch.retired() {
            let place = self.places.remove(&Arc::as_ptr(series).addr());
            if let Some(sum) = place.and_then(|place| self.sums.get_mut(&place)) {
                sum.has_ended = true;
            }
        }
    }

    /// Every series has ended.
    pub(super) fn end_all(&mut self) {
        self.places.clear();
        self.sums.values_mut().for_each(|sum| sum.has_ended = true);
    }

    /// All sums have been sent. Those that have ended are forgotten.
    pub(super) fn sent(&mut self) {
        self.sums.retain(|_, sum| !sum.has_ended);
    }

    pub(super) fn points(&self) -> Vec<DataPoint<'_>> {
        let sums = self.sums.values();
        sums.map(|sum| DataPoint {
            point: &sum.point,
            start_ms: sum.start_ms,
            has_ended: sum.has_ended,
        })
        .collect()
    }
}

fn add(sum: &mut Value, more: &Value) {
    match (sum, more) {
        (Value::Count(sum), Value::Count(more)) => *sum += more,
        (Value::Gauge(last), Value::Gauge(value)) => *last = *value,
        (Value::Sketch(sum), more) => {
            if let Some(more) = more.sketch() {
                sum.merge(&more);
            }
        }
        _ => {}
    }
}
