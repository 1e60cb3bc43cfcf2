//! An hour of figures, in steps of ten seconds, in a bounded number of bytes.
//!
//! A figure of one step is one word: three quantiles as the histogram's buckets, and two counts as
//! floats of fourteen and thirteen bits. A step has a bit for each name and a word for each that
//! had requests, so that an hour of 10,000 busy routes is 28 MiB and one of idle routes half a MiB.
//! Where there is more than there is room for, the oldest steps go first.

use std::collections::VecDeque;
use std::sync::Arc;

use sallyport_stats::histogram;

use super::reader::{Names, Series};
use super::window::{Figures, HALF_S};

/// Seconds of one step.
pub(in super::super) const STEP_S: u64 = 2 * HALF_S;

/// Steps of an hour.
const STEPS_MAX: usize = 3600 / STEP_S as usize;

/// Readings of everything together that are kept singly: an hour of them is 200 KiB.
const RECENT_MAX: usize = 3600;

/// Bytes that all steps may take, names included.
pub(super) const BYTES_MAX: usize = 40 << 20;

/// What was read before.
#[derive(Debug, Default)]
pub(in super::super) struct History {
    steps: VecDeque<Step>,
    bytes: usize,
    recent: VecDeque<(u64, Figures)>,
    drops: VecDeque<Drops>,
}

/// Packets that were dropped in one step, in the order of the classifier's reasons.
#[derive(Debug)]
pub(in super::super) struct Drops {
    pub(in super::super) at_unix_s: u64,
    pub(in super::super) packets: Vec<u64>,
}

/// The figures of ten seconds.
#[derive(Debug)]
struct Step {
    at_unix_s: u64,
    names: Arc<Names>,
    /// A bit for each name that has a cell.
    present: Box<[u64]>,
    cells: Box<[u64]>,
    /// What it takes, with the names where it is the first that has these.
    bytes: usize,
}

/// The figures of one thing in one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) struct Point {
    /// When the step ended.
    pub(in super::super) at_unix_s: u64,
    /// Requests a second.
    pub(in super::super) requests_per_s: f64,
    /// Failed ones a second.
    pub(in super::super) errors_per_s: f64,
    /// p50, p99 and p99.9, in seconds.
    pub(in super::super) quantiles_s: [Option<f64>; 3],
}

impl History {
    /// Adds a step; figures without requests take a bit.
    pub(super) fn add(&mut self, at_unix_s: u64, names: &Arc<Names>, figures: &[Figures]) {
        let is_known = self.steps.back().is_some_and(|step| Arc::ptr_eq(&step.names, names));
        let step = Step::new(at_unix_s, names.clone(), is_known, figures);
        self.bytes += step.bytes;
        self.steps.push_back(step);
        while self.steps.len() > STEPS_MAX || (self.bytes > BYTES_MAX && !self.steps.is_empty()) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some(gone) = self.steps.pop_front() else { return };
        self.bytes -= gone.bytes;
        // The next one holds the names now, if it has the same.
        if let Some(first) = self.steps.front_mut()
            && Arc::ptr_eq(&first.names, &gone.names)
        {
            first.bytes += gone.names.bytes();
            self.bytes += gone.names.bytes();
        }
    }

    /// Adds a reading of everything together.
    pub(super) fn add_recent(&mut self, at_unix_s: u64, all: Figures) {
        self.recent.push_back((at_unix_s, all));
        while self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
    }

    /// Adds what was dropped in one step.
    pub(super) fn add_drops(&mut self, at_unix_s: u64, packets: Vec<u64>) {
        self.drops.push_back(Drops { at_unix_s, packets });
        while self.drops.len() > STEPS_MAX {
            self.drops.pop_front();
        }
    }

    /// What was dropped in the last hour, the oldest step first.
    pub(in super::super) fn drops(&self) -> impl Iterator<Item = &Drops> {
        self.drops.iter()
    }

    /// The last hour of `series`, the oldest first. Of everything together every second is known,
    /// of others every step; where nothing was asked of it there is a zero, and where it was not
    /// there, nothing.
    pub(in super::super) fn of(&self, series: &Series) -> Vec<Point> {
        if *series == Series::All {
            let point = |(at_unix_s, all): &(u64, Figures)| Point::of(*at_unix_s, all);
            return self.recent.iter().map(point).collect();
        }
        let mut known: Option<(&Arc<Names>, Option<u32>)> = None;
        let mut points = Vec::new();
        for step in &self.steps {
            let place = match known {
                Some((names, place)) if Arc::ptr_eq(names, &step.names) => place,
                _ => step.names.place(series),
            };
            known = Some((&step.names, place));
            points.extend(place.map(|place| step.point(place as usize)));
        }
        points
    }
}

