//! A distribution in little memory: the exponential histogram that OpenTelemetry and Prometheus's
//! native histograms describe.
//!
//! Each power of two is cut into 2^scale buckets of equal ratio, so that a value is known to within
//! a share of itself whatever its size; a bucket holds its upper edge and not its lower one. When
//! the values spread over more buckets than allowed, the scale goes down by one, neighbours melt
//! pairwise, and every count stays exact. Powers of two are edges at every scale, which is what
//! makes a cumulative view at them exact as well.
//!
//! The scale begins at 4, where the middle of a bucket errs by at most 2.2 %, and never falls below
//! 1 (17 %): 256 buckets at scale 1 are the whole range from 2^-64 to 2^64. What is not above
//! that, zero among it, is counted as zero; what is larger, in the top bucket. Count, sum, least and greatest
//! are exact but for the rounding of doubles.

const SCALE_START: u8 = 4;
const SCALE_END: u8 = 1;

/// Buckets at most. Four bytes each, and made only between the least and the greatest in use.
pub(super) const BUCKETS_MAX: usize = 256;

/// Values are told apart from 2^-64 up to 2^64.
const EXPONENT_MAX: i32 = 64;

/// A distribution of values that are not negative.
#[derive(Debug, Clone, PartialEq)]
pub struct Sketch {
    scale: u8,
    /// The index of the first bucket held.
    offset: i32,
    counts: Vec<u32>,
    zero: u64,
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    /// What weights have left over below one.
    rest: f64,
}

impl Default for Sketch {
    fn default() -> Self {
        Self {
            scale: SCALE_START,
            offset: 0,
            counts: Vec::new(),
            zero: 0,
            count: 0,
            sum: 0.0,
            min: f64::INFINITY,
            max: 0.0,
            rest: 0.0,
        }
    }
}

impl Sketch {
    /// Counts `value` once; what is negative or no number is ignored.
    pub fn record(&mut self, value: f64) {
        self.record_weighted(value, 1.0);
    }

    /// Counts `value` as `weight` values. Counts are whole: what a weight is over is kept for the
    /// next, so that they differ from the weights' sum by less than one.
    pub fn record_weighted(&mut self, value: f64, weight: f64) {
        if !(value >= 0.0 && value.is_finite() && weight > 0.0 && weight.is_finite()) {
            return;
        }
        let weight_all = weight + self.rest;
        let times = (weight_all + 1e-6).floor().max(0.0);
        self.rest = weight_all - times;
        self.sum += value * weight;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.add(value, times as u64);
    }

    fn add(&mut self, value: f64, times: u64) {
        self.count = self.count.saturating_add(times);
        match index(value, self.scale) {
            None => self.zero = self.zero.saturating_add(times),
            Some(index) => {
                let slot = self.slot(index);
                let times = u32::try_from(times).unwrap_or(u32::MAX);
                self.counts[slot] = self.counts[slot].saturating_add(times);
            }
        }
    }

    /// Whether counting `value` would take more memory than there is.
    pub(super) fn grows(&self, value: f64) -> bool {
        index(value, self.scale).is_some_and(|index| {
            index < self.offset || (index - self.offset) as usize >= self.counts.len()
        })
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Sketch) {
        self.count = self.count.saturating_add(other.count);
        self.zero = self.zero.saturating_add(other.zero);
        self.sum += other.sum;
        self.rest += other.rest;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        while self.scale > other.scale {
            self.coarsen();
        }
        for (bucket, &count) in other.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let index = other.offset + bucket as i32;
            // The scale may fall while this goes on.
            let slot = self.slot(index >> (other.scale - self.scale));
            self.counts[slot] = self.counts[slot].saturating_add(count);
        }
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The least; `None` if nothing was counted.
    pub fn min(&self) -> Option<f64> {
        (self.min <= self.max).then_some(self.min)
    }

    /// The greatest; `None` if nothing was counted.
    pub fn max(&self) -> Option<f64> {
        (self.min <= self.max).then_some(self.max)
    }

    /// How often zero was counted, or no more than 2^-64.
    pub fn zero_count(&self) -> u64 {
        self.zero
    }

    /// OpenTelemetry's scale: there are 2^scale buckets to each power of two.
    pub fn scale(&self) -> u8 {
        self.scale
    }

    /// The index of the first bucket of [`counts`](Self::counts). Bucket `i` holds what is above
    /// 2^(i / 2^scale) and up to 2^((i + 1) / 2^scale).
    pub fn offset(&self) -> i32 {
        self.offset
    }

