//! What an exporter is given: every series that moved within a window, put together.

use std::sync::Arc;

use super::{series::Series, sketch::Sketch};

/// All that was recorded between two flushes. Immutable, and shared by every exporter.
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) start_ms: u64,
    pub(super) end_ms: u64,
    pub(super) points: Vec<Point>,
    pub(super) events: Vec<Event>,
    pub(super) retired: Vec<Arc<Series>>,
    pub(super) samples: u64,
    pub(super) bytes: usize,
}

impl Batch {
    /// When the window began, in milliseconds since 1970, by the wall clock.
    pub fn start_ms(&self) -> u64 {
        self.start_ms
    }

    /// When the window ended, in milliseconds since 1970. Never before its beginning, and later
    /// with every batch, whatever the wall clock does.
    pub fn end_ms(&self) -> u64 {
        self.end_ms
    }

    /// The series that moved, in the order in which they were registered.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// What happened.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Series that have ended: nothing is recorded of them any more. A series whose last points are
    /// in the batch may be among them, and one that ended may begin anew in a later batch.
    pub fn retired(&self) -> &[Arc<Series>] {
        &self.retired
    }

    /// How many samples the points are made of.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// What it takes in memory, roughly.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A series and what was recorded of it.
#[derive(Debug, Clone)]
pub struct Point {
    /// Which series.
    pub series: Arc<Series>,
    /// What was recorded.
    pub value: Value,
}

/// What was recorded of one series in one window.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// What was added to a counter. Whole unless sampled at a rate.
    Count(f64),
    /// What a gauge was set to last.
    Gauge(f64),
    /// A distribution as counts by bucket.
    Sketch(Box<Sketch>),
    /// A distribution as the values themselves, with each the share that was recorded of its like.
    Raw(Vec<(f64, f32)>),
}

impl Value {
    /// A distribution's sketch, made from the values where they were kept; `None` for others.
    pub fn sketch(&self) -> Option<std::borrow::Cow<'_, Sketch>> {
        use std::borrow::Cow;
        match self {
            Value::Sketch(sketch) => Some(Cow::Borrowed(sketch)),
            Value::Raw(values) => Some(Cow::Owned(sketch_of(values))),
            Value::Count(_) | Value::Gauge(_) => None,
        }
    }
}

pub(super) fn sketch_of(values: &[(f64, f32)]) -> Sketch {
    let mut sketch = Sketch::default();
    for &(value, rate) in values {
        sketch.record_weighted(value, 1.0 / f64::from(rate));
    }
    sketch
}

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Alert {
    /// Worth knowing.
    #[default]
    Info,
    /// It went well.
    Success,
    /// It may go wrong.
    Warning,
    /// It went wrong.
    Error,
}

/// Something that happened, told in words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// What happened, in a few words.
    pub title: String,
    /// The whole story; may have several lines.
    pub text: String,
    /// How much it matters.
    pub alert: Alert,
    /// When, in milliseconds since 1970; `None` for when it arrives.
    pub timestamp_ms: Option<u64>,
    /// Events with the same key belong together.
    pub aggregation_key: Option<String>,
    /// What tells it from others, as with a metric.
    pub attributes: Vec<(String, String)>,
}

impl Event {
    /// A title in bytes at most; what is longer is cut.
    pub const TITLE_BYTES_MAX: usize = 100;
    /// A text in bytes at most, so that an event fits into a datagram; what is longer is cut.
    pub const TEXT_BYTES_MAX: usize = 800;

    pub(super) fn bytes(&self) -> usize {
        let key = self.aggregation_key.as_ref().map_or(0, String::len);
        let attributes: usize =
            self.attributes.iter().map(|(key, value)| key.len() + value.len() + 48).sum();
        size_of::<Self>() + self.title.len() + self.text.len() + key + attributes
    }

    /// Cuts what is too long, and has no more than eight attributes.
    pub(super) fn bounded(mut self) -> Self {
        cut(&mut self.title, Self::TITLE_BYTES_MAX);
        cut(&mut self.text, Self::TEXT_BYTES_MAX);
        if let Some(key) = &mut self.aggregation_key {
            cut(key, 100);
        }
        self.attributes.truncate(8);
        for (key, value) in &mut self.attributes {
            cut(key, 40);
            cut(value, 40);
        }
        self
    }
}

fn cut(text: &mut String, bytes_max: usize) {
    text.truncate(text.floor_char_boundary(bytes_max));
    text.shrink_to_fit();
}
