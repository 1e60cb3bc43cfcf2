//! Names, tags and numbers as StatsD's grammar allows them.
//!
//! The protocol has no way to quote. What would end a field, begin another or begin another metric
//! becomes an underscore, so that no attribute, wherever it came from, says more than itself.

use std::io::Write;

/// A metric's name: letters, digits, underscores, dots and hyphens.
pub(super) fn name(out: &mut Vec<u8>, text: &str) {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    push(out, text, legal);
}

/// A part of a name that must not fall apart into several.
pub(super) fn name_part(out: &mut Vec<u8>, text: &str) {
    push(out, text, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
}

/// A tag's key, in any style.
pub(super) fn tag_key(out: &mut Vec<u8>, text: &str) {
    push(out, text, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/'));
}

/// A tag's value in Datadog's style, where a colon is legal: the first one is the one that counts.
pub(super) fn dog_value(out: &mut Vec<u8>, text: &str) {
    push(out, text, |c| !c.is_control() && !matches!(c, ',' | '|' | '#'));
}

/// A tag's value in the styles that put it before the metric's first colon.
pub(super) fn strict_value(out: &mut Vec<u8>, text: &str) {
    push(out, text, |c| {
        !c.is_control()
            && !c.is_whitespace()
            && !matches!(c, ',' | '|' | '#' | '@' | ':' | '=' | '[' | ']' | ';')
    });
}

/// A value of a field that is not a tag, as a container's identity: printable ASCII.
pub(super) fn field(out: &mut Vec<u8>, text: &str) {
    push(out, text, |c| c.is_ascii_graphic() && !matches!(c, '|' | '#' | '@'));
}

/// A number, in plain digits where they are few, with the shortest text that reads back the same.
pub(super) fn number(out: &mut Vec<u8>, value: f64) {
    let plain = value == 0.0 || (1e-6..1e16).contains(&value.abs());
    let written = if plain { write!(out, "{value}") } else { write!(out, "{value:e}") };
    written.expect("memory takes what is written to it");
}

/// The share that stands for `count`: the greatest whose inverse, rounded down, is just that. The
/// agent counts in whole numbers, and 1/49 as a double is a little more than a 49th.
pub(super) fn share_of(count: u64) -> f64 {
    let mut share = 1.0 / count as f64;
    while ((1.0 / share) as u64) < count {
        share = share.next_down();
    }
    share
}

fn push(out: &mut Vec<u8>, text: &str, legal: impl Fn(char) -> bool) {
    for c in text.chars() {
        let c = if legal(c) { c } else { '_' };
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
}
