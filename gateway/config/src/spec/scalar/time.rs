//! Times.

use std::fmt;

use super::{Refusal, Scalar};
use crate::schema::numbers;
use crate::units;
use crate::value::Value;

/// A day is longer than anything here should wait, and far from where clocks overflow.
const DAY_MS: u64 = 86_400_000;

/// A time such as `250ms`, from `LEAST_MS` to `MOST_MS` milliseconds; above 0 where the least is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration<const LEAST_MS: u64 = 0, const MOST_MS: u64 = DAY_MS>(pub std::time::Duration);

/// A time such as `250ms` of up to `MOST_MS` milliseconds, or none: `0s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DurationOrZero<const MOST_MS: u64 = DAY_MS>(pub std::time::Duration);

crate::scalar!([const LEAST_MS: u64, const MOST_MS: u64] Duration<LEAST_MS, MOST_MS>);
crate::scalar!([const MOST_MS: u64] DurationOrZero<MOST_MS>);

impl<const LEAST_MS: u64, const MOST_MS: u64> Duration<LEAST_MS, MOST_MS> {
    /// This many milliseconds.
    #[must_use]
    pub const fn ms(ms: u64) -> Self {
        Self(std::time::Duration::from_millis(ms))
    }

    /// This many seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }
}

impl<const LEAST_MS: u64, const MOST_MS: u64> Scalar for Duration<LEAST_MS, MOST_MS> {
    fn name() -> String {
        match (LEAST_MS, MOST_MS) {
            (0, DAY_MS) => "Duration".to_owned(),
            _ => format!("Duration_{LEAST_MS}_{MOST_MS}"),
        }
    }

    fn pattern() -> String {
        pattern(LEAST_MS, MOST_MS)
    }

    fn example() -> String {
        written(std::time::Duration::from_millis(MOST_MS.min(LEAST_MS.max(15_000))))
    }

    fn fix() -> String {
        let ms = |ms| written(std::time::Duration::from_millis(ms));
        match (LEAST_MS, MOST_MS) {
            (0, _) => {
                format!("write a time above 0 and up to {}, such as 250ms, 15s or 5m", ms(MOST_MS))
            }
            (least, DAY_MS) => format!("write {} or more, up to 24h", ms(least)),
            (least, most) => format!("write a time from {} to {}", ms(least), ms(most)),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let time = units::duration(text).filter(|time| !time.is_zero());
        let time = time.filter(|time| in_range(*time, LEAST_MS, MOST_MS));
        time.map(Self).ok_or_else(|| "is not such a time".to_owned())
    }

    fn read(text: &str) -> Result<Self, Refusal> {
        Self::parse(text).map_err(|what| {
            let what = match units::duration(text) {
                // It is a time, and one look at the bound says the rest.
                Some(time) if LEAST_MS > 0 => format!("is {time:?}"),
                _ => format!("{text:?}: {what}"),
            };
            Refusal::new(what, Self::fix())
        })
    }

    fn refuse(value: &Value) -> Refusal {
        without_unit(value)
    }
}

impl<const MOST_MS: u64> Scalar for DurationOrZero<MOST_MS> {
    fn name() -> String {
        match MOST_MS {
            DAY_MS => "DurationOrZero".to_owned(),
            _ => format!("DurationOrZero_{MOST_MS}"),
        }
    }

    fn pattern() -> String {
        format!("{}|^ *0+ *(?:us|ms|s|m|h) *$", pattern(0, MOST_MS))
    }

    fn example() -> String {
        "5s".to_owned()
    }

    fn fix() -> String {
        let hours = MOST_MS / 3_600_000;
        format!("write a time from 0s to {hours}h, such as 250ms, 15s or 5m")
    }

    fn parse(text: &str) -> Result<Self, String> {
        let time = units::duration(text).filter(|time| in_range(*time, 0, MOST_MS));
        time.map(Self).ok_or_else(|| "is not such a time".to_owned())
    }

    fn refuse(value: &Value) -> Refusal {
        without_unit(value)
    }
}

fn in_range(time: std::time::Duration, least_ms: u64, most_ms: u64) -> bool {
    let of = std::time::Duration::from_millis;
    (of(least_ms)..=of(most_ms)).contains(&time)
}

/// A time without a unit is a guess: the message offers the two likely ones.
fn without_unit(value: &Value) -> Refusal {
    let Value::Number(number) = value else { return super::not_text(value) };
    let what = format!("is {number}, not a string with a unit");
    Refusal::new(what, format!("write {number}s if it is seconds, or {number}ms"))
}

fn pattern(least_ms: u64, most_ms: u64) -> String {
    let (least, most) = (least_ms * 1_000, most_ms * 1_000);
    let units =
        [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000)];
    let choices = units.map(|(unit, us)| format!("{} *{unit}", numbers(least, most, us)));
    format!("^ *(?:{}) *$", choices.join("|"))
}

/// Writes a time in the largest unit of which it is a whole number.
fn written(time: std::time::Duration) -> String {
    let us = time.as_micros();
    let units = [("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000)];
    match units.iter().find(|(_, unit)| us > 0 && us.is_multiple_of(*unit)) {
        // As people write it: 60 s and 90 s, not 1 m and 90 s.
        Some(("m", _)) if us < 120_000_000 => format!("{}s", us / 1_000_000),
        Some((unit, of)) => format!("{}{unit}", us / of),
        None if us == 0 => "0s".to_owned(),
        None => format!("{us}us"),
    }
}

impl<const LEAST_MS: u64, const MOST_MS: u64> fmt::Display for Duration<LEAST_MS, MOST_MS> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&written(self.0))
    }
}

impl<const MOST_MS: u64> fmt::Display for DurationOrZero<MOST_MS> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&written(self.0))
    }
}
