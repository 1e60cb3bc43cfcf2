//! What every series has come to, for receivers that want to be told that.

use std::{collections::HashMap, sync::Arc};

use crate::push::batch::{Batch, Point, Value};

/// Sums by series, since the first batch.
#[derive(Debug, Default)]
pub(super) struct Sums {
    start_ms: Option<u64>,
    points: Vec<Point>,
    /// Places by the series' address, which is its own as long as the point holds it.
    places: HashMap<usize, usize>,
}

impl Sums {
    pub(super) fn observe(&mut self, batch: &Batch) {
        self.start_ms.get_or_insert(batch.start_ms());
        for point in batch.points() {
            let address = Arc::as_ptr(&point.series).addr();
            match self.places.get(&address) {
                Some(&place) => add(&mut self.points[place].value, &point.value),
                None => {
                    self.places.insert(address, self.points.len());
                    let value = match point.value.sketch() {
                        Some(sketch) => Value::Sketch(Box::new(sketch.into_owned())),
                        None => point.value.clone(),
                    };
                    self.points.push(Point { series: Arc::clone(&point.series), value });
                }
            }
        }
    }

    pub(super) fn start_ms(&self) -> u64 {
        self.start_ms.unwrap_or(0)
    }

    pub(super) fn points(&self) -> Vec<&Point> {
        self.points.iter().collect()
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
