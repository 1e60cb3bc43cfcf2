//! From many rounds to one figure.
//!
//! Medians, because a round that a build disturbed should not move the result; the range beside
//! them, because a median hides how far rounds lie apart; and ratios and differences taken
//! within a round, because the machine's speed drifts between rounds and cancels inside one.

use serde::Serialize;

/// The middle of a set of rounds, and its ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The middle value, or the mean of the two middle ones.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Summarises `values`; none if there are none, or one of them is no number.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        values.sort_by(f64::total_cmp);
        let upper = values.len() / 2;
        let lower = (values.len() - 1) / 2;
        Some(Self {
            median: f64::midpoint(values[lower], values[upper]),
            min: values[0],
            max: values[values.len() - 1],
        })
    }

    /// Summarises the differences `minuends[i] - subtrahends[i]`, one a round.
    pub fn of_differences(minuends: &[f64], subtrahends: &[f64]) -> Option<Self> {
        Self::of(minuends.iter().zip(subtrahends).map(|(minuend, subtrahend)| minuend - subtrahend))
    }

    /// The same in units `divisor` times as large; `divisor` is above zero.
    pub fn divided(self, divisor: f64) -> Self {
        let Self { median, min, max } = self;
        Self { median: median / divisor, min: min / divisor, max: max / divisor }
    }

    /// Summarises the ratios `numerators[i] / denominators[i]`, one a round.
    pub fn of_ratios(numerators: &[f64], denominators: &[f64]) -> Option<Self> {
        Self::of(numerators.iter().zip(denominators).map(|(above, below)| above / below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_odd_and_even_counts() {
        let odd = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!(odd, Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 9.0]).unwrap().median, 3.0);
        assert_eq!(Spread::of([5.0]).unwrap().median, 5.0);
    }

    #[test]
    fn nothing_and_not_a_number_have_no_middle() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([1.0, f64::NAN]), None);
        assert_eq!(Spread::of_ratios(&[1.0], &[0.0]), None);
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        // The machine slowed down by half in the second round; the ratio does not notice.
        let ratio = Spread::of_ratios(&[11.0, 22.0, 12.0], &[10.0, 20.0, 10.0]).unwrap();
        assert!((ratio.median - 1.1).abs() < 1e-9);
        assert!((ratio.max - 1.2).abs() < 1e-9);
    }
}
