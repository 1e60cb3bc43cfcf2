//! DogStatsD's events: title and text with their lengths before them, then fields.

use super::message::dog_tag;
use crate::push::batch::{Alert, Event};

/// `_e{title bytes,text bytes}:title|text|d:time|k:key|t:alert|#tags` and the fields of every
/// message. Line feeds are written as the two characters that the agent takes for one.
pub(super) fn message(event: &Event, tags: &[u8], fields: &[u8]) -> Vec<u8> {
    let (title, text) = (escaped(&event.title), escaped(&event.text));
    let mut out = format!("_e{{{},{}}}:{title}|{text}", title.len(), text.len()).into_bytes();
    if let Some(time_ms) = event.timestamp_ms {
        out.extend_from_slice(format!("|d:{}", time_ms / 1_000).as_bytes());
    }
    if let Some(key) = &event.aggregation_key {
        out.extend_from_slice(b"|k:");
        super::text::field(&mut out, key);
    }
    let alert = match event.alert {
        Alert::Info => "info",
        Alert::Success => "success",
        Alert::Warning => "warning",
        Alert::Error => "error",
    };
    out.extend_from_slice(b"|t:");
    out.extend_from_slice(alert.as_bytes());
    let mut all = tags.to_vec();
    for (key, value) in &event.attributes {
        dog_tag(&mut all, key, value);
    }
    if !all.is_empty() {
        out.extend_from_slice(b"|#");
        out.append(&mut all);
    }
    out.extend_from_slice(fields);
    out
}

fn escaped(text: &str) -> String {
    let text = text.replace("\r\n", "\\n").replace(['\n', '\r'], "\\n");
    text.replace(|c: char| c.is_control(), " ")
}
