//! Statistics for Prometheus, pushed: remote write 1.0, protobuf compressed with Snappy.
//!
//! What Prometheus stores only counts up, so sums are kept here, from the exporter's start on; an
//! outage costs samples in time and no count. A distribution becomes a classic histogram whose
//! edges are powers of two, at which the counts are exact. Every series known is sent each time, as
//! a scrape would find it, until it ends: then a stale marker says so, and at the exporter's end one
//! for every series.
//!
//! Source: the Prometheus Remote-Write specification, version 1.0.

use std::{sync::Arc, time::Duration};

use prost::Message;

use super::{
    batch::Batch,
    exporter::{ExportError, Exporter, ExporterSpec, Tally},
    http::{Http, HttpConfig},
};

mod labels;
mod state;
mod wire;

use self::{labels::External, state::States, wire::WriteRequest};

/// Series of a request at most, as in Prometheus's own sender.
const SERIES_MAX: usize = 2_000;

/// A receiver of remote write.
#[derive(Debug, Clone)]
pub struct RemoteWriteConfig {
    /// Where it is, as `http://prometheus:9090/api/v1/write`.
    pub http: HttpConfig,
    /// Labels of every series, as `job` and `instance`.
    pub labels: Vec<(String, String)>,
    /// How often everything is sent.
    pub interval: Duration,
}

impl RemoteWriteConfig {
    /// The defaults, and where it is: everything every 15 seconds.
    pub fn new(http: HttpConfig) -> Self {
        Self { http, labels: Vec::new(), interval: Duration::from_secs(15) }
    }

    /// The exporter, ready for a pipeline.
    pub fn spec(self, name: impl Into<Arc<str>>) -> ExporterSpec {
        let identity = format!("{self:?}");
        let build = move || -> Result<Box<dyn Exporter>, ExportError> {
            Ok(Box::new(RemoteWriteExporter::new(&self)?))
        };
        ExporterSpec::new(name, build).identity(identity)
    }
}

#[derive(Debug)]
struct RemoteWriteExporter {
    http: Http,
    states: States,
    interval_ms: u64,
    /// The time of what was observed last, and of what was sent last.
    now_ms: u64,
    sent_ms: Option<u64>,
}

impl RemoteWriteExporter {
    fn new(config: &RemoteWriteConfig) -> Result<Self, ExportError> {
        Ok(Self {
            http: Http::new(&config.http)?,
            states: States::new(External::new(&config.labels)),
            interval_ms: config.interval.as_millis() as u64,
            now_ms: 0,
            sent_ms: None,
        })
    }

    /// Sends every series. What a receiver refuses is never sent again: a zero or a marker whose time
    /// it does not take would have every request refused that repeats it.
    fn send(&mut self, tally: &mut Tally) -> Result<(), ExportError> {
        let sends_before = tally.sends;
        let sent = self.post(tally);
        match &sent {
            Ok(()) => {
                self.sent_ms = Some(self.now_ms);
                self.states.sent();
            }
            Err(ExportError::Refused { .. }) => self.states.sent(),
            Err(_) if tally.sends > sends_before => self.states.sent(),
            Err(_) => {}
        }
        sent
    }

    fn post(&mut self, tally: &mut Tally) -> Result<(), ExportError> {
        let mut series = self.states.series(self.now_ms);
        while !series.is_empty() {
            let rest = series.split_off(series.len().min(SERIES_MAX));
            let request = WriteRequest { timeseries: std::mem::replace(&mut series, rest) };
            let body = snap::raw::Encoder::new()
                .compress_vec(&request.encode_to_vec())
                .map_err(|error| ExportError::SetUp(error.into()))?;
            self.http.post(&HEADERS, &body, |status| status == 429 || status >= 500)?;
            tally.bytes += body.len() as u64;
            tally.sends += 1;
        }
        Ok(())
    }
}

const HEADERS: [(&str, &str); 3] = [
    ("content-encoding", "snappy"),
    ("content-type", "application/x-protobuf"),
    ("x-prometheus-remote-write-version", "0.1.0"),
];

impl Exporter for RemoteWriteExporter {
    fn observe(&mut self, batch: &Batch) {
        self.now_ms = self.now_ms.max(batch.end_ms());
        self.states.observe(batch);
    }

    fn export(&mut self, batch: &Batch, tally: &mut Tally) -> Result<(), ExportError> {
        // The protocol has no events.
        let unsayable = self.states.unsayable();
        if self.sent_ms.is_none_or(|sent_ms| self.now_ms >= sent_ms + self.interval_ms) {
            self.send(tally)?;
        }
        // What is added up here and not yet due is as good as sent.
        tally.points += batch.points().len() as u64 - unsayable;
        tally.unsayable += batch.events().len() as u64 + unsayable;
        Ok(())
    }

    fn finish(&mut self, tally: &mut Tally) -> Result<(), ExportError> {
        if self.sent_ms != Some(self.now_ms) {
            self.send(tally)?;
        }
        self.states.end_all();
        self.now_ms += 1;
        self.send(tally)
    }
}

#[cfg(test)]
mod tests;
