//! A series: one metric with one set of attributes, and the handle it is recorded through.

use std::sync::Arc;

use super::unit::Unit;

/// How the samples of a metric are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Summed.
    Counter = 0,
    /// The last one counts.
    Gauge = 1,
    /// Kept as a distribution.
    Histogram = 2,
    /// Durations kept as a distribution, in seconds.
    Timing = 3,
}

impl Kind {
    fn from_bits(bits: u32) -> Self {
        match bits {
            0 => Kind::Counter,
            1 => Kind::Gauge,
            2 => Kind::Histogram,
            _ => Kind::Timing,
        }
    }
}

/// A name and a value that tell a series from others of the same metric.
pub type Attribute = (Arc<str>, Arc<str>);

/// One metric with one set of attributes. Made by the [`Catalog`](super::Catalog) alone.
#[derive(Debug, PartialEq, Eq)]
pub struct Series {
    pub(super) name: Arc<str>,
    pub(super) kind: Kind,
    pub(super) unit: Unit,
    pub(super) attributes: Box<[Attribute]>,
}

impl Series {
    /// The metric's name, as it was given: each exporter escapes it as its protocol demands.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How samples are put together.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What values are counted in; [`Unit::Seconds`] for every timing.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// The attributes, sorted by key, each key once.
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    pub(super) fn is(&self, name: &str, attributes: &[(&str, &str)]) -> bool {
        let own = self.attributes.iter().map(|(key, value)| (&**key, &**value));
        *self.name == *name
            && self.attributes.len() == attributes.len()
            && own.eq(attributes.iter().copied())
    }
}

/// A kind and a place in the catalogue, in one word: what a sample carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SeriesId(u32);

const INDEX_BITS: u32 = 30;

impl SeriesId {
    /// More series than a catalogue can be asked to hold.
    pub(super) const INDEX_MAX: usize = (1 << INDEX_BITS) - 1;

    pub(super) fn new(kind: Kind, index: usize) -> Self {
        debug_assert!(index <= Self::INDEX_MAX);
        Self((kind as u32) << INDEX_BITS | index as u32)
    }

    #[inline]
    pub(super) fn index(self) -> usize {
        self.0 as usize & Self::INDEX_MAX
    }

    #[inline]
    pub(super) fn kind(self) -> Kind {
        Kind::from_bits(self.0 >> INDEX_BITS)
    }
}

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident = $kind:ident;)+) => {$(
        $(#[$doc])*
        ///
        /// Four bytes, copied at will, good for as long as its catalogue. Where the catalogue was
        /// full it stands for the metric's overflow series.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(pub(super) SeriesId);

        impl $name {
            pub(super) const KIND: Kind = Kind::$kind;
        }

        impl From<$name> for SeriesId {
            #[inline]
            fn from(handle: $name) -> SeriesId {
                handle.0
            }
        }
    )+};
}

handles! {
    /// Handle of a series whose samples are summed.
    Counter = Counter;
    /// Handle of a series whose last sample counts.
    Gauge = Gauge;
    /// Handle of a series kept as a distribution.
    Histogram = Histogram;
    /// Handle of a series of durations kept as a distribution.
    Timing = Timing;
}
