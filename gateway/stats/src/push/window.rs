//! Where samples are put together until the next flush: each worker has one window.
//!
//! A series takes memory with its first sample of a window. What all of them take is bounded: when
//! the bound is reached, samples that would need more are refused and counted, and those that need
//! none go on being added.

use super::{
    batch::{Value, sketch_of},
    sample::Sample,
    series::{Kind, SeriesId},
};

/// How distributions are kept until they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Distributions {
    /// As counts by bucket, known to within a few percent: as much memory for a million values as
    /// for a hundred.
    Sketch,
    /// As the values themselves, up to so many for each series, worker and window; where there are
    /// more, they become a sketch.
    Raw {
        /// Values at most. Sixteen bytes each.
        values_max: usize,
    },
}

/// One series' share of a window.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: SeriesId,
    pub(super) value: Value,
    /// Of two windows' gauges the one set in the later batch counts.
    stamp: u64,
}

/// What was put together, and what could not be.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) entries: Vec<Entry>,
    pub(super) samples: u64,
}

/// Samples by series.
#[derive(Debug)]
pub(super) struct Window {
    /// By series the entry's place plus one; zero for none.
    places: Vec<u32>,
    entries: Vec<Entry>,
    distributions: Distributions,
    series_max: usize,
    bytes: usize,
    bytes_max: usize,
    samples: u64,
    losses: WindowLosses,
}

/// What a window has refused, in samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct WindowLosses {
    pub(super) full: u64,
    pub(super) unknown: u64,
}

impl Window {
    pub(super) fn new(distributions: Distributions, series_max: usize, bytes_max: usize) -> Self {
        Self {
            places: Vec::new(),
            entries: Vec::new(),
            distributions,
            series_max,
            bytes: 0,
            bytes_max,
            samples: 0,
            losses: WindowLosses::default(),
        }
    }

    /// Adds a sample. `stamp` rises with every batch of samples.
    pub(super) fn add(&mut self, sample: Sample, stamp: u64) {
        let room = self.bytes < self.bytes_max;
        let Some(place) = self.place(sample.id, room) else { return };
        let entry = &mut self.entries[place];
        match (&mut entry.value, sample.id.kind()) {
            (Value::Count(sum), Kind::Counter) => *sum += sample.value * sample.rate.weight(),
            (Value::Gauge(last), Kind::Gauge) => *last = sample.value,
            (Value::Sketch(sketch), Kind::Histogram | Kind::Timing) => {
                if !room && sketch.grows(sample.value) {
                    self.losses.full += 1;
                    return;
                }
                let before = sketch.bytes();
                sketch.record_weighted(sample.value, sample.rate.weight());
                self.bytes += sketch.bytes().saturating_sub(before);
            }
            (Value::Raw(values), Kind::Histogram | Kind::Timing) => {
                if !room && values.len() == values.capacity() {
                    self.losses.full += 1;
                    return;
                }
                let before = values.capacity();
                values.push((sample.value, sample.rate.share()));
                self.bytes += (values.capacity() - before) * size_of::<(f64, f32)>();
                if values.len() > raw_max(self.distributions) {
                    entry.value = Value::Sketch(Box::new(sketch_of(values)));
                }
            }
            _ => {
                self.losses.unknown += 1;
                return;
            }
        }
        entry.stamp = stamp;
        self.samples += 1;
    }

    /// Adds what another window has put together. Nothing is refused: it has been paid for.
    pub(super) fn merge(&mut self, taken: Taken) {
        self.samples += taken.samples;
        for entry in taken.entries {
            match self.places.get(entry.id.index()).copied() {
                Some(place) if place > 0 => {
                    let raw_max = raw_max(self.distributions);
                    self.entries[place as usize - 1].merge(entry, raw_max);
                }
                _ => self.insert(entry),
            }
        }
    }

    /// Everything so far; the window is empty afterwards, and keeps its index.
    pub(super) fn take(&mut self) -> Taken {
        for entry in &self.entries {
            self.places[entry.id.index()] = 0;
        }
        // What was needed once is needed again.
        let fresh = Vec::with_capacity(self.entries.len());
        self.bytes = 0;
        Taken {
            entries: std::mem::replace(&mut self.entries, fresh),
            samples: std::mem::take(&mut self.samples),
        }
    }

    /// What it takes in memory now.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
            + self.places.capacity() * size_of::<u32>()
            + self.entries.capacity() * size_of::<Entry>()
    }

    pub(super) fn losses(&self) -> WindowLosses {
        self.losses
    }

    fn place(&mut self, id: SeriesId, room: bool) -> Option<usize> {
        let index = id.index();
        match self.places.get(index) {
            Some(&place) if place > 0 => return Some(place as usize - 1),
            _ if index >= self.series_max => {
                self.losses.unknown += 1;
                return None;
            }
            _ => {}
        }
        if !room {
            self.losses.full += 1;
            return None;
        }
        let value = match (id.kind(), self.distributions) {
            (Kind::Counter, _) => Value::Count(0.0),
            (Kind::Gauge, _) => Value::Gauge(0.0),
            (_, Distributions::Sketch) => Value::Sketch(Box::default()),
            (_, Distributions::Raw { .. }) => Value::Raw(Vec::new()),
        };
        self.insert(Entry { id, value, stamp: 0 });
        Some(self.entries.len() - 1)
    }

    fn insert(&mut self, entry: Entry) {
        let index = entry.id.index();
        if index >= self.places.len() {
            self.places.resize(index + 1, 0);
        }
        self.bytes += entry.bytes();
        self.entries.push(entry);
        self.places[index] = self.entries.len() as u32;
    }
}

impl Entry {
    fn merge(&mut self, other: Entry, raw_max: usize) {
        match (&mut self.value, other.value) {
            (Value::Count(sum), Value::Count(more)) => *sum += more,
            (Value::Gauge(last), Value::Gauge(later)) if other.stamp >= self.stamp => *last = later,
            (Value::Raw(values), Value::Raw(more)) if values.len() + more.len() <= raw_max => {
                values.extend(more);
            }
            (mine, other) => {
                if let (Some(first), Some(second)) = (mine.sketch(), other.sketch()) {
                    let mut sum = first.into_owned();
                    sum.merge(&second);
                    *mine = Value::Sketch(Box::new(sum));
                }
            }
        }
        self.stamp = self.stamp.max(other.stamp);
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + match &self.value {
                Value::Count(_) | Value::Gauge(_) => 0,
                Value::Sketch(sketch) => sketch.bytes(),
                Value::Raw(values) => values.capacity() * size_of::<(f64, f32)>(),
            }
    }
}

fn raw_max(distributions: Distributions) -> usize {
    match distributions {
        Distributions::Sketch => 0,
        Distributions::Raw { values_max } => values_max,
    }
}

#[cfg(test)]
mod tests;
