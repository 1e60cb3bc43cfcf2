//! The wheel itself: which of many timers are due, without a clock.
//!
//! Time is counted in ticks. A timer stands in the slot of its tick modulo the number of slots, in
//! a list through the entries, so that to set one, to move one and to take one back costs the same
//! however many there are.

/// Slots; a power of two. With ticks of 10 ms a turn is 10 s, which is more than most waits: a
/// timer beyond is looked at once a turn.
const SLOTS: usize = 1 << 10;
const NONE: u32 = u32::MAX;

/// Timers of which each has a value.
#[derive(Debug)]
pub(super) struct Wheel<V> {
    entries: Vec<Entry<V>>,
    /// The first free entry.
    free: u32,
    /// The first entry of each slot.
    slots: Box<[u32; SLOTS]>,
    /// One bit for each slot, whether there are entries.
    taken: [u64; SLOTS / 64],
    /// The last tick that was looked at.
    now: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: Option<V>,
    /// When it is due; `u64::MAX` is never.
    due: u64,
    /// The tick at which it is looked at, not after `due`; 0 while it stands in no slot.
    seen: u64,
    next: u32,
    before: u32,
}

/// One timer of a wheel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(u32);

impl<V> Wheel<V> {
    pub(super) fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: NONE,
            slots: Box::new([NONE; SLOTS]),
            taken: [0; SLOTS / 64],
            now: 0,
        }
    }

    /// A new timer, which is not set. [`Wheel::remove`] must follow.
    pub(super) fn insert(&mut self) -> Key {
        let entry = Entry { value: None, due: u64::MAX, seen: 0, next: NONE, before: NONE };
        if self.free == NONE {
            self.entries.push(entry);
            return Key((self.entries.len() - 1) as u32);
        }
        let index = self.free;
        self.free = std::mem::replace(&mut self.entries[index as usize], entry).next;
        Key(index)
    }

    /// Takes a timer out.
    pub(super) fn remove(&mut self, Key(index): Key) {
        self.unlink(index);
        let free = self.free;
        let entry = self.entry(index);
        entry.value = None;
        entry.next = free;
        self.free = index;
    }

    /// The value of a timer.
    pub(super) fn value(&mut self, key: Key) -> &mut Option<V> {
        &mut self.entry(key.0).value
    }

    /// Sets a timer to the tick `due`, at the earliest the one after the present. Returns the tick
    /// at which the wheel must be turned for that.
    ///
    /// A timer that is moved back stays where it is until its slot is looked at, so that one that
    /// is set again and again is hardly ever moved.
    pub(super) fn set(&mut self, Key(index): Key, due: u64) -> u64 {
        let due = due.max(self.now + 1);
        let entry = self.entry(index);
        entry.due = due;
        let seen = entry.seen;
        if seen != 0 && seen <= due {
            return seen;
        }
        self.unlink(index);
        self.link(index, due);
        due
    }

    /// Goes on to the tick `now` and hands the values of timers that became due to `due`. Those are
    /// set no more.
    pub(super) fn turn(&mut self, now: u64, mut due: impl FnMut(V)) {
        let slots = (now.saturating_sub(self.now)).min(SLOTS as u64);
        let first = now.saturating_sub(slots) + 1;
        self.now = self.now.max(now);
        for tick in first..first + slots {
            let mut next = self.slots[slot(tick)];
            while next != NONE {
                let index = next;
                let entry = self.entry(index);
                next = entry.next;
                if entry.seen > now {
                    // It is a turn away.
                    continue;
                }
                let at = entry.due;
                self.unlink(index);
                if at <= now {
                    let entry = self.entry(index);
                    entry.due = u64::MAX;
                    if let Some(value) = entry.value.take() {
                        due(value);
                    }
                } else if at != u64::MAX {
                    self.link(index, at);
                }
            }
        }
    }

    /// The next tick at which the wheel must be turned; `None` while no timer is set.
    pub(super) fn next(&self) -> Option<u64> {
        let start = slot(self.now + 1);
        let (word, bit) = (start / 64, start % 64);
        // Once around, and the first word again for what stands before the first bit.
        for step in 0..=self.taken.len() {
            let at = (word + step) % self.taken.len();
            let mask = match step {
                0 => u64::MAX << bit,
                _ if step == self.taken.len() => !(u64::MAX << bit),
                _ => u64::MAX,
            };
            let found = self.taken[at] & mask;
            if found != 0 {
                let found = at * 64 + found.trailing_zeros() as usize;
                let distance = (found + SLOTS - start) % SLOTS;
                return Some(self.now + 1 + distance as u64);
            }
        }
        None
    }

    fn entry(&mut self, index: u32) -> &mut Entry<V> {
        &mut self.entries[index as usize]
    }

    fn link(&mut self, index: u32, tick: u64) {
        let slot = slot(tick);
        let first = std::mem::replace(&mut self.slots[slot], index);
        self.taken[slot / 64] |= 1 << (slot % 64);
        if first != NONE {
            self.entry(first).before = index;
        }
        let entry = self.entry(index);
        (entry.seen, entry.next, entry.before) = (tick, first, NONE);
    }

    fn unlink(&mut self, index: u32) {
        let entry = self.entry(index);
        let seen = std::mem::take(&mut entry.seen);
        if seen == 0 {
            return;
        }
        let (next, before) = (entry.next, entry.before);
        if next != NONE {
            self.entry(next).before = before;
        }
        if before != NONE {
            self.entry(before).next = next;
            return;
        }
        let slot = slot(seen);
        self.slots[slot] = next;
        if next == NONE {
            self.taken[slot / 64] &= !(1 << (slot % 64));
        }
    }
}