    /// Counts of neighbouring buckets.
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// How many values are at most 2^`exponent`, exactly: it is an edge at every scale.
    pub fn at_most(&self, exponent: i32) -> u64 {
        let end = (exponent << self.scale).saturating_sub(self.offset).max(0) as usize;
        let below = self.counts.iter().take(end);
        self.zero + below.map(|count| u64::from(*count)).sum::<u64>()
    }

    /// Each value as its bucket's middle, with how often it was counted, in rising order. The
    /// middle lies within what was counted: never below the least nor above the greatest.
    pub fn values(&self) -> impl Iterator<Item = (f64, u64)> {
        let zero = (self.zero > 0).then_some((0.0, self.zero));
        let buckets = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        zero.into_iter().chain(buckets.map(|(bucket, count)| {
            let middle = self.middle(self.offset + bucket as i32);
            (middle.clamp(self.min, self.max.max(self.min)), u64::from(*count))
        }))
    }

    /// The value below which a share `q` lies, by nearest rank, to within the error of the scale;
    /// `None` if nothing was counted.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let rank = ((q.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).max(1);
        let mut below = 0;
        self.values().find_map(|(value, count)| {
            below += count;
            (below >= rank).then_some(value)
        })
    }

    /// What it takes in memory, itself included.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.counts.capacity() * size_of::<u32>()
    }

    /// Where a bucket ends.
    fn edge(&self, index: i32) -> f64 {
        let parts = f64::from(1_u32 << self.scale);
        (f64::from(index + 1) / parts).exp2()
    }

    /// The geometric middle, which errs by the same share on both sides.
    fn middle(&self, index: i32) -> f64 {
        (self.edge(index - 1) * self.edge(index)).sqrt()
    }

    /// The place of a bucket given at the present scale, made if it is not there.
    fn slot(&mut self, index: i32) -> usize {
        if self.counts.is_empty() {
            self.offset = index;
        }
        let mut index = index;
        loop {
            let first = self.offset.min(index);
            let end = (self.offset + self.counts.len() as i32).max(index + 1);
            let span = (end - first) as usize;
            if span <= BUCKETS_MAX {
                self.extend(first, span);
                return (index - self.offset) as usize;
            }
            self.coarsen();
            index >>= 1;
        }
    }

    fn extend(&mut self, first: i32, span: usize) {
        let front = (self.offset - first) as usize;
        if span > self.counts.len() {
            self.counts.reserve_exact(span - self.counts.len());
            self.counts.splice(0..0, std::iter::repeat_n(0, front));
            self.counts.resize(span, 0);
            self.offset = first;
        }
    }

    /// Halves the resolution: buckets 2i and 2i + 1 become bucket i.
    fn coarsen(&mut self) {
        debug_assert!(self.scale > SCALE_END, "the whole range fits at the lowest scale");
        let first = self.offset >> 1;
        let mut melted = 0;
        for bucket in 0..self.counts.len() {
            let target = ((self.offset + bucket as i32) >> 1) - first;
            let count = std::mem::take(&mut self.counts[bucket]);
            let into = &mut self.counts[target as usize];
            *into = into.saturating_add(count);
            melted = target as usize + 1;
        }
        self.counts.truncate(melted);
        self.offset = first;
        self.scale -= 1;
    }
}

/// The bucket of a value that is not negative; `None` for what counts as zero.
fn index(value: f64, scale: u8) -> Option<i32> {
    const MANTISSA_BITS: u32 = 52;
    const BIAS: i32 = 1023;
    // Zero may have a sign.
    let bits = value.abs().to_bits();
    let exponent = (bits >> MANTISSA_BITS) as i32 - BIAS;
    let mantissa = bits & ((1 << MANTISSA_BITS) - 1);
    if exponent < -EXPONENT_MAX || (exponent == -EXPONENT_MAX && mantissa == 0) {
        return None;
    }
    let parts = 1 << scale;
    if exponent >= EXPONENT_MAX {
        return Some(EXPONENT_MAX * parts - 1);
    }
    let within = if mantissa == 0 {
        // A power of two is the upper edge of the bucket below.
        -1
    } else {
        let mantissa = f64::from_bits(mantissa | (BIAS as u64) << MANTISSA_BITS);
        ((mantissa.log2() * f64::from(parts)) as i32).min(parts - 1)
    };
    Some(exponent * parts + within)
}

#[cfg(test)]
mod tests;
