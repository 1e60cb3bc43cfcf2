//! One point as messages: what stands before the values, the values, and what stands after.

use super::{DogStatsdConfig, TagStyle, event, text};
use crate::push::{
    batch::{Event, Point, Value},
    exporter::ExportError,
    series::{Kind, Series},
};

const MS_PER_SECOND: f64 = 1_000.0;

/// What differs from receiver to receiver.
#[derive(Debug, Clone)]
pub(super) struct Dialect {
    style: TagStyle,
    /// Whether one message may carry several values, and a gauge may be negative.
    dog: bool,
    histogram: &'static str,
    timing: &'static str,
    /// What a second is in the unit of timings: `ms` says milliseconds, and `d` says nothing, so that
    /// the value is in seconds, as the metric's name has it.
    timing_per_second: f64,
    timestamps: bool,
    /// `key:value` of every metric, ready for the wire.
    tags: Vec<u8>,
    /// Fields of every metric, each with its bar.
    fields: Vec<u8>,
}

impl Dialect {
    pub(super) fn plain(style: TagStyle) -> Self {
        Self {
            style,
            dog: false,
            histogram: "h",
            timing: "ms",
            timing_per_second: MS_PER_SECOND,
            timestamps: false,
            tags: Vec::new(),
            fields: Vec::new(),
        }
    }

    pub(super) fn dog(config: &DogStatsdConfig) -> Self {
        let mut tags = Vec::new();
        for (key, value) in &config.tags {
            dog_tag(&mut tags, key, value);
        }
        let mut fields = Vec::new();
        for (key, value) in [("c", &config.container_id), ("e", &config.external_data)] {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                fields.extend_from_slice(b"|");
                fields.extend_from_slice(key.as_bytes());
                fields.push(b':');
                text::field(&mut fields, value);
            }
        }
        let (histogram, timing, timing_per_second) = match config.distributions {
            true => ("d", "d", 1.0),
            false => ("h", "ms", MS_PER_SECOND),
        };
        let (style, timestamps) = (TagStyle::DogStatsd, config.timestamps);
        Self { style, dog: true, histogram, timing, timing_per_second, timestamps, tags, fields }
    }
}

/// Writes points and events; reuses its memory.
#[derive(Debug)]
pub(super) struct Messages {
    dialect: Dialect,
    prefix: Vec<u8>,
    head: Vec<u8>,
    tail: Vec<u8>,
    /// The field that says of when a counter or gauge is.
    stamp: Vec<u8>,
    message: Vec<u8>,
}

type Send<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), ExportError>;

impl Messages {
    pub(super) fn new(dialect: Dialect, prefix: &str) -> Self {
        let mut start = Vec::new();
        if !prefix.is_empty() {
            text::name(&mut start, prefix.trim_end_matches('.'));
            start.push(b'.');
        }
        let [head, tail, stamp, message] = [const { Vec::new() }; 4];
        Self { dialect, prefix: start, head, tail, stamp, message }
    }

