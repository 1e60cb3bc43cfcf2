//! What every series has come to since the exporter started.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    labels::{External, Labels, metric_name},
    wire::{Label, Sample, TimeSeries},
};
use crate::push::{
    batch::{Batch, Point, Value},
    edges::exponents,
    series::{Kind, Series},
};

/// A value that says that a series has ended: Remote-Write 1.0, "Stale Markers".
const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Sums by series.
#[derive(Debug)]
pub(super) struct States {
    external: External,
    /// By place, which rises in the order in which they came.
    states: BTreeMap<usize, State>,
    next: usize,
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
    /// When it was zero, while that is still to be sent.
    born_ms: Option<u64>,
    /// Series that are put together here and have not ended. At zero it is sent for the last time.
    series: usize,
    /// Whether it has moved since it was sent.
    moved: bool,
}

#[derive(Debug)]
enum Figure {
    Number(f64),
    Histogram { exponents: Vec<i32>, at_most: Vec<u64>, count: u64, sum: f64 },
}

impl States {
    pub(super) fn new(external: External) -> Self {
        let (places, named) = (HashMap::new(), HashMap::new());
        Self { external, states: BTreeMap::new(), next: 0, places, named, unsayable: 0 }
    }

    /// Adds up what a batch brings. What is new was zero when the batch began, two milliseconds in:
    /// an exporter before this one may have sent its last sample at the batch's beginning and its
    /// stale marker a millisecond later, and no sample may come before or beside them.
    pub(super) fn observe(&mut self, batch: &Batch) {
        self.unsayable = 0;
        for point in batch.points() {
            let place = self.place(&point.series, batch.start_ms() + 2);
            match place.and_then(|place| self.states.get_mut(&place)) {
                Some(state) => state.add(point),
                None => self.unsayable += 1,
            }
        }
        for series in batch.retired() {
            let place = self.places.remove(&Arc::as_ptr(series).addr());
            let place = place.and_then(|(_, place)| place);
            if let Some(state) = place.and_then(|place| self.states.get_mut(&place)) {
                state.series = state.series.saturating_sub(1);
            }
        }
    }

    /// Every series has ended.
    pub(super) fn end_all(&mut self) {
        self.places.clear();
        self.states.values_mut().for_each(|state| state.series = 0);
    }

    /// Points of the last batch whose name and labels are taken by a metric of another kind.
    pub(super) fn unsayable(&self) -> u64 {
        self.unsayable
    }

    /// All series at a time; what is new also with its zero, without which Prometheus cannot tell
    /// how much a counter has grown.
    pub(super) fn series(&self, now_ms: u64) -> Vec<TimeSeries> {
        let mut out = Vec::with_capacity(self.states.len());
        for state in self.states.values() {
            state.write(now_ms, &mut out);
        }
        out
    }

    /// All series have been sent, their zeros and markers with them. Those that have ended are
    /// forgotten.
    pub(super) fn sent(&mut self) {
        for state in self.states.values_mut() {
            (state.born_ms, state.moved) = (None, false);
        }
        let ended = self.states.extract_if(.., |_, state| state.series == 0);
        let ended: Vec<_> = ended.map(|(_, state)| (state.name, state.labels)).collect();
        for name in ended {
            self.named.remove(&name);
        }
    }

    fn place(&mut self, series: &Arc<Series>, born_ms: u64) -> Option<usize> {
        let address = Arc::as_ptr(series).addr();
        if let Some((_, place)) = self.places.get(&address) {
            return *place;
        }
        let name = (metric_name(series), self.external.labels(series));
        let place = match self.named.get(&name) {
            Some(&place) => {
                let state = self.states.get_mut(&place).filter(|it| it.kind == series.kind());
                state.map(|state| {
                    state.series += 1;
                    place
                })
            }
            None => {
                let place = self.next;
                self.next += 1;
                self.states.insert(place, State::new(series, name.clone(), born_ms));
                self.named.insert(name, place);
                Some(place)
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
        Self { name, labels, kind: series.kind(), figure, born_ms, series: 1, moved: false }
    }

    fn add(&mut self, point: &Point) {
        self.moved = true;
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
        let sample = |value, at_ms: u64| Sample { value, timestamp: at_ms as i64 };
        let mut samples = Vec::with_capacity(2);
        let value_ms = if self.series == 0 { now_ms.saturating_sub(1) } else { now_ms };
        samples
            .extend(self.born_ms.filter(|born_ms| *born_ms < value_ms).map(|at| sample(0.0, at)));
        if self.series > 0 || self.moved {
            samples.push(sample(value, value_ms));
        }
        if self.series == 0 {
            samples.push(sample(STALE, now_ms));
        }
        TimeSeries { labels, samples }
    }
}
