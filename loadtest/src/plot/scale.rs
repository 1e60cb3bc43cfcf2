//! From values to pixels, and where an axis has its ticks.

/// Ticks an axis has at least, where its range allows.
const TICKS: f64 = 5.0;

/// An axis: a range of values over a range of pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    log: bool,
    from_px: i32,
    to_px: i32,
}

impl Scale {
    /// An axis over `values`, from zero or, if it is logarithmic, from a round value below the least.
    pub(super) fn over(values: impl Iterator<Item = f64>, log: bool, px: (i32, i32)) -> Self {
        let shown = values.filter(|&value| shows(value, log));
        let none = (f64::INFINITY, f64::NEG_INFINITY);
        let (least, most) =
            shown.fold(none, |(least, most), value| (least.min(value), most.max(value)));
        let (low, high) = match (least <= most, log) {
            (false, false) => (0.0, 1.0),
            (false, true) => (1.0, 10.0),
            (true, false) => linear(least.min(0.0), most.max(0.0)),
            (true, true) => (round_below(least), round_above(most)),
        };
        Self { low, high, log, from_px: px.0, to_px: px.1 }
    }

    /// Where `value` is drawn; what is out of range is drawn at its end.
    pub(super) fn px(&self, value: f64) -> i32 {
        let value = value.clamp(self.low, self.high);
        let share = match self.log {
            true => (value / self.low).ln() / (self.high / self.low).ln(),
            false => (value - self.low) / (self.high - self.low),
        };
        self.from_px + (share * f64::from(self.to_px - self.from_px)).round() as i32
    }

    /// Whether `value` has a place on this axis at all.
    pub(super) fn shows(&self, value: f64) -> bool {
        shows(value, self.log)
    }

    /// The values that get a line and a label.
    pub(super) fn ticks(&self) -> Vec<f64> {
        if self.log { self.decades() } else { self.steps() }
    }

    fn steps(&self) -> Vec<f64> {
        let step = round_step((self.high - self.low) / TICKS);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last).map(|count| count as f64 * step).collect()
    }

    fn decades(&self) -> Vec<f64> {
        let range = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let between: &[f64] = if self.high / self.low > 2000.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let all = range.flat_map(|power| between.iter().map(move |by| by * 10f64.powi(power)));
        let slack = 1.0 + 1e-9;
        all.filter(|tick| (self.low / slack..=self.high * slack).contains(tick)).collect()
    }
}

fn shows(value: f64, log: bool) -> bool {
    value.is_finite() && (!log || value > 0.0)
}

/// The range with room to the next tick.
fn linear(least: f64, most: f64) -> (f64, f64) {
    if least == most {
        return (0.0, 1.0);
    }
    let step = round_step((most - least) / TICKS);
    ((least / step).floor() * step, (most / step).ceil() * step)
}

/// 1, 2 or 5 times a power of ten, at most `rough`.
fn round_step(rough: f64) -> f64 {
    round_below(rough)
}

fn round_below(value: f64) -> f64 {
    let decade = 10f64.powi((value.log10() + 1e-9).floor() as i32);
    let by = [5.0, 2.0].into_iter().find(|by| by * decade <= value * (1.0 + 1e-9));
    by.unwrap_or(1.0) * decade
}

/// 1, 2 or 5 times a power of ten above `value`, so that an axis never has no length.
fn round_above(value: f64) -> f64 {
    let decade = 10f64.powi((value.log10() + 1e-9).floor() as i32);
    let by = [2.0, 5.0].into_iter().find(|by| by * decade > value * (1.0 + 1e-9));
    by.unwrap_or(10.0) * decade
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(values: &[f64], log: bool) -> Scale {
        Scale::over(values.iter().copied(), log, (0, 100))
    }

    #[test]
    fn a_linear_axis_begins_at_zero_and_ends_at_a_tick() {
        let axis = scale(&[3.0, 47.0], false);
        assert_eq!(axis.ticks(), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        assert_eq!((axis.px(0.0), axis.px(25.0), axis.px(50.0), axis.px(99.0)), (0, 50, 100, 100));
    }

    #[test]
    fn a_logarithmic_axis_has_round_ends() {
        let axis = scale(&[3.0, 470.0], true);
        assert_eq!(axis.ticks(), [2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0]);
        assert_eq!((axis.px(2.0), axis.px(500.0)), (0, 100));
    }

    #[test]
    fn what_has_no_logarithm_has_no_place() {
        let axis = scale(&[0.0, -1.0, 10.0], true);
        assert!(!axis.shows(0.0) && axis.shows(10.0));
        assert!(axis.ticks().contains(&10.0));
    }

    #[test]
    fn an_axis_over_nothing_or_one_value_still_has_length() {
        for log in [false, true] {
            for values in [&[][..], &[0.0], &[7.0], &[f64::NAN]] {
                let axis = scale(values, log);
                assert!(axis.ticks().len() > 1, "{values:?} {log} {axis:?}");
                assert!(axis.low < axis.high);
            }
        }
    }
}
