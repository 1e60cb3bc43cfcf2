//! What differs between two configurations, place by place.
//!
//! Entries of a list that have a name are the same where their names are, so that a route that moved
//! is not a change of all routes behind it. Secrets are left out: what differs is told, and not what
//! it was or is.

use std::collections::HashMap;

use sallyport_config::{File, Mapping, Value, parse};
use serde::Serialize;

/// Places told of one edit; it may be a whole new file.
const PLACES_MAX: usize = 100;

/// Characters of a value that are told.
const VALUE_CHARS_MAX: usize = 200;

/// What stands in the place of a secret.
pub const SECRET: &str = "<secret>";

/// One place that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where, such as `virtual_hosts[shop].routes[cart].forward.timeout`.
    pub path: String,
    /// What was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// All places that differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// The first of them.
    pub places: Vec<Difference>,
    /// How many more there are.
    pub more: usize,
}

impl Differences {
    /// Those between two configurations; sections that several files hold are taken together.
    #[must_use]
    pub fn between(before: &[File], after: &[File]) -> Self {
        let mut found = Self::default();
        let (before, after) = (whole(before), whole(after));
        found.mapping("", &lent(&before), &lent(&after), false);
        found
    }

    fn add(&mut self, path: &str, before: Option<&Value>, after: Option<&Value>, is_secret: bool) {
        if self.places.len() == PLACES_MAX {
            self.more += 1;
            return;
        }
        let shown = |value: &Value| if is_secret { SECRET.to_owned() } else { shown(value, false) };
        self.places.push(Difference {
            path: path.to_owned(),
            before: before.map(shown),
            after: after.map(shown),
        });
    }

    fn value(&mut self, path: &str, before: &Value, after: &Value, is_secret: bool) {
        match (before, after) {
            _ if before == after => {}
            (Value::Mapping(before), Value::Mapping(after)) => {
                self.mapping(path, &pairs(before), &pairs(after), is_secret);
            }
            (Value::Sequence(before), Value::Sequence(after)) => {
                self.list(path, before, after, is_secret);
            }
            _ => self.add(path, Some(before), Some(after), is_secret),
        }
    }

    fn mapping(
        &mut self,
        path: &str,
        before: &[(&str, &Value)],
        after: &[(&str, &Value)],
        is_secret: bool,
    ) {
        let then: HashMap<_, _> = before.iter().copied().collect();
        let now: HashMap<_, _> = after.iter().copied().collect();
        let at = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        for (key, value) in after {
            let is_secret = is_secret || holds_secrets(key, value);
            match then.get(key) {
                Some(before) => self.value(&at(key), before, value, is_secret),
                None => self.add(&at(key), None, Some(value), is_secret),
            }
        }
        for (key, value) in before.iter().filter(|(key, _)| !now.contains_key(key)) {
            self.add(&at(key), Some(value), None, is_secret || holds_secrets(key, value));
        }
    }

    fn list(&mut self, path: &str, before: &[Value], after: &[Value], is_secret: bool) {
        if let (Some(before), Some(after)) = (named(before), named(after)) {
            let then: HashMap<_, _> = before.iter().copied().collect();
            let now: HashMap<_, _> = after.iter().copied().collect();
            for (name, value) in &after {
                let at = format!("{path}[{name}]");
                match then.get(name) {
                    Some(before) => self.value(&at, before, value, is_secret),
                    None => self.add(&at, None, Some(value), is_secret),
                }
            }
            for (name, value) in before.iter().filter(|(name, _)| !now.contains_key(name)) {
                self.add(&format!("{path}[{name}]"), Some(value), None, is_secret);
            }
            return;
        }
        for index in 0..before.len().max(after.len()) {
            let at = format!("{path}[{index}]");
            match (before.get(index), after.get(index)) {
                (Some(before), Some(after)) => self.value(&at, before, after, is_secret),
                (before, after) => self.add(&at, before, after, is_secret),
            }
        }
    }
}

/// The sections of all files; lists of the same section one after the other.
fn whole(files: &[File]) -> Vec<(String, Value)> {
    let mut sections: Vec<(String, Value)> = Vec::new();
    for (index, file) in files.iter().enumerate() {
        // It was read before: there is nothing new to say of it.
        let Some(Value::Mapping(mapping)) = parse(index, &file.text, &mut Vec::new()) else {
            continue;
        };
        for (key, value) in pairs(&mapping) {
            match (sections.iter_mut().find(|(known, _)| *known == key), value) {
                (Some((_, Value::Sequence(known))), Value::Sequence(more)) => {
                    known.extend(more.iter().cloned());
                }
                (_, value) => sections.push((key.to_owned(), value.clone())),
            }
        }
    }
    sections
}

/// Keys with their values; keys that are no text were refused when the file was read.
fn pairs(mapping: &Mapping) -> Vec<(&str, &Value)> {
    mapping.iter().filter_map(|(key, value)| Some((key.as_str()?, value))).collect()
}

fn lent(sections: &[(String, Value)]) -> Vec<(&str, &Value)> {
    sections.iter().map(|(key, value)| (&**key, value)).collect()
}

/// The entries by their names, if all have one and no two the same.
fn named(items: &[Value]) -> Option<Vec<(&str, &Value)>> {
    let named: Vec<_> =
        items.iter().map(|item| Some((name_of(item)?, item))).collect::<Option<_>>()?;
    let distinct: std::collections::HashSet<_> = named.iter().map(|(name, _)| name).collect();
    (distinct.len() == named.len()).then_some(named)
}

fn name_of(item: &Value) -> Option<&str> {
    let Value::Mapping(fields) = item else { return None };
    fields.get("name")?.as_str()
}

/// Whether what stands under `key` may be nobody's business. Paths of files that hold a secret are no
/// secrets; fields of calls to others, which are a mapping, may hold credentials under any name.
fn holds_secrets(key: &str, value: &Value) -> bool {
    holds_secret(key, matches!(value, Value::Mapping(_)))
}

/// Whether what stands under `key`, a mapping or not, may be nobody's business.
#[must_use]
pub fn holds_secret(key: &str, is_mapping: bool) -> bool {
    const SIGNS: [&str; 8] =
        ["secret", "password", "token", "authorization", "api_key", "api-key", "cookie", "users"];
    let key = key.to_ascii_lowercase();
    let is_file = key.ends_with("_file") || key.ends_with("_path");
    let is_fields = key == "headers" && is_mapping;
    !is_file && (is_fields || SIGNS.iter().any(|sign| key.contains(sign)))
}

/// A value in one line, cut where it is long.
fn shown(value: &Value, is_secret: bool) -> String {
    let mut text = String::new();
    write(value, is_secret, &mut text);
    if text.chars().count() > VALUE_CHARS_MAX {
        text = text.chars().take(VALUE_CHARS_MAX).chain(['…']).collect();
    }
    text
}

fn write(value: &Value, is_secret: bool, out: &mut String) {
    if out.len() > 4 * VALUE_CHARS_MAX {
        return;
    }
    match value {
        Value::Mapping(mapping) => {
            out.push_str("{ ");
            for (index, (key, value)) in pairs(mapping).into_iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                out.push_str(key);
                out.push_str(": ");
                write(value, is_secret || holds_secrets(key, value), out);
            }
            out.push_str(" }");
        }
        Value::Sequence(items) => {
            out.push('[');
            for (index, value) in items.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write(value, is_secret, out);
            }
            out.push(']');
        }
        _ if is_secret => out.push_str(SECRET),
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(text) | Value::String(text) => out.push_str(text),
        Value::Tagged(tag) => out.push_str(tag),
    }
}
