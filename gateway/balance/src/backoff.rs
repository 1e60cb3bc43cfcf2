//! How long to wait before a request is sent again, and how a new endpoint's share grows.
//!
//! Both are curves over time and nothing else; the random number and the clock are the caller's.

use std::time::Duration;

/// The share of its weight that an endpoint has at the beginning of its slow start: enough to warm it up, and to
/// find out whether it serves at all.
const RAMP_BEGIN: f64 = 0.1;

/// Returns how long to wait before retry number `retry`, counted from 0: a random time up to a bound that
/// doubles with each retry, from `base` to at most `max`.
///
/// Full jitter (Brooker, "Exponential Backoff and Jitter", 2015): requests that failed together do not come
/// back together. `draw` is uniform over all numbers.
#[must_use]
pub fn full_jitter(base: Duration, max: Duration, retry: u32, draw: u64) -> Duration {
    let doubled = 2_u32.checked_pow(retry).and_then(|factor| base.checked_mul(factor));
    let bound = doubled.unwrap_or(max).min(max);
    bound.mul_f64(draw as f64 / u64::MAX as f64)
}

/// Returns the share of its weight, above 0 and at most 1, that an endpoint has `elapsed` after it came, while
/// slow starts take `window`. It grows in proportion to time.
#[must_use]
pub fn slow_start_share(elapsed: Duration, window: Duration) -> f64 {
    if elapsed >= window {
        return 1.0;
    }
    (elapsed.as_secs_f64() / window.as_secs_f64()).clamp(RAMP_BEGIN, 1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: Duration = Duration::from_millis(25);
    const MAX: Duration = Duration::from_millis(250);

    #[test]
    fn the_bound_doubles_up_to_its_maximum() {
        let bounds = [0, 1, 2, 3, 4, 100].map(|retry| full_jitter(BASE, MAX, retry, u64::MAX));
        assert_eq!(bounds.map(|bound| bound.as_millis()), [25, 50, 100, 200, 250, 250]);
        assert_eq!(full_jitter(BASE, MAX, 3, 0), Duration::ZERO);
        assert_eq!(full_jitter(MAX, BASE, 0, u64::MAX), BASE, "the maximum holds");
    }

    #[test]
    fn an_endpoint_begins_with_little_and_ends_with_all() {
        let window = Duration::from_secs(30);
        let shares =
            [0, 1, 15, 29, 30, 31].map(|s| slow_start_share(Duration::from_secs(s), window));
        assert_eq!(shares, [0.1, 0.1, 0.5, 29.0 / 30.0, 1.0, 1.0]);
        assert_eq!(slow_start_share(Duration::ZERO, Duration::ZERO), 1.0, "there is none");
    }

    proptest! {
        #[test]
        fn a_wait_is_within_its_bound(
            base_ms in 0_u64..1_000,
            max_ms in 0_u64..100_000,
            retry: u32,
            draw: u64,
        ) {
            let max = Duration::from_millis(max_ms);
            prop_assert!(full_jitter(Duration::from_millis(base_ms), max, retry, draw) <= max);
        }

        #[test]
        fn a_share_never_falls(ms in 0_u64..60_000, later_ms in 0_u64..60_000) {
            let window = Duration::from_secs(30);
            let now = slow_start_share(Duration::from_millis(ms), window);
            let later = slow_start_share(Duration::from_millis(ms + later_ms), window);
            prop_assert!(0.0 < now && now <= later && later <= 1.0);
        }
    }
}
