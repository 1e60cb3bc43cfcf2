//! The schema walked over a tree: what is wrong is told, and what cannot be read is replaced.
//!
//! It tells what decoding refuses, and nothing else: keys, kinds of values, scalars and words. Bounds of
//! lists, and which keys exclude or need each other, are for editors in the schema, and are told by who
//! gives the configuration its meaning.

mod choice;
mod example;

use serde_json::Value as Json;

use crate::problem::Found;
use crate::spec::scalar::{self, KEYS, Refusal, SCALAR, not_text};
use crate::tree::{Node, Place, Sink, nearest, quoted};
use crate::value::{Mapping, Value};

/// A walk over one tree.
pub(super) struct Repair<'s, 'p> {
    root: &'s Json,
    sink: &'p mut Sink,
    replaced: Vec<String>,
}

impl<'s, 'p> Repair<'s, 'p> {
    pub(super) fn new(root: &'s Json, sink: &'p mut Sink) -> Self {
        Self { root, sink, replaced: Vec::new() }
    }

    /// The value with what is wrong taken out or replaced.
    pub(super) fn value(&mut self, node: Node<'_>) -> Value {
        self.walk(self.root, node)
    }

    /// The places that were replaced.
    pub(super) fn end(self) -> Vec<String> {
        self.replaced
    }

    fn tell(&mut self, place: &Place<'_>, refusal: Refusal) {
        let Refusal { what, fix } = refusal;
        self.sink.push(Found::error(place.file(), place.to_string(), what, fix));
    }

    /// Tells what is wrong with a value, and stands an example in for it.
    fn replace(&mut self, schema: &Json, place: &Place<'_>, refusal: Refusal) -> Value {
        self.tell(place, refusal);
        self.stand_in(schema, place)
    }

    fn stand_in(&mut self, schema: &Json, place: &Place<'_>) -> Value {
        self.replaced.push(place.to_string());
        example::of(self.root, schema)
    }

    fn walk(&mut self, schema: &Json, node: Node<'_>) -> Value {
        let schema = resolved(self.root, schema);
        if let Some(name) = schema.get(SCALAR).and_then(Json::as_str) {
            return match scalar::check_of(name).map(|check| check(node.value)) {
                Some(Err(refusal)) => self.replace(schema, &node.place, refusal),
                _ => node.value.clone(),
            };
        }
        if schema.get("properties").is_none()
            && let Some(choices) = choices(schema)
        {
            return self.choice(schema, choices, node);
        }
        let refusal = match schema.get("type").and_then(Json::as_str) {
            Some("object") => return self.object(schema, node),
            Some("array") => return self.list(schema, node),
            Some("integer") => whole_number(schema, node.value),
            Some("boolean") => flag(node.value),
            Some("string") if schema.get("enum").is_some() => {
                return self.choice(schema, std::slice::from_ref(schema), node);
            }
            Some("string") => (!node.value.is_string()).then(|| not_text(node.value)),
            _ => one_of_types(schema, node.value),
        };
        match refusal {
            Some(refusal) => self.replace(schema, &node.place, refusal),
            None => node.value.clone(),
        }
    }

    fn list(&mut self, schema: &Json, node: Node<'_>) -> Value {
        let Value::Sequence(items) = node.value else {
            let refusal = Refusal::new(format!("is {}", node.value.shown()), "write a list");
            return self.replace(schema, &node.place, refusal);
        };
        let items = items.iter().enumerate().map(|(index, value)| {
            self.walk(&schema["items"], Node { value, place: Place::Item(&node.place, index) })
        });
        Value::Sequence(items.collect())
    }