fn slot(tick: u64) -> usize {
    (tick % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Set { timer: usize, after: u64 },
        Replace { timer: usize },
        Turn { ticks: u64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        let ticks = prop_oneof![0..20u64, 0..3000u64, Just(SLOTS as u64)];
        let after = prop_oneof![0..20u64, 0..3000u64, 1020..1030u64];
        prop_oneof![
            4 => (0..8usize, after).prop_map(|(timer, after)| Step::Set { timer, after }),
            1 => (0..8usize).prop_map(|timer| Step::Replace { timer }),
            4 => ticks.prop_map(|ticks| Step::Turn { ticks }),
        ]
    }

    proptest! {
        #[test]
        fn timers_are_due_as_a_sorted_list_says(steps in prop::collection::vec(step(), 0..80)) {
            let mut wheel = Wheel::new();
            let mut keys: Vec<_> = (0..8).map(|_| wheel.insert()).collect();
            // By timer, when it is due.
            let mut list = BTreeMap::new();
            let mut now = 0;
            for step in steps {
                match step {
                    Step::Set { timer, after } => {
                        *wheel.value(keys[timer]) = Some(timer);
                        let seen = wheel.set(keys[timer], now + after);
                        let due = (now + after).max(now + 1);
                        prop_assert!(seen <= due);
                        list.insert(timer, due);
                    }
                    Step::Replace { timer } => {
                        wheel.remove(keys[timer]);
                        keys[timer] = wheel.insert();
                        list.remove(&timer);
                    }
                    Step::Turn { ticks } => {
                        now += ticks;
                        let mut due = Vec::new();
                        wheel.turn(now, |timer| due.push(timer));
                        due.sort_unstable();
                        let expected: Vec<_> = list
                            .extract_if(.., |_, due| *due <= now)
                            .map(|(timer, _)| timer)
                            .collect();
                        prop_assert_eq!(due, expected);
                    }
                }
                // Whoever sleeps until then misses none.
                let first = list.values().min();
                let next = wheel.next();
                prop_assert!(first.is_none_or(|first| next.is_some_and(|next| next <= *first)));
                prop_assert!(next.is_none_or(|next| next > now));
            }
        }
    }

    #[test]
    fn a_timer_that_is_put_off_again_and_again_is_not_moved() {
        let mut wheel = Wheel::<()>::new();
        let key = wheel.insert();
        assert_eq!(wheel.set(key, 100), 100);
        for due in 101..200 {
            assert_eq!(wheel.set(key, due), 100);
        }
        *wheel.value(key) = Some(());
        wheel.turn(150, |()| panic!("it was put off"));
        let mut due = 0;
        wheel.turn(199, |()| due += 1);
        assert_eq!((due, wheel.next()), (1, None));
    }
}
