//! The definition of a metric: name, unit and attributes, within bounds, and its kind at last.

use super::{
    catalog::Catalog,
    series::{Counter, Gauge, Histogram, Kind, SeriesId, Timing},
    unit::Unit,
};

/// Attributes of one series at most: as many dimensions as CloudWatch takes.
pub const ATTRIBUTES_MAX: usize = 30;

/// A metric's name in bytes at most; CloudWatch's bound is 255, Datadog's 200.
pub const NAME_BYTES_MAX: usize = 200;

/// An attribute's key or value in bytes at most. Longer ones are cut, at a character's end.
pub const ATTRIBUTE_BYTES_MAX: usize = 200;

/// Why a metric was not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The name is empty or has only white space.
    #[error("a metric must have a name")]
    NameEmpty,
    /// The name exceeds [`NAME_BYTES_MAX`].
    #[error("a metric's name has at most {NAME_BYTES_MAX} bytes")]
    NameTooLong,
    /// There are more attributes than [`ATTRIBUTES_MAX`].
    #[error("a series has at most {ATTRIBUTES_MAX} attributes")]
    TooManyAttributes,
    /// The metric is known with another kind or unit.
    #[error("the metric is known with another kind or unit")]
    Conflict,
    /// There are as many metrics as the catalogue takes.
    #[error("the catalogue takes no further metric")]
    TooManyMetrics,
}

/// A metric being defined: unit and attributes, then its kind, which ends it.
#[derive(Debug, Clone)]
#[must_use = "a metric is registered by naming its kind"]
pub struct MetricBuilder<'a> {
    catalog: &'a Catalog,
    name: &'a str,
    unit: Unit,
    attributes: Vec<(&'a str, &'a str)>,
}

impl<'a> MetricBuilder<'a> {
    pub(super) fn new(catalog: &'a Catalog, name: &'a str) -> Self {
        Self { catalog, name, unit: Unit::None, attributes: Vec::new() }
    }

    /// What the values are counted in; a timing's are seconds whatever is said here.
    pub fn unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    /// Adds an attribute. The order does not matter; of one key the last value counts. A key that
    /// is empty is left out; key and value are cut at [`ATTRIBUTE_BYTES_MAX`].
    pub fn attribute(mut self, key: &'a str, value: &'a str) -> Self {
        let (key, value) = (cut(key), cut(value));
        match self.attributes.binary_search_by_key(&key, |(key, _)| *key) {
            _ if key.is_empty() => {}
            Ok(known) => self.attributes[known].1 = value,
            Err(place) => self.attributes.insert(place, (key, value)),
        }
        self
    }

    /// Adds several attributes, as [`attribute`](Self::attribute) does one.
    pub fn attributes(self, more: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        more.into_iter().fold(self, |builder, (key, value)| builder.attribute(key, value))
    }

    /// Registers a counter, or finds it.
    ///
    /// # Errors
    /// See [`RegisterError`]; that the catalogue is full of series is none, but overflow.
    pub fn counter(self) -> Result<Counter, RegisterError> {
        self.register(Counter::KIND).map(Counter)
    }

    /// Registers a gauge, or finds it. Errors as with [`counter`](Self::counter).
    pub fn gauge(self) -> Result<Gauge, RegisterError> {
        self.register(Gauge::KIND).map(Gauge)
    }

    /// Registers a histogram, or finds it. Errors as with [`counter`](Self::counter).
    pub fn histogram(self) -> Result<Histogram, RegisterError> {
        self.register(Histogram::KIND).map(Histogram)
    }

    /// Registers a timing, or finds it. Errors as with [`counter`](Self::counter).
    pub fn timing(mut self) -> Result<Timing, RegisterError> {
        self.unit = Unit::Seconds;
        self.register(Timing::KIND).map(Timing)
    }

    fn register(self, kind: Kind) -> Result<SeriesId, RegisterError> {
        if self.name.trim().is_empty() {
            return Err(RegisterError::NameEmpty);
        }
        if self.name.len() > NAME_BYTES_MAX {
            return Err(RegisterError::NameTooLong);
        }
        if self.attributes.len() > ATTRIBUTES_MAX {
            return Err(RegisterError::TooManyAttributes);
        }
        self.catalog.register(self.name, kind, self.unit, &self.attributes)
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(ATTRIBUTE_BYTES_MAX)]
}