    /// Hands each message of a point to `send`. Those of one point may be several; each is whole.
    pub(super) fn point(
        &mut self,
        point: &Point,
        time_ms: u64,
        bytes_max: usize,
        mut send: impl FnMut(&[u8]) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        let (series, send) = (&*point.series, &mut send as Send<'_>);
        self.frame(series, time_ms);
        let scale = match series.kind() {
            Kind::Timing => self.dialect.timing_per_second,
            _ => 1.0,
        };
        match &point.value {
            Value::Count(count) => self.values(&[*count], "c", 1.0, bytes_max, send),
            // A sign means a change there, so that a negative value must be reached from zero; and
            // both in one datagram, lest another stand between.
            Value::Gauge(value) if *value < 0.0 && !self.dialect.dog => {
                self.negative_gauge(*value, send)
            }
            Value::Gauge(value) => self.values(&[*value], "g", 1.0, bytes_max, send),
            Value::Raw(values) => {
                let mut weighted: Vec<(f64, f64)> =
                    values.iter().map(|(value, rate)| (value * scale, share(*rate))).collect();
                self.distribution(&mut weighted, series.kind(), bytes_max, send)
            }
            Value::Sketch(sketch) => {
                let values = sketch.values();
                let mut weighted: Vec<(f64, f64)> =
                    values.map(|(value, count)| (value * scale, text::share_of(count))).collect();
                self.distribution(&mut weighted, series.kind(), bytes_max, send)
            }
        }
    }

    /// An event, where the receiver knows them.
    pub(super) fn event(&mut self, what: &Event) -> Option<Vec<u8>> {
        let dialect = &self.dialect;
        dialect.dog.then(|| event::message(what, &dialect.tags, &dialect.fields))
    }

    /// Values of the same share go together, in as few messages as their length allows.
    fn distribution(
        &mut self,
        weighted: &mut [(f64, f64)],
        kind: Kind,
        bytes_max: usize,
        send: Send<'_>,
    ) -> Result<(), ExportError> {
        let letters = match kind {
            Kind::Timing => self.dialect.timing,
            _ => self.dialect.histogram,
        };
        weighted.sort_by(|one, other| one.1.total_cmp(&other.1));
        for group in weighted.chunk_by(|one, other| one.1 == other.1) {
            let values: Vec<f64> = group.iter().map(|(value, _)| *value).collect();
            self.values(&values, letters, group[0].1, bytes_max, send)?;
        }
        Ok(())
    }

    fn values(
        &mut self,
        values: &[f64],
        letters: &str,
        share: f64,
        bytes_max: usize,
        send: Send<'_>,
    ) -> Result<(), ExportError> {
        let mut end = Vec::from(*b"|");
        end.extend_from_slice(letters.as_bytes());
        if share < 1.0 {
            end.extend_from_slice(b"|@");
            text::number(&mut end, share);
        }
        end.extend_from_slice(&self.tail);
        if matches!(letters, "c" | "g") {
            end.extend_from_slice(&self.stamp);
        }
        let mut digits = Vec::new();
        self.message.clear();
        for value in values {
            digits.clear();
            digits.push(b':');
            text::number(&mut digits, *value);
            let together = self.message.len() + digits.len() + end.len();
            if !self.message.is_empty() && (!self.dialect.dog || together > bytes_max) {
                self.message.extend_from_slice(&end);
                send(&self.message)?;
                self.message.clear();
            }
            if self.message.is_empty() {
                self.message.extend_from_slice(&self.head);
            }
            self.message.extend_from_slice(&digits);
        }
        if !self.message.is_empty() {
            self.message.extend_from_slice(&end);
            send(&self.message)?;
        }
        Ok(())
    }

    fn negative_gauge(&mut self, value: f64, send: Send<'_>) -> Result<(), ExportError> {
        self.message.clear();
        for step in [0.0, value] {
            if !self.message.is_empty() {
                self.message.push(b'\n');
            }
            self.message.extend_from_slice(&self.head);
            self.message.push(b':');
            text::number(&mut self.message, step);
            self.message.extend_from_slice(b"|g");
            self.message.extend_from_slice(&self.tail);
        }
        send(&self.message)
    }

    /// What stands before the values, and after their type.
    fn frame(&mut self, series: &Series, time_ms: u64) {
        let Self { dialect, prefix, head, tail, stamp, .. } = self;
        head.clear();
        tail.clear();
        head.extend_from_slice(prefix);
        text::name(head, series.name());
        match dialect.style {
            TagStyle::InName => {
                for (key, value) in series.attributes() {
                    for part in [key, value] {
                        head.push(b'.');
                        text::name_part(head, part);
                    }
                }
            }
            TagStyle::DogStatsd => {
                let mut tags = dialect.tags.clone();
                for (key, value) in series.attributes() {
                    dog_tag(&mut tags, key, value);
                }
                if !tags.is_empty() {
                    tail.extend_from_slice(b"|#");
                    tail.append(&mut tags);
                }
            }
            TagStyle::Influx => listed(head, series, ",", ""),
            TagStyle::Librato => listed(head, series, "#", ""),
            TagStyle::SignalFx => listed(head, series, "[", "]"),
        }
        tail.extend_from_slice(&dialect.fields);
        stamp.clear();
        if dialect.timestamps {
            stamp.extend_from_slice(format!("|T{}", time_ms / 1_000).as_bytes());
        }
    }
}

/// The share of a rate, as few digits as tell it from others: it was given as a single.
fn share(rate: f32) -> f64 {
    rate.to_string().parse().unwrap_or(1.0)
}

pub(super) fn dog_tag(out: &mut Vec<u8>, key: &str, value: &str) {
    if !out.is_empty() {
        out.push(b',');
    }
    text::tag_key(out, key);
    out.push(b':');
    text::dog_value(out, value);
}

fn listed(out: &mut Vec<u8>, series: &Series, open: &str, close: &str) {
    if series.attributes().is_empty() {
        return;
    }
    out.extend_from_slice(open.as_bytes());
    for (index, (key, value)) in series.attributes().iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        text::tag_key(out, key);
        out.push(b'=');
        text::strict_value(out, value);
    }
    out.extend_from_slice(close.as_bytes());
}
