//! `compressor`. Envoy has one for each coding; ours has all.

use sallyport_config::Value;

use super::super::Scope;
use super::super::fraction::flag;
use super::{Effect, HttpFilter, Level, Own};
use crate::fields::Fields;
use crate::output::{self, Map, entry, list, number, text};

pub(super) fn read(scope: &Scope<'_>, fields: &Fields<'_>) -> Option<Effect> {
    fields.ignore("choose_first", "the first coding that the client takes is chosen");
    fields.refuse("request_direction_config", "requests are passed on as they are");
    let deprecated = "is deprecated, write response_direction_config";
    for name in [
        "content_length",
        "content_type",
        "disable_on_etag_header",
        "remove_accept_encoding_header",
        "runtime_enabled",
    ] {
        fields.refuse(name, deprecated);
    }
    let mut out = Map::new();
    let library = fields.message("compressor_library")?;
    library.text("name");
    let (coding, level) = coding(&library.any("typed_config")?)?;
    out.put("algorithms", list([text(coding)]));
    out.put_some("levels", level.map(|level| entry(coding, number(level))));
    let mut is_on = true;
    if let Some(responses) = fields.message("response_direction_config") {
        responses.ignore_all(
            &["disable_on_etag_header", "weaken_etag_on_compress"],
            "a strong ETag becomes a weak one",
        );
        responses.ignore("remove_accept_encoding_header", "origins see what clients take");
        responses.ignore("status_header_enabled", "what was compressed shows in Content-Encoding");
        responses.refuse("uncompressible_response_codes", "every status is compressed");
        if let Some(common) = responses.message("common_config") {
            is_on = common.message("enabled").is_none_or(|it| flag(&it, &scope.runtime));
            common.refuse("content_type_matcher", "write content_type");
            out.put_some("types", output::texts(common.texts("content_type")));
            let bytes = common.uint("min_content_length").unwrap_or(30);
            out.put("min_bytes", text(format!("{bytes}B")));
        }
    }
    Some(if is_on { Effect::Settings(out.done()) } else { Effect::None })
}

/// The coding of a library, and its level in our bounds.
fn coding(library: &Fields<'_>) -> Option<(&'static str, Option<u64>)> {
    let tuning = "memory and windows are bounded by the filter's own `memory`";
    match library.type_name().rsplit('.').next() {
        Some("Gzip") => {
            library.ignore_all(
                &["memory_level", "compression_strategy", "window_bits", "chunk_size"],
                tuning,
            );
            let level = match library.choice("compression_level").as_deref() {
                Some("BEST_SPEED") => Some(1),
                Some("BEST_COMPRESSION") => Some(9),
                Some(level) => {
                    level.strip_prefix("COMPRESSION_LEVEL_").and_then(|it| it.parse().ok())
                }
                None => None,
            };
            Some(("gzip", level))
        }
        Some("Brotli") => {
            library.ignore_all(
                &[
                    "encoder_mode",
                    "window_bits",
                    "input_block_bits",
                    "chunk_size",
                    "disable_literal_context_modeling",
                ],
                tuning,
            );
            Some(("br", library.uint("quality").map(|level| level.clamp(1, 6))))
        }
        Some("Zstd") => {
            library.ignore_all(&["enable_checksum", "strategy", "chunk_size"], tuning);
            library.refuse("dictionary", "responses are compressed without a dictionary");
            Some(("zstd", library.uint("compression_level").map(|level| level.clamp(1, 12))))
        }
        _ => library.reject("is no coding that is known here, write gzip, brotli or zstd"),
    }
}

/// Adds the coding of `filter` to a compressor before it, if there is one that is else the same.
pub(super) fn merged(before: &mut [HttpFilter], filter: &HttpFilter) -> bool {
    let Effect::Settings(Value::Mapping(added)) = &filter.effect else { return false };
    let known =
        before.iter_mut().find(|known| known.kind == filter.kind && known.is_off == filter.is_off);
    let Some(HttpFilter { effect: Effect::Settings(Value::Mapping(known)), kind, .. }) = known
    else {
        return false;
    };
    let is_same = |key: &str| known.get(key) == added.get(key);
    if kind.ours != "compression" || !is_same("types") || !is_same("min_bytes") {
        return false;
    }
    let both = |key: &str| [known.get(key), added.get(key)].into_iter().flatten().cloned();
    let algorithms = both("algorithms").flat_map(|value| match value {
        Value::Sequence(items) => items,
        other => vec![other],
    });
    let mut levels = Map::new();
    for value in both("levels") {
        if let Value::Mapping(value) = value {
            for (key, level) in value.iter() {
                levels.put(key.as_str().unwrap_or_default(), level.clone());
            }
        }
    }
    let out = Map::new()
        .with("algorithms", list(algorithms))
        .with_some("levels", levels.filled())
        .with_some("types", known.get("types").cloned())
        .with_some("min_bytes", known.get("min_bytes").cloned());
    if let Value::Mapping(out) = out.done() {
        *known = out;
    }
    true
}

pub(super) fn on_route(_: &Scope<'_>, fields: &Fields<'_>, _: Level) -> Option<Own> {
    if fields.flag("disabled").unwrap_or(false) {
        return Some(Own::Off);
    }
    fields.refuse("overrides", "a route compresses as its listener does, or not at all");
    None
}
