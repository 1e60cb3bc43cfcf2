//! Values that are written as one piece of text, each with its pattern, its bounds and its remedy.
//!
//! A type is declared once: how it is read, how it is written, what its schema says and what to write
//! instead of what it does not take. `check_of` finds the reader by the name that the
//! schema holds, so that a problem is told in the same words wherever the value stands.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::sync::{Mutex, PoisonError};

use schemars::Schema;
use serde::de::{self, Deserializer, Visitor};
use serde_json::json;

use crate::value::Value;

mod fields;
mod network;
mod number;
mod rate;
mod size;
mod text;
mod time;

pub use fields::{HeaderName, HeaderValue, Method, PortName, RetryReason, StatusRange};
pub use network::{Address, IpAddress, Network, RemoteAddress};
pub use number::{Int, Percent, Share};
pub use rate::BitRate;
pub use size::{Bytes, BytesOrUnlimited, RateOrOff};
pub use text::{
    AbsolutePath, AdminAddress, CookieName, DnsServer, Domain, DomainName, EndpointAddress,
    FileMode, HostName, HostPort, Name, NonEmpty, ObjectName, Regex, ServerName, UrlPath,
    UrlTarget, XdsServer,
};
pub use time::{Duration, DurationOrZero};

/// Why a value is refused, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong, as the predicate of a sentence about the value.
    pub what: String,
    /// What to write instead.
    pub fix: String,
}

impl Refusal {
    /// A refusal in these words.
    pub fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), fix: fix.into() }
    }
}

impl Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}, {}", self.what, self.fix)
    }
}

/// A value that is written as text. `Display` writes what [`Scalar::parse`] reads.
pub trait Scalar: Display + Sized + 'static {
    /// Its name in the schema, unlike that of any other.
    fn name() -> String;

    /// A regular expression, by ECMA 262, for the texts it takes. It may take a few more.
    fn pattern() -> String;

    /// One of the texts it takes.
    fn example() -> String;

    /// What to write instead of what it does not take.
    fn fix() -> String;

    /// Reads a text.
    ///
    /// # Errors
    /// What is wrong, as the predicate of a sentence about the text.
    fn parse(text: &str) -> Result<Self, String>;

    /// Reads a text, with a message for who wrote it.
    ///
    /// # Errors
    /// If it is none of those that it takes.
    fn read(text: &str) -> Result<Self, Refusal> {
        Self::parse(text).map_err(|what| Refusal::new(format!("{text:?}: {what}"), Self::fix()))
    }

    /// Why `value`, which is no text, is refused.
    fn refuse(value: &Value) -> Refusal {
        not_text(value)
    }
}

/// Why a value is no text.
pub(crate) fn not_text(value: &Value) -> Refusal {
    let shown = value.shown();
    match value {
        Value::Number(_) | Value::Bool(_) => Refusal::new(
            format!("is {shown}, not a string"),
            format!("put it in quotes: \"{shown}\""),
        ),
        _ => Refusal::new(format!("is {shown}"), "write a string"),
    }
}

/// Reads a value of the tree as a scalar would be.
pub(crate) type Check = fn(&Value) -> Result<(), Refusal>;

/// The key of a schema that names the scalar.
pub(crate) const SCALAR: &str = "x-scalar";

/// The key of a schema that names the scalar which the keys of a mapping are.
pub(crate) const KEYS: &str = "x-keys";

/// The scalars of every schema that was made so far, by name: a schema holds no code.
static CHECKS: Mutex<BTreeMap<String, Check>> = Mutex::new(BTreeMap::new());

/// The check of the scalar called `name`.
pub(crate) fn check_of(name: &str) -> Option<Check> {
    CHECKS.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied()
}

/// Makes a check known.
pub(crate) fn register(name: &str, check: Check) {
    CHECKS.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), check);
}

fn check<T: Scalar>(value: &Value) -> Result<(), Refusal> {
    match value {
        Value::String(text) => T::read(text).map(drop),
        other => Err(T::refuse(other)),
    }
}

/// Makes the schema of a scalar, and its check known.
pub fn schema_of<T: Scalar>() -> Schema {
    register(&T::name(), check::<T>);
    let mut schema = Schema::default();
    for (key, value) in [
        ("type", json!("string")),
        ("pattern", json!(T::pattern())),
        ("examples", json!([T::example()])),
        ("errorMessage", json!(T::fix())),
        (SCALAR, json!(T::name())),
    ] {
        schema.insert(key.into(), value);
    }
    schema
}

/// Decodes a scalar.
///
/// # Errors
/// If it is no text, or none that the scalar takes.
pub fn deserialize<'de, T: Scalar, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    struct Reader<T>(std::marker::PhantomData<T>);
    impl<T: Scalar> Visitor<'_> for Reader<T> {
        type Value = T;
        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(out, "a string such as {}", T::example())
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            T::read(text).map_err(E::custom)
        }
    }
    from.deserialize_str(Reader(std::marker::PhantomData))
}

/// Derives decoding, encoding and the schema of a type from its [`Scalar`].
#[macro_export]
macro_rules! scalar {
    ([$($generics:tt)*] $type:ty) => {
        impl<'de, $($generics)*> ::serde::Deserialize<'de> for $type {
            fn deserialize<D: ::serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                $crate::spec::scalar::deserialize(from)
            }
        }

        impl<$($generics)*> ::serde::Serialize for $type {
            fn serialize<S: ::serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<$($generics)*> ::schemars::JsonSchema for $type {
            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                <Self as $crate::spec::scalar::Scalar>::name().into()
            }

            fn json_schema(_: &mut ::schemars::SchemaGenerator) -> ::schemars::Schema {
                $crate::spec::scalar::schema_of::<Self>()
            }
        }
    };
    ($type:ty) => { $crate::scalar!([] $type); };
}

#[cfg(test)]
mod tests;