impl Step {
    fn new(at_unix_s: u64, names: Arc<Names>, is_known: bool, figures: &[Figures]) -> Self {
        let mut present = vec![0_u64; figures.len().div_ceil(64)];
        let mut cells = Vec::new();
        for (place, figures) in figures.iter().enumerate().filter(|(_, it)| it.requests > 0) {
            present[place / 64] |= 1 << (place % 64);
            cells.push(pack(figures));
        }
        let bytes = size_of::<Self>() + (present.len() + cells.len()) * size_of::<u64>();
        let names_bytes = if is_known { 0 } else { names.bytes() };
        let (present, cells) = (present.into_boxed_slice(), cells.into_boxed_slice());
        Self { at_unix_s, names, present, cells, bytes: bytes + names_bytes }
    }

    fn point(&self, place: usize) -> Point {
        let (word, bit) = (place / 64, place % 64);
        let present = self.present.get(word).copied().unwrap_or(0);
        let figures = (present >> bit & 1 == 1).then(|| {
            let before = self.present[..word].iter().map(|it| it.count_ones()).sum::<u32>();
            let rank = before + (present & ((1 << bit) - 1)).count_ones();
            unpack(self.cells[rank as usize])
        });
        Point::of(self.at_unix_s, &figures.unwrap_or_default())
    }
}

impl Point {
    fn of(at_unix_s: u64, figures: &Figures) -> Self {
        Self {
            at_unix_s,
            requests_per_s: figures.rate(figures.requests),
            errors_per_s: figures.rate(figures.errors),
            quantiles_s: [0, 1, 2].map(|index| figures.quantile_s(index)),
        }
    }
}

const BUCKET_BITS: u32 = 9;
const NO_BUCKET: u64 = (1 << BUCKET_BITS) - 1;
const EXPONENT_BITS: u32 = 5;
const REQUESTS_BITS: u32 = 14;
const ERRORS_BITS: u32 = 13;
const _: () = assert!(
    3 * BUCKET_BITS + REQUESTS_BITS + ERRORS_BITS + 2 * EXPONENT_BITS == 64
        && (histogram::BUCKETS as u64) < NO_BUCKET
);

/// Three quantiles and two counts in one word.
fn pack(figures: &Figures) -> u64 {
    let mut word = 0;
    for index in 0..3 {
        let bucket = figures.quantiles.map_or(NO_BUCKET, |it| u64::from(it[index]));
        word = word << BUCKET_BITS | bucket.min(NO_BUCKET);
    }
    word = word << (REQUESTS_BITS + EXPONENT_BITS) | float(figures.requests, REQUESTS_BITS);
    word << (ERRORS_BITS + EXPONENT_BITS) | float(figures.errors, ERRORS_BITS)
}

fn unpack(word: u64) -> Figures {
    let (errors, word) = split(word, ERRORS_BITS + EXPONENT_BITS);
    let (requests, word) = split(word, REQUESTS_BITS + EXPONENT_BITS);
    let (last, word) = split(word, BUCKET_BITS);
    let (middle, first) = split(word, BUCKET_BITS);
    let quantiles = [first, middle, last];
    let is_known = quantiles.iter().all(|bucket| *bucket != NO_BUCKET);
    Figures {
        requests: unfloat(requests, REQUESTS_BITS),
        errors: unfloat(errors, ERRORS_BITS),
        seconds: STEP_S as f32,
        quantiles: is_known.then(|| quantiles.map(|it| it as u16)),
        ..Figures::default()
    }
}

/// The lowest `bits` of a word, and the rest.
fn split(word: u64, bits: u32) -> (u64, u64) {
    (word & ((1 << bits) - 1), word >> bits)
}

/// A count with `bits` of precision; the largest where it is beyond 2^44.
fn float(count: u64, bits: u32) -> u64 {
    let exponent = (u64::BITS - count.leading_zeros()).saturating_sub(bits);
    if exponent >= 1 << EXPONENT_BITS {
        return (1 << (bits + EXPONENT_BITS)) - 1;
    }
    u64::from(exponent) << bits | count >> exponent
}

fn unfloat(float: u64, bits: u32) -> u64 {
    let (mantissa, exponent) = split(float, bits);
    mantissa << exponent
}

#[cfg(test)]
mod tests;
