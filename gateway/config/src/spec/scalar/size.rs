//! Numbers of bytes.

use std::fmt;

use super::{Refusal, Scalar};
use crate::schema::numbers;
use crate::units;
use crate::value::Value;

/// The most that a size can be: above, a double no longer counts single bytes.
const MOST: u64 = 9_000_000_000_000_000;

/// A size such as `64KiB`, from `LEAST` to `MOST` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes<const LEAST: u64, const MOST: u64>(pub u64);

/// A size such as `10MiB` of at least `LEAST` bytes, or `unlimited`, which is `u64::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BytesOrUnlimited<const LEAST: u64 = 0>(pub u64);

/// The bytes of a second, such as `240B`, or `off`, which is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RateOrOff(pub u64);

crate::scalar!([const LEAST: u64, const MOST: u64] Bytes<LEAST, MOST>);
crate::scalar!([const LEAST: u64] BytesOrUnlimited<LEAST>);
crate::scalar!(RateOrOff);

impl<const LEAST: u64, const MOST: u64> Scalar for Bytes<LEAST, MOST> {
    fn name() -> String {
        format!("Bytes_{LEAST}_{MOST}")
    }

    fn pattern() -> String {
        format!("^{}$", sizes(LEAST, MOST))
    }

    fn example() -> String {
        units::shown(LEAST)
    }

    fn fix() -> String {
        format!("write a size from {} to {}", units::shown(LEAST), units::shown(MOST))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let bytes = units::bytes(text).filter(|bytes| (LEAST..=MOST).contains(bytes));
        bytes.map(Self).ok_or_else(|| "is not such a size".to_owned())
    }

    fn refuse(value: &Value) -> Refusal {
        without_unit(value)
    }
}

impl<const LEAST: u64> Scalar for BytesOrUnlimited<LEAST> {
    fn name() -> String {
        format!("BytesOrUnlimited_{LEAST}")
    }

    fn pattern() -> String {
        format!("^(?:unlimited|{})$", sizes(LEAST, MOST))
    }

    fn example() -> String {
        "unlimited".to_owned()
    }

    fn fix() -> String {
        match LEAST {
            0 => "write a size such as 10MiB, or unlimited".to_owned(),
            least => format!("write a size of {} or more, or unlimited", units::shown(least)),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text == "unlimited" {
            return Ok(Self(u64::MAX));
        }
        let bytes = units::bytes(text).ok_or_else(|| "is not a size".to_owned())?;
        match bytes < LEAST {
            true => Err(format!("is less than {}", units::shown(LEAST))),
            false => Ok(Self(bytes)),
        }
    }

    fn refuse(value: &Value) -> Refusal {
        without_unit(value)
    }
}

impl Scalar for RateOrOff {
    fn name() -> String {
        "RateOrOff".to_owned()
    }

    fn pattern() -> String {
        format!("^(?:off|0|{})$", sizes(0, MOST))
    }

    fn example() -> String {
        "240B".to_owned()
    }

    fn fix() -> String {
        "write the bytes of a second, such as 240B, or off".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "off" | "0" => Ok(Self(0)),
            _ => units::bytes(text).map(Self).ok_or_else(|| "is not such a size".to_owned()),
        }
    }

    fn refuse(value: &Value) -> Refusal {
        without_unit(value)
    }
}

/// A size without a unit is a guess: the message says what it is in bytes.
fn without_unit(value: &Value) -> Refusal {
    let Value::Number(number) = value else { return super::not_text(value) };
    let example = value.as_u64().map_or_else(|| "64KiB".to_owned(), units::shown);
    let what = format!("is {number}, not a string with a unit");
    Refusal::new(what, format!("write {example} if it is bytes"))
}

fn sizes(least: u64, most: u64) -> String {
    let choices = units::SIZES.map(|(unit, bytes)| {
        let range = numbers(least, most, bytes);
        // Nothing is of no bytes in any unit.
        let zero = if least == 0 { "|0+(?:[.]0*)?" } else { "" };
        format!("(?:{range}{zero}) *{unit}")
    });
    format!(" *(?:{}) *", choices.join("|"))
}

impl<const LEAST: u64, const MOST: u64> fmt::Display for Bytes<LEAST, MOST> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&units::shown(self.0))
    }
}

impl<const LEAST: u64> fmt::Display for BytesOrUnlimited<LEAST> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            u64::MAX => out.write_str("unlimited"),
            bytes => out.write_str(&units::shown(bytes)),
        }
    }
}

impl fmt::Display for RateOrOff {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => out.write_str("off"),
            bytes => out.write_str(&units::shown(bytes)),
        }
    }
}