    fn object(&mut self, schema: &Json, node: Node<'_>) -> Value {
        let Value::Mapping(mapping) = node.value else {
            let what = format!("is {}", node.value.shown());
            let refusal = Refusal::new(what, "write a mapping of keys and values");
            return self.replace(schema, &node.place, refusal);
        };
        let mut repaired = Mapping::default();
        for (key, value) in mapping.iter() {
            let key = match (key, schema.get(KEYS)) {
                (Value::String(key), _) | (Value::Number(key), Some(_)) => key,
                _ => {
                    let what = format!("has the key {}", key.shown());
                    let fix = "keys are strings: put it in quotes";
                    self.tell(&node.place, Refusal::new(what, fix));
                    continue;
                }
            };
            // A second value under a key was told when the tree was made.
            if repaired.contains_key(key) {
                continue;
            }
            let child = Node { value, place: Place::Key(&node.place, key) };
            if let Some(name) = schema.get(KEYS).and_then(Json::as_str) {
                let check = scalar::check_of(name);
                match check.map(|check| check(&Value::String(key.clone()))) {
                    Some(Err(refusal)) => self.tell(&child.place, refusal),
                    _ => {
                        let of_all = schema["patternProperties"].as_object();
                        let of_all = of_all.and_then(|all| all.values().next());
                        let value = self.walk(of_all.unwrap_or(&Json::Null), child);
                        repaired.insert(key, value);
                    }
                }
                continue;
            }
            if let Some(schema) = schema["properties"].get(&**key) {
                let value = self.walk(schema, child);
                repaired.insert(key, value);
                continue;
            }
            match schema.get("additionalProperties") {
                Some(Json::Bool(false)) => self.unknown(&keys(schema), key, &child.place),
                Some(of_all) => {
                    let value = self.walk(of_all, child);
                    repaired.insert(key, value);
                }
                None => repaired.insert(key, value.clone()),
            }
        }
        let required = schema.get("required").and_then(Json::as_array).into_iter().flatten();
        for key in required.filter_map(Json::as_str) {
            if !repaired.contains_key(key) {
                let refusal = Refusal::new(format!("has no `{key}`"), format!("add `{key}:`"));
                self.tell(&node.place, refusal);
                let place = Place::Key(&node.place, key);
                repaired.insert(key, self.stand_in(&schema["properties"][key], &place));
            }
        }
        Value::Mapping(repaired)
    }

    fn unknown(&mut self, known: &[&str], key: &str, place: &Place<'_>) {
        let fix = match nearest(key, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "remove it: there are no keys here".to_owned(),
            None => format!("known keys here: {}", quoted(known)),
        };
        self.tell(place, Refusal::new(format!("unknown key `{key}`"), fix));
    }
}

/// The schema itself, where it is a reference to a definition.
fn resolved<'s>(root: &'s Json, schema: &'s Json) -> &'s Json {
    let mut schema = schema;
    while let Some(to) = schema.get("$ref").and_then(Json::as_str) {
        match root.pointer(to.trim_start_matches('#')) {
            Some(found) => schema = found,
            None => break,
        }
    }
    schema
}

/// What a value may be, where it may be several things.
fn choices(schema: &Json) -> Option<&[Json]> {
    let choices = schema.get("oneOf").or_else(|| schema.get("anyOf"))?;
    choices.as_array().map(Vec::as_slice)
}

fn keys(schema: &Json) -> Vec<&str> {
    let properties = schema.get("properties").and_then(Json::as_object);
    properties.into_iter().flat_map(|keys| keys.keys()).map(String::as_str).collect()
}

/// Why a value is no whole number that `schema` takes.
fn whole_number(schema: &Json, value: &Value) -> Option<Refusal> {
    let number = |key: &str| schema.get(key).and_then(Json::as_u64);
    let known = schema.get("enum").and_then(Json::as_array);
    let (least, most) = (number("minimum").unwrap_or(0), number("maximum").unwrap_or(u64::MAX));
    let fits = |number: u64| match known {
        Some(known) => known.iter().any(|known| known.as_u64() == Some(number)),
        None => (least..=most).contains(&number),
    };
    if value.as_u64().is_some_and(fits) {
        return None;
    }
    let quoted = value.as_str().and_then(|text| text.parse().ok()).filter(|number| fits(*number));
    let fix = match (quoted, known) {
        (Some(number), _) => format!("write {number} without quotes"),
        (None, Some(known)) => {
            format!("write {}", listed(&known.iter().map(Json::to_string).collect::<Vec<_>>()))
        }
        (None, None) => format!("write a whole number from {least} to {most}"),
    };
    Some(Refusal::new(format!("is {}", value.shown()), fix))
}

/// Why a value is neither `true` nor `false`.
fn flag(value: &Value) -> Option<Refusal> {
    let fix = match value {
        Value::Bool(_) => return None,
        Value::String(text) if matches!(&**text, "true" | "false") => {
            format!("write {text} without quotes")
        }
        _ => "write true or false".to_owned(),
    };
    Some(Refusal::new(format!("is {}", value.shown()), fix))
}

/// Why a value is of none of the types that `schema` lists.
fn one_of_types(schema: &Json, value: &Value) -> Option<Refusal> {
    let types = schema.get("type")?.as_array()?;
    let is = |kind: &str| types.iter().any(|known| known == kind);
    let fits = match value {
        Value::String(_) => is("string"),
        Value::Sequence(_) => is("array"),
        Value::Mapping(_) => is("object"),
        Value::Bool(_) => is("boolean"),
        Value::Number(_) => is("integer") || is("number"),
        Value::Null | Value::Tagged(_) => false,
    };
    (!fits).then(|| not_text(value))
}

/// Words as a sentence lists them: `a, b or c`.
fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
