//! Whole numbers within bounds, and shares in percent.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Refusal, Scalar};
use crate::value::Value;

/// A whole number from `LEAST` to `MOST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Int<const LEAST: u64, const MOST: u64>(pub u64);

impl<'de, const LEAST: u64, const MOST: u64> Deserialize<'de> for Int<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(from)?;
        if (LEAST..=MOST).contains(&number) {
            return Ok(Self(number));
        }
        let expected = format!("a whole number from {LEAST} to {MOST}");
        Err(D::Error::invalid_value(Unexpected::Unsigned(number), &&*expected))
    }
}

impl<const LEAST: u64, const MOST: u64> JsonSchema for Int<LEAST, MOST> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Int_{LEAST}_{MOST}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": LEAST, "maximum": MOST })
    }
}

/// A share such as `50%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(pub u8);

crate::scalar!(Percent);

impl Scalar for Percent {
    fn name() -> String {
        "Percent".to_owned()
    }

    fn pattern() -> String {
        "^0*(?:100|[0-9]{1,2}) *%$".to_owned()
    }

    fn example() -> String {
        "50%".to_owned()
    }

    fn fix() -> String {
        "write a share from 0% to 100%, such as 50%".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').and_then(|number| number.trim().parse().ok());
        let percent = number.filter(|percent| *percent <= 100).map(Self);
        percent.ok_or_else(|| "is not a share in percent".to_owned())
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}%", self.0)
    }
}

/// A share that may be small, such as `0.1%`, in millionths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(pub u32);

crate::scalar!(Share);

/// The digits behind the point.
const SHARE_DIGITS: usize = 6;

impl Share {
    /// A hundred percent.
    pub const ALL: Self = Self(100_000_000);
}

impl Default for Share {
    fn default() -> Self {
        Self::ALL
    }
}

impl Scalar for Share {
    fn name() -> String {
        "Share".to_owned()
    }

    fn pattern() -> String {
        r"^0*(?:100(?:\.0{1,6})?|[0-9]{1,2}(?:\.[0-9]{1,6})?) *%$".to_owned()
    }

    fn example() -> String {
        "1%".to_owned()
    }

    fn fix() -> String {
        "write a share from 0% to 100%, such as 1% or 0.1%".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "is not a share in percent".to_owned();
        let number = text.strip_suffix('%').ok_or_else(wrong)?.trim_end();
        let (whole, part) = match number.split_once('.') {
            Some((whole, part)) if (1..=SHARE_DIGITS).contains(&part.len()) => (whole, part),
            Some(_) => return Err(wrong()),
            None => (number, ""),
        };
        let digits = format!("{whole}{part:0<SHARE_DIGITS$}");
        if whole.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let millionths = digits.parse().ok().filter(|share| *share <= Self::ALL.0);
        millionths.map(Self).ok_or_else(wrong)
    }

    /// A number in quotes would be none either.
    fn refuse(value: &Value) -> Refusal {
        Refusal::new(format!("is {}, which is no share", value.shown()), Self::fix())
    }
}

impl fmt::Display for Share {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if part == 0 {
            return write!(out, "{whole}%");
        }
        let part = format!("{part:06}");
        write!(out, "{whole}.{}%", part.trim_end_matches('0'))
    }
}
