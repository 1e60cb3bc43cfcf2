//! Bits of a second.

use std::fmt;

use super::{Refusal, Scalar};
use crate::schema::numbers;
use crate::units;
use crate::value::Value;

/// The least that is a rate: a kilobyte in a second.
const LEAST: u64 = 8_000;

/// The most: a terabit.
const MOST: u64 = 1_000_000_000_000;

/// A rate such as `100Mbps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BitRate(pub u64);

crate::scalar!(BitRate);

impl BitRate {
    /// Bytes of a second.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.0 / 8
    }
}

impl Scalar for BitRate {
    fn name() -> String {
        "BitRate".to_owned()
    }

    fn pattern() -> String {
        let choices = units::RATES.map(|(unit, bits)| {
            let range = numbers(LEAST, MOST, bits);
            format!("(?:{range} *{unit})")
        });
        format!("^ *(?:{}) *$", choices.join("|"))
    }

    fn example() -> String {
        "100Mbps".to_owned()
    }

    fn fix() -> String {
        let (least, most) = (units::shown_rate(LEAST), units::shown_rate(MOST));
        format!("write bits of a second from {least} to {most}, such as 100Mbps")
    }

    fn parse(text: &str) -> Result<Self, String> {
        let bits = units::bits(text).filter(|bits| (LEAST..=MOST).contains(bits));
        bits.map(Self).ok_or_else(|| "is not such a rate".to_owned())
    }

    fn refuse(value: &Value) -> Refusal {
        let Value::Number(number) = value else { return super::not_text(value) };
        let what = format!("is {number}, not a string with a unit");
        Refusal::new(what, "write bits of a second, such as 100Mbps")
    }
}

impl fmt::Display for BitRate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&units::shown_rate(self.0))
    }
}
