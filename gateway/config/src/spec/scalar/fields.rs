//! Parts of HTTP messages.

use std::fmt;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Refusal, Scalar};
use crate::value::Value;

/// The bytes of a token besides letters and digits (RFC 9110, 5.6.2).
const TOKEN: &str = "!#$%&'*+.^_`|~-";

fn is_token(text: &str) -> bool {
    let of_token = |byte: u8| byte.is_ascii_alphanumeric() || TOKEN.contains(char::from(byte));
    !text.is_empty() && text.bytes().all(of_token)
}

/// The name of a header field, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderName(pub Box<str>);

/// The value of a header field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeaderValue(pub Box<str>);

/// The method of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Method(pub Box<str>);

crate::scalar!(HeaderName);
crate::scalar!(HeaderValue);
crate::scalar!(Method);

impl Scalar for HeaderName {
    fn name() -> String {
        "HeaderName".to_owned()
    }

    fn pattern() -> String {
        "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$".to_owned()
    }

    fn example() -> String {
        "x-user".to_owned()
    }

    fn fix() -> String {
        "write a field name of letters, digits and hyphens".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        match is_token(text) {
            true => Ok(Self(text.to_ascii_lowercase().into())),
            false => Err("invalid HTTP header name".to_owned()),
        }
    }
}

impl Scalar for HeaderValue {
    fn name() -> String {
        "HeaderValue".to_owned()
    }

    fn pattern() -> String {
        "^[\\t -~]*$".to_owned()
    }

    fn example() -> String {
        "text".to_owned()
    }

    fn fix() -> String {
        "write visible characters only".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        match text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
            true => Ok(Self(text.into())),
            false => Err("is no header value".to_owned()),
        }
    }
}

impl Scalar for Method {
    fn name() -> String {
        "Method".to_owned()
    }

    fn pattern() -> String {
        "^[!#$%&'*+.^_`|~0-9A-Z-]+$".to_owned()
    }

    fn example() -> String {
        "GET".to_owned()
    }

    fn fix() -> String {
        "write a method such as GET".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
            return Err("has lower-case letters, and methods are case-sensitive".to_owned());
        }
        if is_token(text) { Ok(Self(text.into())) } else { Err("invalid HTTP method".to_owned()) }
    }
}

/// Statuses from one to another, both included: `204`, or `"200-399"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StatusRange {
    /// The lowest.
    pub from: u16,
    /// The highest; not below `from`.
    pub to: u16,
}

/// What is written as a number or as a word.
trait NumberOrText: Sized {
    /// Its name in the schema.
    const NAME: &'static str;
    /// The least and the most of a number.
    const NUMBERS: (u64, u64);
    const PATTERN: &'static str;
    const FIX: &'static str;

    fn of_text(text: &str) -> Result<Self, String>;
    fn of_number(number: u16) -> Self;

    fn number(number: u64) -> Result<Self, Refusal> {
        let (least, most) = Self::NUMBERS;
        match u16::try_from(number).ok().filter(|_| (least..=most).contains(&number)) {
            Some(number) => Ok(Self::of_number(number)),
            None => Err(Refusal::new(
                format!("is {number}"),
                format!("write a whole number from {least} to {most}"),
            )),
        }
    }

    fn check(value: &Value) -> Result<(), Refusal> {
        match (value, value.as_u64()) {
            (_, Some(number)) => Self::number(number).map(drop),
            (Value::String(text), _) => match Self::of_text(text) {
                Ok(_) => Ok(()),
                Err(what) => Err(Refusal::new(format!("{text:?}: {what}"), Self::FIX)),
            },
            (other, _) => Err(Refusal::new(format!("is {}", other.shown()), Self::FIX)),
        }
    }

    fn schema(example: &serde_json::Value) -> Schema {
        super::register(Self::NAME, Self::check);
        json_schema!({
            "type": ["integer", "string"],
            "minimum": Self::NUMBERS.0,
            "maximum": Self::NUMBERS.1,
            "pattern": Self::PATTERN,
            "examples": [example],
            "errorMessage": Self::FIX,
            (super::SCALAR): Self::NAME,
        })
    }

