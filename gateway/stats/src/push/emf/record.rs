//! From points to records, within every bound the format sets.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::EmfConfig;
use crate::push::{
    batch::{Batch, Point, Value},
    exporter::Tally,
    sketch::Sketch,
};

/// Metrics of a record, and values of a metric, at most.
const METRICS_MAX: usize = 100;
const VALUES_MAX: usize = 100;
/// Dimensions of a record at most.
const DIMENSIONS_MAX: usize = 30;
/// What CloudWatch allows of names and of dimensions' values, in characters.
const NAME_MAX: usize = 255;
const DIMENSION_NAME_MAX: usize = 250;
const DIMENSION_VALUE_MAX: usize = 1_024;
/// Beyond this CloudWatch refuses a value.
const VALUE_MAX: f64 = 1.174_271e108;
/// What a metric's definition takes in JSON beside its name: keys, quotes, unit, resolution.
const DEFINITION_BYTES: usize = 80;

/// What every record begins with.
#[derive(Debug)]
pub(super) struct Records {
    namespace: String,
    dimensions: Vec<(String, String)>,
    log: Vec<(&'static str, String)>,
    resolution: Option<u8>,
}

/// A record as JSON, without a line feed, and the points it completes.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) json: Vec<u8>,
    pub(super) points: u64,
}

type Dimensions = BTreeMap<String, String>;

impl Records {
    pub(super) fn new(config: &EmfConfig) -> Self {
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-/#:".contains(c);
        let namespace = cleaned(&config.namespace, NAME_MAX, legal);
        let namespace = if namespace.is_empty() { "_".to_owned() } else { namespace };
        let log = [("LogGroupName", &config.log_group), ("LogStreamName", &config.log_stream)];
        let log = log.into_iter().filter_map(|(key, value)| Some((key, value.clone()?)));
        let log = log.filter(|(_, value)| !value.is_empty()).collect();
        let resolution = config.high_resolution.then_some(1);
        Self { namespace, dimensions: config.dimensions.clone(), log, resolution }
    }

    /// The records of a batch. What cannot be said is added to `tally`.
    pub(super) fn of(&self, batch: &Batch, bytes_max: usize, tally: &mut Tally) -> Vec<Record> {
        let mut groups: BTreeMap<Dimensions, Vec<&Point>> = BTreeMap::new();
        for point in batch.points() {
            let dimensions = self.dimensions(point);
            match dimensions.len() > DIMENSIONS_MAX {
                true => tally.unsayable += 1,
                false => groups.entry(dimensions).or_default().push(point),
            }
        }
        let mut records = Vec::new();
        for (dimensions, points) in &groups {
            let mut draft = Draft::new(self, dimensions, batch.end_ms(), bytes_max);
            for point in points {
                let said = draft.point(point, &mut records);
                tally.unsayable += u64::from(!said);
            }
            draft.finish(&mut records);
        }
        records
    }

    /// Those of the point and those of all; the point's count where both have one. CloudWatch takes
    /// no empty ones.
    fn dimensions(&self, point: &Point) -> Dimensions {
        let own = point.series.attributes().iter().map(|(key, value)| (&**key, &**value));
        let all = self.dimensions.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        all.chain(own)
            .map(|(key, value)| (dimension_name(key), dimension_value(value)))
            .filter(|(key, value)| !key.is_empty() && !value.trim().is_empty())
            .collect()
    }
}

/// A record being filled.
struct Draft<'a> {
    records: &'a Records,
    dimensions: &'a Dimensions,
    time_ms: u64,
    bytes_max: usize,
    definitions: Vec<Json>,
    values: Map<String, Json>,
    bytes: usize,
    points: u64,
}

impl<'a> Draft<'a> {
    fn new(
        records: &'a Records,
        dimensions: &'a Dimensions,
        time_ms: u64,
        bytes_max: usize,
    ) -> Self {
        let (definitions, values) = (Vec::new(), Map::new());
        Self { records, dimensions, time_ms, bytes_max, definitions, values, bytes: 0, points: 0 }
    }

    /// Adds a point, in several records if its values are many. `false` if it cannot be said.
    fn point(&mut self, point: &Point, done: &mut Vec<Record>) -> bool {
        let name = cleaned(point.series.name(), NAME_MAX, |c| !c.is_control() && c.is_ascii());
        // Metrics and dimensions are members of the same object.
        if name.trim().is_empty() || name == "_aws" || self.dimensions.contains_key(&name) {
            return false;
        }
        let Some(values) = figures(&point.value) else { return false };
        let unit = point.series.unit().cloudwatch();
        let mut definition = json!({ "Name": name, "Unit": unit });
        if let Some(resolution) = self.records.resolution {
            definition["StorageResolution"] = resolution.into();
        }
        let last = values.len().saturating_sub(1);
        for (index, value) in values.into_iter().enumerate() {
            let bytes = 2 * name.len() + DEFINITION_BYTES + value.to_string().len();
            if self.bytes == 0 {
                self.bytes = self.frame_bytes();
            }
            if self.values.contains_key(&name)
                || self.definitions.len() >= METRICS_MAX
                || (self.bytes + bytes > self.bytes_max && !self.definitions.is_empty())
            {
                self.finish(done);
                self.bytes = self.frame_bytes();
            }
            if self.bytes + bytes > self.bytes_max {
                return false;
            }
            self.bytes += bytes;
            self.definitions.push(definition.clone());
            self.values.insert(name.clone(), value);
            self.points += u64::from(index == last);
        }
        true
    }

