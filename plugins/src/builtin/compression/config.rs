//! Reading `compression:`.

use std::sync::Arc;

use sallyport_config::{Fields, Node, Sink, scalar};

use super::Compression;
use super::budget::Budget;
use super::coder::Coding;
use super::types::Types;
use crate::filter::Filter;
use crate::kind::Setting;

/// Below, the head is most of the response, and compression gains a packet at best.
const BYTES_MIN: u64 = 1 << 10;

/// What all responses being compressed may take: some 250 of them at the default levels, and a
/// fraction of what a small machine has.
const MEMORY_BYTES: u64 = 256 << 20;

/// What one coding is set to.
struct Known {
    coding: Coding,
    level: u32,
    /// Above, a piece of a body holds the worker for longer than a request should take.
    level_max: u64,
}

/// In the order of preference: the one that costs least for what it gains first.
const KNOWN: [Known; 3] = [
    Known { coding: Coding::Zstd, level: 3, level_max: 12 },
    // From 7 on a response takes 9 MiB and more, whatever the window.
    Known { coding: Coding::Brotli, level: 4, level_max: 6 },
    Known { coding: Coding::Gzip, level: 5, level_max: 9 },
];

pub(super) fn read(
    node: Node<'_>,
    sink: &mut Sink,
    setting: &mut Setting<'_>,
) -> Option<Arc<dyn Filter>> {
    node.mapping(sink, |fields, sink| {
        let codings = match fields.has("algorithms") {
            true => fields.optional(sink, "algorithms", codings),
            false => Some(KNOWN.iter().map(|known| known.coding).collect()),
        };
        let levels = fields.optional(sink, "levels", |node, sink| node.mapping(sink, levels));
        let types = fields.optional(sink, "types", Types::read).unwrap_or_default();
        let bytes_min =
            fields.optional(sink, "min_bytes", |node, sink| scalar::bytes(node, sink, 0, 1 << 30));
        let memory = fields
            .optional(sink, "memory", |node, sink| scalar::bytes(node, sink, 4 << 20, 1 << 40));
        let help = "Responses that were not compressed because the filter's memory was in use.";
        let metrics = &setting.host.metrics;
        let skipped = metrics.counters("sallyport_compression_skipped_total", help, &["filter"]);
        let levels = levels.unwrap_or_default();
        let level = |coding| {
            let written = levels.iter().find(|level| level.0 == coding).map(|level| level.1);
            let known = KNOWN.iter().find(|known| known.coding == coding);
            (coding, written.or(known.map(|known| known.level)).unwrap_or(1))
        };
        Some(Arc::new(Compression {
            codings: codings?.into_iter().map(level).collect(),
            types,
            bytes_min: bytes_min.unwrap_or(BYTES_MIN),
            budget: Budget::new(memory.unwrap_or(MEMORY_BYTES)),
            skipped: skipped.with_label_values(&[setting.name]),
        }) as Arc<dyn Filter>)
    })
}

fn codings(node: Node<'_>, sink: &mut Sink) -> Option<Vec<Coding>> {
    let mut codings = Vec::new();
    node.list(sink, |node, sink| {
        let coding = coding(node, sink)?;
        if codings.contains(&coding) {
            return node.refuse(sink, "came before", "write it once");
        }
        codings.push(coding);
        Some(())
    })?;
    if codings.is_empty() {
        return node.refuse(sink, "is empty", "name at least one of zstd, br and gzip");
    }
    Some(codings)
}

fn coding(node: Node<'_>, sink: &mut Sink) -> Option<Coding> {
    let text = node.text(sink)?;
    let known = KNOWN.iter().find(|known| known.coding.name() == text);
    known
        .map(|known| known.coding)
        .or_else(|| node.refuse(sink, format!("{text:?} is not known"), "write zstd, br or gzip"))
}

fn levels(fields: &mut Fields<'_>, sink: &mut Sink) -> Option<Vec<(Coding, u32)>> {
    let levels = KNOWN.iter().filter_map(|known| {
        let read = |node: Node<'_>, sink: &mut Sink| node.number(sink, 1, known.level_max);
        let level = fields.optional(sink, known.coding.name(), read)?;
        Some((known.coding, level as u32))
    });
    Some(levels.collect())
}
