//! How many lines a guest may log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines of one filter in one second. A guest that logs what clients send is not to fill a disk: at
/// 8 KiB each they are under a megabyte a second. Somebody who reads along sees fewer.
const LINES_PER_SECOND_MAX: u32 = 100;

/// The lines of one filter.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    lines: u32,
    left_out: u64,
}

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is logged, after a note that so many were left out.
    Logged { left_out: u64 },
    /// It is left out.
    LeftOut,
}

impl Lines {
    /// A line comes at `now`.
    pub(super) fn admit(&self, now: Instant) -> Fate {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = window.began.is_none_or(|began| now - began >= Duration::from_secs(1));
        if is_over {
            (window.began, window.lines) = (Some(now), 0);
        }
        if window.lines >= LINES_PER_SECOND_MAX {
            window.left_out += 1;
            return Fate::LeftOut;
        }
        window.lines += 1;
        Fate::Logged { left_out: std::mem::take(&mut window.left_out) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Fate, LINES_PER_SECOND_MAX, Lines};

    #[test]
    fn what_is_beyond_a_hundred_lines_a_second_is_left_out_and_told() {
        let (lines, now) = (Lines::default(), Instant::now());
        for _ in 0..LINES_PER_SECOND_MAX {
            assert_eq!(lines.admit(now), Fate::Logged { left_out: 0 });
        }
        for _ in 0..1000 {
            assert_eq!(lines.admit(now + Duration::from_millis(999)), Fate::LeftOut);
        }
        let later = now + Duration::from_secs(1);
        assert_eq!(lines.admit(later), Fate::Logged { left_out: 1000 });
        assert_eq!(lines.admit(later), Fate::Logged { left_out: 0 });
    }
}