    fn finish(&mut self, done: &mut Vec<Record>) {
        if self.definitions.is_empty() {
            return;
        }
        let definitions = std::mem::take(&mut self.definitions);
        let mut root = self.frame(definitions);
        root.extend(std::mem::take(&mut self.values));
        let json = Json::Object(root).to_string().into_bytes();
        done.push(Record { json, points: std::mem::take(&mut self.points) });
    }

    fn frame(&self, definitions: Vec<Json>) -> Map<String, Json> {
        let names: Vec<&String> = self.dimensions.keys().collect();
        let mut meta = json!({
            "Timestamp": self.time_ms,
            "CloudWatchMetrics": [{
                "Namespace": self.records.namespace,
                "Dimensions": [names],
                "Metrics": definitions,
            }],
        });
        for (key, value) in &self.records.log {
            meta[*key] = value.as_str().into();
        }
        let mut root = Map::new();
        root.insert("_aws".to_owned(), meta);
        for (key, value) in self.dimensions {
            root.insert(key.clone(), value.as_str().into());
        }
        root
    }

    fn frame_bytes(&self) -> usize {
        Json::Object(self.frame(Vec::new())).to_string().len() + 1
    }
}

/// A point's value as what stands under its name, in as many records as it takes. `None` where
/// CloudWatch would refuse it.
fn figures(value: &Value) -> Option<Vec<Json>> {
    let legal = |value: f64| (value.abs() <= VALUE_MAX).then_some(value);
    match value {
        Value::Count(value) | Value::Gauge(value) => Some(vec![number(legal(*value)?)]),
        Value::Raw(values) if values.iter().all(|(_, rate)| *rate >= 1.0) => {
            let values: Vec<f64> = values.iter().map(|(value, _)| *value).collect();
            values.iter().try_for_each(|value| legal(*value).map(drop))?;
            let array = |chunk: &[f64]| chunk.iter().copied().map(number).collect();
            Some(values.chunks(VALUES_MAX).map(array).collect())
        }
        other => {
            let sketch = other.sketch()?;
            legal(sketch.max()?)?;
            Some(distribution(&sketch))
        }
    }
}

fn distribution(sketch: &Sketch) -> Vec<Json> {
    let values: Vec<(f64, u64)> = sketch.values().collect();
    let chunks = values.chunks(VALUES_MAX);
    let whole = chunks.len() == 1;
    let figure = |chunk: &[(f64, u64)]| {
        let count: u64 = chunk.iter().map(|(_, count)| count).sum();
        let sum: f64 = chunk.iter().map(|(value, count)| value * *count as f64).sum();
        let ends = (chunk.first().map_or(0.0, |it| it.0), chunk.last().map_or(0.0, |it| it.0));
        let exact = (sketch.min().unwrap_or(ends.0), sketch.max().unwrap_or(ends.1));
        let ((min, max), sum) = if whole { (exact, sketch.sum()) } else { (ends, sum) };
        json!({
            "Values": chunk.iter().map(|(value, _)| number(*value)).collect::<Vec<_>>(),
            "Counts": chunk.iter().map(|(_, count)| *count).collect::<Vec<_>>(),
            "Min": number(min), "Max": number(max), "Sum": number(sum), "Count": count,
        })
    };
    chunks.map(figure).collect()
}

/// Whole numbers without a fraction, as people expect a count to be written.
fn number(value: f64) -> Json {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < EXACT {
        return (value as i64).into();
    }
    value.into()
}

fn dimension_name(name: &str) -> String {
    let cleaned = cleaned(name, DIMENSION_NAME_MAX, |c| !c.is_control() && c.is_ascii());
    cleaned.trim_start_matches(':').to_owned()
}

fn dimension_value(value: &str) -> String {
    cleaned(value, DIMENSION_VALUE_MAX, |c| !c.is_control() && c.is_ascii())
}

fn cleaned(text: &str, characters_max: usize, legal: impl Fn(char) -> bool) -> String {
    text.chars().take(characters_max).map(|c| if legal(c) { c } else { '_' }).collect()
}