    fn decode<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader<T>(std::marker::PhantomData<T>);
        impl<T: NumberOrText> Visitor<'_> for Reader<T> {
            type Value = T;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a number or a word")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
                T::number(number).map_err(E::custom)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
                T::of_text(text).map_err(E::custom)
            }
        }
        from.deserialize_any(Reader(std::marker::PhantomData))
    }
}

impl NumberOrText for StatusRange {
    const NAME: &'static str = "StatusRange";
    const NUMBERS: (u64, u64) = (200, 599);
    const PATTERN: &'static str = "^ *[2-5][0-9]{2} *(?:- *[2-5][0-9]{2} *)?$";
    const FIX: &'static str = "write a status such as 204, or a range such as 200-399";

    fn of_text(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let code =
            |text: &str| text.trim().parse().ok().filter(|code: &u16| (200..=599).contains(code));
        match (code(from), code(to)) {
            (Some(from), Some(to)) if from <= to => Ok(Self { from, to }),
            _ => Err("is no range from 200 to 599".to_owned()),
        }
    }

    fn of_number(status: u16) -> Self {
        Self { from: status, to: status }
    }
}

impl Serialize for StatusRange {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match (self.from, self.to) {
            (from, last) if from == last => to.serialize_u16(from),
            (from, last) => to.collect_str(&format_args!("{from}-{last}")),
        }
    }
}

/// What a request is sent again for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetryReason {
    /// No connection could be made.
    Connect,
    /// The connection broke before anything was answered.
    Reset,
    /// The head of the response did not come in time.
    Timeout,
    /// The origin refused the stream.
    RefusedStream,
    /// The origin answered with this status.
    Status(u16),
}

impl RetryReason {
    const WORDS: [(&'static str, Self); 4] = [
        ("connect", Self::Connect),
        ("reset", Self::Reset),
        ("timeout", Self::Timeout),
        ("refused_stream", Self::RefusedStream),
    ];
}

impl NumberOrText for RetryReason {
    const NAME: &'static str = "RetryReason";
    const NUMBERS: (u64, u64) = (400, 599);
    const PATTERN: &'static str = "^(?:connect|reset|timeout|refused_stream)$";
    const FIX: &'static str =
        "write connect, reset, timeout, refused_stream or a status from 400 to 599";

    fn of_text(text: &str) -> Result<Self, String> {
        let known = Self::WORDS.iter().find(|(word, _)| *word == text);
        known.map(|(_, reason)| *reason).ok_or_else(|| "is nothing to retry on".to_owned())
    }

    fn of_number(status: u16) -> Self {
        Self::Status(status)
    }
}

impl Serialize for RetryReason {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match (self, Self::WORDS.iter().find(|(_, reason)| reason == self)) {
            (Self::Status(status), _) => to.serialize_u16(*status),
            (_, known) => to.serialize_str(known.map_or("", |(word, _)| word)),
        }
    }
}

/// A port of a Service: its number, or its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PortName {
    /// Its number.
    Number(u16),
    /// Its name.
    Name(Box<str>),
}

impl NumberOrText for PortName {
    const NAME: &'static str = "PortName";
    const NUMBERS: (u64, u64) = (1, 65_535);
    const PATTERN: &'static str = "^[a-z0-9-]{1,63}$";
    const FIX: &'static str = "write the port's number such as 80, or its name such as http";

    fn of_text(text: &str) -> Result<Self, String> {
        let is_letter =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        match (1..=63).contains(&text.len()) && text.bytes().all(is_letter) {
            true => Ok(Self::Name(text.into())),
            false => Err("is no name of a port".to_owned()),
        }
    }

    fn of_number(number: u16) -> Self {
        Self::Number(number)
    }
}

impl fmt::Display for PortName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(out),
            Self::Name(name) => name.fmt(out),
        }
    }
}

impl Serialize for PortName {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => to.serialize_u16(*number),
            Self::Name(name) => to.serialize_str(name),
        }
    }
}

macro_rules! number_or_text {
    ($($type:ty: $example:expr;)*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Self::decode(from)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                Self::NAME.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                Self::schema(&$example.into())
            }
        }
    )*};
}

number_or_text! {
    StatusRange: 200;
    RetryReason: "connect";
    PortName: "http";
}

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl Deref for $type {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }
    )*};
}

as_text!(HeaderName, HeaderValue, Method);
