//! What every series has come to since the exporter started.

use std::{collections::HashMap, sync::Arc};

use super::{
    labels::{External, Labels, metric_name},
    wire::{Label, Sample, TimeSeries},
};
use crate::push::{
    batch::{Batch, Point, Value},
    edges::exponents,
    series::{Kind, Series},
};

/// Sums by series.
#[derive(Debug)]
pub(super) struct States {
    external: External,
    states: Vec<State>,
    /// Places by the series' address, which is its own as long as it is held here.
    places: HashMap<usize, (Arc<Series>, Option<usize>)>,
    /// Names and labels may be one where series were two.
    named: HashMap<(String, Labels), usize>,
    unsayable: u64,
}

#[derive(Debug)]
struct State {
    name: String,
    labels: Labels,
    kind: Kind,
    figure: Figure,
    /// When it was zero, while that is still to be said.
    born_ms: Option<u64>,
}

#[derive(Debug)]
enum Figure {
    Number(f64),
    Histogram { exponents: Vec<i32>, at_most: Vec<u64>, count: u64, sum: f64 },
}

impl States {
    pub(super) fn new(external: External) -> Self {
        let (places, named) = (HashMap::new(), HashMap::new());
        Self { external, states: Vec::new(), places, named, unsayable: 0 }
    }

    pub(super) fn observe(&mut self, batch: &Batch) {
        self.unsayable = 0;
        for point in batch.points() {
            match self.place(&point.series, batch.start_ms() + 1) {
                Some(place) => self.states[place].add(point),
                None => self.unsayable += 1,
            }
        }
    }

    /// Points of the last batch whose name and labels are taken by a metric of another kind.
    pub(super) fn unsayable(&self) -> u64 {
        self.unsayable
    }

    /// All series at a time; what is new also with its zero, without which Prometheus cannot tell
    /// how much a counter has grown.
    pub(super) fn series(&self, now_ms: u64) -> Vec<TimeSeries> {
        let mut out = Vec::with_capacity(self.states.len());
        for state in &self.states {
            state.write(now_ms, &mut out);
        }
        out
    }

    /// The zeros have been said.
    pub(super) fn sent(&mut self) {
        self.states.iter_mut().for_each(|state| state.born_ms = None);
    }

    fn place(&mut self, series: &Arc<Series>, born_ms: u64) -> Option<usize> {
        let address = Arc::as_ptr(series).addr();
        if let Some((_, place)) = self.places.get(&address) {
            return *place;
        }
        let name = (metric_name(series), self.external.labels(series));
        let place = match self.named.get(&name) {
            Some(&place) => (self.states[place].kind == series.kind()).then_some(place),
            None => {
                self.states.push(State::new(series, name.clone(), born_ms));
                self.named.insert(name, self.states.len() - 1);
                Some(self.states.len() - 1)
            }
        };
        self.places.insert(address, (Arc::clone(series), place));
        place
    }
}

impl State {
    fn new(series: &Series, (name, labels): (String, Labels), born_ms: u64) -> Self {
        let figure = match series.kind() {
            Kind::Counter | Kind::Gauge => Figure::Number(0.0),
            Kind::Histogram | Kind::Timing => {
                let exponents = exponents(series.unit());
                let at_most = vec![0; exponents.len()];
                Figure::Histogram { exponents, at_most, count: 0, sum: 0.0 }
            }
        };
        let born_ms = (series.kind() != Kind::Gauge).then_some(born_ms);
        Self { name, labels, kind: series.kind(), figure, born_ms }
    }

    fn add(&mut self, point: &Point) {
        match (&mut self.figure, &point.value) {
            (Figure::Number(sum), Value::Count(more)) => *sum += more,
            (Figure::Number(last), Value::Gauge(value)) => *last = *value,
            (Figure::Histogram { exponents, at_most, count, sum }, value) => {
                let Some(sketch) = value.sketch() else { return };
                *count += sketch.count();
                *sum += sketch.sum();
                for (exponent, below) in exponents.iter().zip(at_most) {
                    *below += sketch.at_most(*exponent);
                }
            }
            _ => {}
        }
    }

    fn write(&self, now_ms: u64, out: &mut Vec<TimeSeries>) {
        match &self.figure {
            Figure::Number(value) => out.push(self.line("", None, *value, now_ms)),
            Figure::Histogram { exponents, at_most, count, sum } => {
                for (exponent, below) in exponents.iter().zip(at_most) {
                    let edge = f64::from(*exponent).exp2().to_string();
                    out.push(self.line("_bucket", Some(edge), *below as f64, now_ms));
                }
                let all = *count as f64;
                out.push(self.line("_bucket", Some("+Inf".to_owned()), all, now_ms));
                out.push(self.line("_sum", None, *sum, now_ms));
                out.push(self.line("_count", None, all, now_ms));
            }
        }
    }

    fn line(&self, suffix: &str, edge: Option<String>, value: f64, now_ms: u64) -> TimeSeries {
        let name = ("__name__".to_owned(), format!("{}{suffix}", self.name));
        let own = self.labels.iter().map(|(key, value)| (key.clone(), value.clone()));
        let edge = edge.map(|edge| ("le".to_owned(), edge));
        let mut labels: Vec<Label> =
            own.chain([name]).chain(edge).map(|(name, value)| Label { name, value }).collect();
        labels.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let zero = self.born_ms.filter(|born_ms| *born_ms < now_ms);
        let sample = |value, at_ms| Sample { value, timestamp: at_ms as i64 };
        let zero = zero.map(|born_ms| sample(0.0, born_ms));
        TimeSeries { labels, samples: zero.into_iter().chain([sample(value, now_ms)]).collect() }
    }
}
