//! Writing our configuration: a tree in the order in which a person would write it.

use std::fmt::Display;
use std::time::Duration;

use sallyport_config::spec::scalar;
use sallyport_config::{Mapping, Value};

/// The longest time that a key takes.
const DAY: Duration = Duration::from_secs(86_400);

/// A mapping that is being written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Map(Mapping);

impl Map {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds an entry.
    pub(crate) fn with(mut self, key: &str, value: Value) -> Self {
        self.put(key, value);
        self
    }

    /// Adds an entry where there is a value.
    pub(crate) fn with_some(mut self, key: &str, value: Option<Value>) -> Self {
        self.put_some(key, value);
        self
    }

    /// Adds an entry.
    pub(crate) fn put(&mut self, key: &str, value: Value) {
        self.0.insert(key, value);
    }

    /// Adds an entry where there is a value.
    pub(crate) fn put_some(&mut self, key: &str, value: Option<Value>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    /// Adds the entries of another.
    pub(crate) fn extend(&mut self, other: &Self) {
        for (key, value) in other.0.iter() {
            self.put(key.as_str().unwrap_or_default(), value.clone());
        }
    }

    /// Whether there are no entries.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.keys().next().is_none()
    }

    /// The mapping as a value.
    pub(crate) fn done(self) -> Value {
        Value::Mapping(self.0)
    }

    /// The mapping as a value, unless it is empty.
    pub(crate) fn filled(self) -> Option<Value> {
        (!self.is_empty()).then(|| self.done())
    }
}

/// A text.
pub(crate) fn text(text: impl Into<Box<str>>) -> Value {
    Value::String(text.into())
}

/// A number.
pub(crate) fn number(number: impl Display) -> Value {
    Value::Number(number.to_string().into())
}

/// A list.
pub(crate) fn list(items: impl IntoIterator<Item = Value>) -> Value {
    Value::Sequence(items.into_iter().collect())
}

/// A list, unless it is empty.
pub(crate) fn filled(items: Vec<Value>) -> Option<Value> {
    (!items.is_empty()).then_some(Value::Sequence(items))
}

/// A list of texts, unless it is empty.
pub(crate) fn texts(items: impl IntoIterator<Item = String>) -> Option<Value> {
    filled(items.into_iter().map(text).collect())
}

/// One entry.
pub(crate) fn entry(key: &str, value: Value) -> Value {
    Map::new().with(key, value).done()
}

/// A time of up to a day; `None` where it is 0, which Envoy takes for never.
pub(crate) fn time(time: Duration) -> Option<Value> {
    // Below a microsecond nothing here waits.
    let time = Duration::from_micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)).min(DAY);
    (!time.is_zero()).then(|| text(scalar::Duration::<0, 86_400_000>(time).to_string()))
}
