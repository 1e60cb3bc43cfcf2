//! What unevenness is, and how much of it is nobody's fault.
//!
//! With `a` downloads on a worker each can have `1/a` of it. Those shares differ between workers even if every
//! worker is perfectly fair; their coefficient of variation is the structural one, and what is observed is
//! held against it.

/// Seconds at the beginning of a run that are left out: windows grow, caches fill.
pub const DROPPED_FIRST: usize = 5;
/// Seconds at its end that are left out: the last is cut short.
pub const DROPPED_LAST: usize = 1;
/// Seconds that must be left for a verdict.
pub const STEADY_MIN: usize = 60;
/// How far the observed coefficient may be above the structural one.
pub const TOLERANCE: f64 = 0.05;
/// A download that never gets this share of the mean in any second is starved.
pub const STARVED: f64 = 0.01;

/// The structural coefficient of variation for workers with so many downloads each; idle workers do not
/// count. None where there is no download.
///
/// ```
/// use loadtest::fairness::arithmetic::structural;
///
/// let rounded = |per_worker: &[usize]| (structural(per_worker).unwrap() * 100.0).round() / 100.0;
/// assert_eq!(rounded(&[1, 1, 2, 2, 3, 3]), 0.47);
/// assert_eq!(rounded(&[6, 0, 0, 0, 0, 6]), 0.0);
/// ```
pub fn structural(per_worker: &[usize]) -> Option<f64> {
    let active = per_worker.iter().filter(|&&flows| flows > 0);
    let shares = active.flat_map(|&flows| std::iter::repeat_n(1.0 / flows as f64, flows));
    variation(&shares.collect::<Vec<_>>())
}

/// The population's standard deviation over its mean; none for no values or a mean of zero.
pub fn variation(values: &[f64]) -> Option<f64> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    if values.is_empty() || mean == 0.0 {
        return None;
    }
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((squares / count).sqrt() / mean)
}

/// The seconds of a run that count.
pub fn steady(seconds: &[u64]) -> &[u64] {
    let end = seconds.len().saturating_sub(DROPPED_LAST);
    seconds.get(DROPPED_FIRST..end).unwrap_or_default()
}

/// The downloads, by index, that got less than [`STARVED`] of the mean second in every one of theirs.
pub fn starved(steady: &[&[u64]]) -> Vec<usize> {
    let seconds: usize = steady.iter().map(|seconds| seconds.len()).sum();
    let bytes: u64 = steady.iter().flat_map(|seconds| seconds.iter()).sum();
    let threshold = bytes as f64 / seconds.max(1) as f64 * STARVED;
    let under = |seconds: &&[u64]| seconds.iter().all(|&bytes| (bytes as f64) < threshold);
    let all = steady.iter().enumerate();
    all.filter(|(_, seconds)| bytes == 0 || under(seconds)).map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structural_coefficient_of_known_placements() {
        let cases: [(&[usize], f64); 5] = [
            (&[2, 2, 2, 2, 2, 2], 0.00),
            (&[1, 1, 2, 2, 3, 3], 0.47),
            (&[0, 2, 2, 2, 3, 3], 0.20),
            (&[1, 3, 0, 0, 0, 0], 0.58),
            (&[6, 0, 0, 0, 0, 6], 0.00),
        ];
        for (per_worker, expected) in cases {
            let found = structural(per_worker).unwrap();
            assert!((found - expected).abs() < 0.005, "{per_worker:?}: {found}");
        }
    }

    #[test]
    fn nothing_has_no_variation() {
        assert_eq!(structural(&[0, 0]), None);
        assert_eq!(variation(&[]), None);
        assert_eq!(variation(&[0.0, 0.0]), None);
        assert_eq!(variation(&[3.0, 3.0]), Some(0.0));
        assert_eq!(variation(&[1.0, 3.0]), Some(0.5));
    }

    #[test]
    fn the_beginning_and_the_end_do_not_count() {
        let seconds: Vec<u64> = (0..70).collect();
        let steady = steady(&seconds);
        assert_eq!((steady.len(), steady[0], steady[63]), (64, 5, 68));
        for short in 0..=6 {
            assert!(super::steady(&seconds[..short]).is_empty());
        }
    }

    #[test]
    fn starved_is_who_never_gets_anything() {
        let even: &[u64] = &[100, 100, 100];
        let once: &[u64] = &[0, 60, 0];
        let never: &[u64] = &[0, 0, 0];
        assert_eq!(starved(&[even, once, never]), [2]);
        assert_eq!(starved(&[never, never]), [0, 1]);
        assert!(starved(&[]).is_empty());
    }
}
