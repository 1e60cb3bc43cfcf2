//! A sliding-window counter: two fixed windows, the older one counted for the share of it that the
//! sliding window still covers. Exact for whoever stays within one window, and never below the truth
//! for a burst, since the share is rounded up.

/// Counts of the current window and the one before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    /// The number of the current window since the clock began.
    number: u64,
    count: u32,
    before: u32,
}

impl Window {
    /// Counts one and returns how many there were in the `length_ns` until now, this one included.
    pub(super) fn add(&mut self, now_ns: u64, length_ns: u64) -> u32 {
        let length_ns = length_ns.max(1);
        let number = now_ns / length_ns;
        if number != self.number {
            let follows = number == self.number.wrapping_add(1);
            self.before = if follows { self.count } else { 0 };
            self.count = 0;
            self.number = number;
        }
        self.count = self.count.saturating_add(1);
        let left_ns = u128::from(length_ns - now_ns % length_ns);
        let share = (u128::from(self.before) * left_ns).div_ceil(u128::from(length_ns));
        self.count.saturating_add(share as u32)
    }

    /// Begins anew.
    pub(super) fn clear(&mut self) {
        *self = Self { number: self.number, ..Self::default() };
    }
}
