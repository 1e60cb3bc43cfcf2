//! One pipeline and what is read into it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use sallyport_stats::push::{
    BreakerState, Catalog, CatalogLimits, ExporterSnapshot, Monitor, Pipeline, PipelineConfig,
    Reading, RegisterError, Sampler, StartError,
};

use super::Sources;
use crate::config::Push;

/// How long exporters that are no longer wanted may send what they have.
pub(super) const FAREWELL: Duration = Duration::from_secs(2);

/// Samples between recording them and putting them together, which a reading does by itself as often
/// as it has to; the pipeline's own worker finds nothing.
const BUFFER_SAMPLES: usize = 1_024;
const REST: Duration = Duration::from_secs(1);

/// Totals of what is no longer there are remembered up to this: some ten megabytes.
const TOTALS_MAX: usize = 1 << 18;

/// What one series takes in the catalogue, with four labels of thirty characters.
const SERIES_BYTES: usize = 512;

/// Read apart, out of finer buckets than `/metrics` has.
const DURATIONS: &str = "sallyport_route_request_duration_seconds";

/// Its label is another with every reload, and series are kept until the end.
const INFO: &str = "sallyport_config_info";

/// A pipeline, and what its totals were at the last reading.
#[derive(Debug)]
pub(super) struct Task {
    push: Push,
    sources: Sources,
    pipeline: Pipeline,
    sampler: Sampler,
    /// Exporters whose breaker is not closed, so that each is told of once.
    failing: HashSet<Arc<str>>,
    refused: Option<RegisterError>,
}

impl Task {
    /// Starts the exporters, and takes what is counted so far as known.
    pub(super) fn start(push: Push, sources: Sources) -> Result<Self, StartError> {
        let pipeline = pipeline(&push)?;
        let mut sampler = Sampler::new(TOTALS_MAX);
        sources.read(&mut sampler.reading(None));
        Ok(Self { push, sources, pipeline, sampler, failing: HashSet::new(), refused: None })
    }

    pub(super) fn every(&self) -> Duration {
        self.push.every
    }

    pub(super) fn monitor(&self) -> Monitor {
        self.pipeline.monitor()
    }

    /// Hands what was counted since the last time to the exporters.
    pub(super) fn read(&mut self) {
        let mut reading = self.sampler.reading(Some(&self.pipeline));
        self.sources.read(&mut reading);
        let refused = reading.refused();
        reading.finish();
        self.pipeline.flush();
        if let Some(error) = refused.filter(|error| self.refused != Some(*error)) {
            tracing::warn!(%error, "push: a metric is left out");
        }
        self.refused = refused.or(self.refused);
        self.tell_of_breakers();
    }

    /// Goes on with `push`. What was counted until now goes to the exporters there are; a pipeline of
    /// another size takes the place of this one, which has sent what it has by then.
    pub(super) fn change(&mut self, push: Push) {
        let same_size =
            (push.series, push.buffer_bytes) == (self.push.series, self.push.buffer_bytes);
        if !same_size {
            match pipeline(&push) {
                Ok(pipeline) => {
                    self.read();
                    let old = std::mem::replace(&mut self.pipeline, pipeline);
                    shut_down(old, FAREWELL);
                    // Its first window began before the last of the old one ended, and a receiver of
                    // totals takes no sample from before the last it was sent.
                    self.pipeline.flush();
                }
                Err(error) => return failed(&error),
            }
        } else if !same_exporters(&push, &self.push) {
            self.read();
            if let Err(error) = self.pipeline.set_exporters(push.exporters.clone()) {
                return failed(&error);
            }
        }
        self.push = push;
    }

    /// Sends what was counted until now.
    pub(super) fn end(mut self, patience: Duration) {
        self.read();
        shut_down(self.pipeline, patience);
    }

    fn tell_of_breakers(&mut self) {
        let exporters = self.pipeline.snapshot().exporters;
        let closed = |exporter: &ExporterSnapshot| exporter.breaker == BreakerState::Closed;
        for exporter in &exporters {
            let name = &exporter.name;
            if closed(exporter) && self.failing.remove(name) {
                tracing::info!(exporter = %name, "push: delivers again");
            } else if !closed(exporter) && self.failing.insert(name.clone()) {
                let error = exporter.last_error.as_deref().unwrap_or("unknown");
                tracing::warn!(exporter = %name, error, "push: cannot deliver, trying now and then");
            }
        }
        self.failing.retain(|name| exporters.iter().any(|exporter| exporter.name == *name));
    }
}

impl Sources {
    fn read(&self, reading: &mut Reading<'_>) {
        self.registry.each(|family| {
            if ![DURATIONS, INFO].contains(&family.name()) {
                reading.family(&family);
            }
        });
        self.registry.durations(|host, route, counts| {
            reading.durations(DURATIONS, &[("virtual_host", host), ("route", route)], counts);
        });
        let process = self.process.figures().families();
        self.filters.gather().iter().chain(&process).for_each(|family| reading.family(family));
    }
}

/// One thread records, so one shard and one worker are as many as are of use; and flushes itself.
fn pipeline(push: &Push) -> Result<Pipeline, StartError> {
    let limits = CatalogLimits {
        series: push.series,
        bytes: push.series.saturating_mul(SERIES_BYTES),
        ..CatalogLimits::default()
    };
    let config = PipelineConfig {
        capacity: BUFFER_SAMPLES,
        shards: 1,
        workers: 1,
        rest_max: REST,
        flush_interval: Duration::MAX,
        window_bytes_max: push.buffer_bytes,
        ..PipelineConfig::default()
    };
    Pipeline::start(&config, Arc::new(Catalog::new(limits)), push.exporters.clone())
}

fn same_exporters(one: &Push, other: &Push) -> bool {
    one.exporters.len() == other.exporters.len()
        && one.exporters.iter().zip(&other.exporters).all(|(one, other)| one.is_as(other))
}

fn shut_down(pipeline: Pipeline, patience: Duration) {
    let lost = pipeline.shutdown(patience);
    for (exporter, points) in &lost.points {
        tracing::warn!(%exporter, points, "push: was left unsent");
    }
}

fn failed(error: &StartError) {
    tracing::error!(%error, "push: the exporters stay as they were");
}
