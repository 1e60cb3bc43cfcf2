//! `push:`, but for what is one kind of exporter's own; that is in `push/kinds.rs`.

mod kinds;

use std::collections::HashSet;
use std::time::Duration;

use sallyport_config::{Fields, Node, Sink, Value};
use sallyport_stats::push::{BreakerConfig, ExporterSpec};

use super::scalar;
use crate::config::model::{PUSH_EXPORTERS_MAX, Push};

/// The keys of which an exporter has one.
const KINDS: [&str; 5] = ["dogstatsd", "statsd", "emf", "remote_write", "otlp"];

/// How often statistics are sent where the file does not say: as often as Datadog's agent passes
/// them on.
const EVERY: Duration = Duration::from_secs(10);
/// Reading all statistics takes milliseconds where there are thousands of routes.
const EVERY_MIN: Duration = Duration::from_millis(100);

const SERIES: u64 = 10_000;
/// What 10,000 series take between two flushes, a tenth of them distributions.
const BUFFER_BYTES: u64 = 4 << 20;

/// Batches that wait for an exporter where the file does not say: a minute and a half of them.
const QUEUE_BATCHES: u64 = 8;
const QUEUE_BYTES: u64 = 4 << 20;

pub(super) fn push(node: Node<'_>, sink: &mut Sink) -> Option<Push> {
    node.mapping(sink, |fields, sink| {
        let every = fields.optional(sink, "every", every).unwrap_or(EVERY);
        let series = number(fields, sink, "series", 1, 1_000_000).unwrap_or(SERIES);
        let buffer = bytes(fields, sink, "buffer", 64 << 10, 1 << 30).unwrap_or(BUFFER_BYTES);
        let exporters = fields.required(sink, "exporters", exporters)?;
        Some(Push { every, series: series as usize, buffer_bytes: buffer as usize, exporters })
    })
}

fn every(node: Node<'_>, sink: &mut Sink) -> Option<Duration> {
    let every = scalar::duration(node, sink)?;
    if every < EVERY_MIN {
        return node.refuse(sink, format!("is {every:?}"), format!("write {EVERY_MIN:?} or more"));
    }
    Some(every)
}

fn exporters(node: Node<'_>, sink: &mut Sink) -> Option<Vec<ExporterSpec>> {
    refuse_repeated_names(node, sink);
    let written = node.value.as_sequence().map_or(0, Vec::len);
    let exporters = node.list(sink, exporter)?;
    if written == 0 {
        return node.refuse(sink, "is empty", "add an exporter, or remove `push:`");
    }
    if written > PUSH_EXPORTERS_MAX {
        let what = format!("has {written} exporters");
        return node.refuse(sink, what, format!("keep to {PUSH_EXPORTERS_MAX}"));
    }
    Some(exporters)
}

/// Looks at the names as they are written: what else is wrong with an exporter does not matter here.
fn refuse_repeated_names(node: Node<'_>, sink: &mut Sink) {
    let entries = node.value.as_sequence().into_iter().flatten();
    let names = entries.filter_map(|entry| match entry {
        Value::Mapping(exporter) => exporter.get("name")?.as_str(),
        _ => None,
    });
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            let what = format!("has two exporters called {name:?}");
            node.refuse::<()>(sink, what, "give each a name of its own");
        }
    }
}

fn exporter(node: Node<'_>, sink: &mut Sink) -> Option<ExporterSpec> {
    node.mapping(sink, |fields, sink| {
        let name = fields.required(sink, "name", scalar::name);
        let breaker = fields.optional(sink, "breaker", breaker).unwrap_or_default();
        let attempts = number(fields, sink, "attempts", 1, 10);
        let queue = fields.optional(sink, "queue", queue);
        let one = fields.exactly_one(sink, &KINDS);
        // What else is wrong is found whether there is a name or not.
        let called = name.as_deref().unwrap_or_default();
        let kinds = [
            fields.optional(sink, "dogstatsd", |node, sink| kinds::dogstatsd(called, node, sink)),
            fields.optional(sink, "statsd", |node, sink| kinds::statsd(called, node, sink)),
            fields.optional(sink, "emf", |node, sink| kinds::emf(called, node, sink)),
            fields.optional(sink, "remote_write", |node, sink| {
                kinds::remote_write(called, node, sink)
            }),
            fields.optional(sink, "otlp", |node, sink| kinds::otlp(called, node, sink)),
        ];
        let spec = kinds.into_iter().flatten().next();
        let (_one, _name) = (one?, name.as_deref()?);
        let (batches, bytes) = queue.unwrap_or((QUEUE_BATCHES as usize, QUEUE_BYTES as usize));
        let spec = spec?.breaker(breaker).queue(batches, bytes);
        Some(match attempts {
            Some(attempts) => spec.attempts(attempts as u32),
            None => spec,
        })
    })
}

fn breaker(node: Node<'_>, sink: &mut Sink) -> Option<BreakerConfig> {
    node.mapping(sink, |fields, sink| {
        let mut breaker = BreakerConfig::default();
        let failures = number(fields, sink, "failures", 1, 1_000);
        breaker.failures = failures.map_or(breaker.failures, |failures| failures as u32);
        let open = fields.optional(sink, "open", scalar::duration);
        breaker.open_for = open.unwrap_or(breaker.open_for);
        Some(breaker)
    })
}

/// Batches and bytes that may wait.
fn queue(node: Node<'_>, sink: &mut Sink) -> Option<(usize, usize)> {
    node.mapping(sink, |fields, sink| {
        let batches = number(fields, sink, "batches", 1, 1_000).unwrap_or(QUEUE_BATCHES);
        let bytes = bytes(fields, sink, "bytes", 64 << 10, 1 << 30).unwrap_or(QUEUE_BYTES);
        Some((batches as usize, bytes as usize))
    })
}

fn number(
    fields: &mut Fields<'_>,
    sink: &mut Sink,
    key: &'static str,
    least: u64,
    most: u64,
) -> Option<u64> {
    fields.optional(sink, key, |node, sink| node.number(sink, least, most))
}

fn bytes(
    fields: &mut Fields<'_>,
    sink: &mut Sink,
    key: &'static str,
    least: u64,
    most: u64,
) -> Option<u64> {
    fields.optional(sink, key, |node, sink| scalar::bytes(node, sink, least, most))
}

#[cfg(test)]
mod tests;
