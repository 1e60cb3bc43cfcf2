//! The layout of a latency histogram: which bucket a duration falls into, and what the buckets say.
//!
//! Buckets are log-linear, as in HdrHistogram and Prometheus's native histograms: each power of
//! two, counted in microseconds, is cut into sixteen equal parts, from 1 us up to 2^27 us (134 s).
//! Below 1 us the parts are those of the first microsecond, a sixteenth each; above the top there
//! is one bucket more. A value is therefore known to within a sixteenth of itself, and reporting
//! the middle of its bucket errs by **at most 1/32 (3.1 %)** between 1 us and 134 s, and by at
//! most 32 ns below.
//!
//! A bucket holds its upper edge and not its lower one, as Prometheus's `le` wants it, and the
//! edges exposed are edges of the layout: a cumulative count is exact, never interpolated.
//!
//! Counting is elsewhere. Nothing here has state.

use std::time::Duration;

/// Equal parts of each power of two.
const PARTS: usize = 16;
const PARTS_BITS: u32 = PARTS.ilog2();
/// Powers of two from 1 us upwards; the last ends at 2^27 us.
const OCTAVES: usize = 27;
/// The longest duration that is told apart from longer ones.
const TOP_NS: u64 = 1_000 << OCTAVES;
/// The exposed edges are 2^7 us to 2^26 us: faster than 128 us no proxied request is, and past
/// 67 s the question is no longer how slow. The finer view is in the quantiles.
const EXPOSED_OCTAVES: std::ops::RangeInclusive<usize> = 7..=26;

/// How many buckets there are: those below 1 us, those of the octaves, and what is above.
pub const BUCKETS: usize = PARTS + OCTAVES * PARTS + 1;

/// The bucket of a duration in nanoseconds: a division by a constant, a leading-zero count and a
/// shift.
#[inline]
pub fn bucket(duration_ns: u64) -> usize {
    // A unit is a sixteenth of a microsecond, 125/2 ns. Twice the duration less one, so that a
    // duration on an edge falls below it.
    let units = (duration_ns.min(TOP_NS + 1) * 2).saturating_sub(1) / 125;
    let octave = (units | PARTS as u64).ilog2() - PARTS_BITS;
    PARTS * octave as usize + (units >> octave) as usize
}

/// How many buckets are exposed, the one above all edges among them.
pub(crate) fn exposed_buckets() -> usize {
    EXPOSED_OCTAVES.count() + 1
}

/// The exposed bucket of a duration, counted from the lowest; the last is above all edges.
pub(crate) fn exposed_index(duration: Duration) -> usize {
    let edges = EXPOSED_OCTAVES.map(|octave| Duration::from_micros(1 << octave));
    edges.take_while(|edge| duration > *edge).count()
}

/// The duration below which a share `q` of what was counted lies, by nearest rank: the middle of
/// the bucket that holds it. `None` if nothing was counted.
///
/// What lies above the last edge is reported as that edge, 134 s: at least so much. A `q` outside
/// 0..=1 is taken as the nearer end.
pub fn quantile(counts: &[u64], q: f64) -> Option<Duration> {
    let total: u64 = counts.iter().sum();
    let rank = ((q.clamp(0.0, 1.0) * total as f64).ceil() as u64).clamp(1, total.max(1));
    let mut below = 0;
    let bucket = counts.iter().position(|count| {
        below += count;
        below >= rank
    })?;
    Some(middle(bucket))
}

/// The exposed edges in seconds, each with the count of what is at or below it.
pub fn cumulative(counts: &[u64]) -> impl Iterator<Item = (f64, u64)> {
    let mut below = 0;
    let mut start = 0;
    EXPOSED_OCTAVES.map(move |octave| {
        let end = (octave + 1) * PARTS;
        below += counts.iter().take(end).skip(start).sum::<u64>();
        start = end;
        ((1_u64 << octave) as f64 / 1e6, below)
    })
}

/// What a duration in this bucket is taken as: the bucket's middle.
pub fn middle(bucket: usize) -> Duration {
    Duration::from_nanos(middle_ns(bucket))
}

/// To the nearest nanosecond: just above 1 us a whole one is more than the stated error allows.
fn middle_ns(bucket: usize) -> u64 {
    if bucket + 1 >= BUCKETS {
        return TOP_NS;
    }
    ((lower_units(bucket) + lower_units(bucket + 1)) * 125 + 2) / 4
}

/// A bucket's lower edge, in sixteenths of a microsecond.
fn lower_units(bucket: usize) -> u64 {
    let octave = (bucket / PARTS).saturating_sub(1);
    ((bucket - octave * PARTS) as u64) << octave
}

#[cfg(test)]
mod tests;
