//! What a line looks like. A client chooses much of what is in it, so whatever could end a line or a
//! value early is written as an escape.

use std::fmt::Write as _;

use crate::exchange::{Exchange, Outcome};
use crate::template::Template;

/// The longest value in a line. It bounds what a full queue holds where clients send long fields.
const VALUE_BYTES_MAX: usize = 2 << 10;

/// What a line typically has.
const LINE_BYTES: usize = 512;

/// A log's format.
#[derive(Debug)]
pub(super) enum Format {
    /// A JSON object with these keys.
    Json(Vec<(Key, Template)>),
    /// A text.
    Text(Template),
}

/// A key of a JSON object, as it is written.
#[derive(Debug)]
pub(super) struct Key(String);

impl Key {
    pub(super) fn new(name: &str) -> Self {
        let mut text = String::new();
        json_string(name, &mut text);
        text.push(':');
        Self(text)
    }
}

impl Format {
    /// The line for a request, without its end.
    pub(super) fn line(&self, x: &Exchange<'_>, outcome: &Outcome<'_>) -> String {
        let mut line = String::with_capacity(LINE_BYTES);
        match self {
            Self::Text(template) => template.render_with(x, Some(outcome), &mut line, plain),
            Self::Json(fields) => {
                for (index, (Key(key), template)) in fields.iter().enumerate() {
                    line.push(if index == 0 { '{' } else { ',' });
                    line.push_str(key);
                    json_value(template, x, outcome, &mut line);
                }
                line.push('}');
            }
        }
        line
    }
}

/// A number, `null` for a variable that the request does not have, or a string.
fn json_value(template: &Template, x: &Exchange<'_>, outcome: &Outcome<'_>, line: &mut String) {
    if let Some(variable) = template.variable() {
        match variable.value(x, Some(outcome)) {
            None => line.push_str("null"),
            Some(value) if variable.is_number() => line.push_str(&value),
            Some(value) => json_string(cut(&value), line),
        }
        return;
    }
    let mut text = String::new();
    template.render_with(x, Some(outcome), &mut text, |value, text| text.push_str(cut(value)));
    json_string(&text, line);
}

fn cut(value: &str) -> &str {
    &value[..value.floor_char_boundary(VALUE_BYTES_MAX)]
}

/// RFC 8259, 7; and no other control characters either, for those who read logs in a terminal.
fn json_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            _ if character.is_control() => {
                // Control characters are all below U+00A0, and writing to a string cannot fail.
                write!(out, "\\u{:04x}", u32::from(character)).unwrap_or_default();
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

/// A value in a text, where `\xHH` stands for the bytes of what could be mistaken for the text's own.
fn plain(value: &str, out: &mut String) {
    for character in cut(value).chars() {
        if character.is_control() || matches!(character, '"' | '\\') {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                write!(out, "\\x{byte:02X}").unwrap_or_default();
            }
        } else {
            out.push(character);
        }
    }
}
