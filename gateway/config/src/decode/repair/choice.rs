//! Values that may be one of several things: words, mappings that one key tells apart, lists.

use serde_json::Value as Json;

use super::{Repair, example, keys, listed, resolved};
use crate::spec::scalar::{Refusal, not_text};
use crate::tree::{Node, Place, quoted};
use crate::value::{Mapping, Value};

/// What one choice is.
enum Choice<'s> {
    /// One of these words.
    Words(Vec<&'s str>),
    /// A mapping with this one key.
    Key(&'s str, &'s Json),
    /// Anything else, known by its type.
    Other(&'s Json),
}

impl<'s> Choice<'s> {
    fn of(root: &'s Json, schema: &'s Json) -> Vec<Self> {
        let schema = resolved(root, schema);
        if let Some(word) = schema.get("const").and_then(Json::as_str) {
            return vec![Self::Words(vec![word])];
        }
        if let Some(words) = schema.get("enum").and_then(Json::as_array) {
            return vec![Self::Words(words.iter().filter_map(Json::as_str).collect())];
        }
        if schema.get("properties").is_none()
            && let Some(choices) = super::choices(schema)
        {
            return choices.iter().flat_map(|choice| Self::of(root, choice)).collect();
        }
        let required = schema.get("required").and_then(Json::as_array);
        match (&keys(schema)[..], required.map(Vec::as_slice)) {
            ([key], Some([only])) if only == key => {
                vec![Self::Key(key, &schema["properties"][key])]
            }
            _ => vec![Self::Other(schema)],
        }
    }

    fn shown(&self, root: &Json) -> Vec<String> {
        match self {
            Self::Words(words) => words.iter().map(|word| as_written(word)).collect(),
            Self::Key(key, schema) => {
                vec![format!("{{ {key}: {} }}", example::flow(root, schema))]
            }
            Self::Other(schema) if schema["type"] == "array" => Vec::new(),
            Self::Other(schema) => vec![example::flow(root, schema)],
        }
    }
}

impl Repair<'_, '_> {
    pub(super) fn choice(&mut self, schema: &Json, choices: &[Json], node: Node<'_>) -> Value {
        let root = self.root;
        let choices: Vec<_> = choices.iter().flat_map(|choice| Choice::of(root, choice)).collect();
        let known = choices.iter().filter_map(|choice| match choice {
            Choice::Key(key, schema) => Some((*key, *schema)),
            _ => None,
        });
        let known: Vec<_> = known.collect();
        let words = choices.iter().filter_map(|choice| match choice {
            Choice::Words(words) => Some(words),
            _ => None,
        });
        let is_word = |text: &str| words.clone().flatten().any(|word| *word == text);
        let others = choices.iter().filter_map(|choice| match choice {
            Choice::Other(schema) => Some(*schema),
            _ => None,
        });
        let fitting = others.clone().find(|schema| takes(schema, node.value));
        match node.value {
            Value::String(text) if is_word(text) => node.value.clone(),
            Value::Mapping(mapping) if !known.is_empty() => {
                self.by_key(schema, &known, mapping, node)
            }
            _ if fitting.is_some() => self.walk(fitting.unwrap_or(schema), node),
            _ => {
                let refusal = refusal(root, schema, &choices, node.value);
                self.replace(schema, &node.place, refusal)
            }
        }
    }

    /// A mapping of which one key tells what it is.
    fn by_key(
        &mut self,
        schema: &Json,
        known: &[(&str, &Json)],
        mapping: &Mapping,
        node: Node<'_>,
    ) -> Value {
        let names: Vec<_> = known.iter().map(|(key, _)| *key).collect();
        let mut read: Vec<(&str, Value)> = Vec::new();
        let mut told = false;
        for (key, value) in mapping.iter() {
            let Value::String(key) = key else {
                let what = format!("has the key {}", key.shown());
                self.tell(&node.place, Refusal::new(what, "keys are strings: put it in quotes"));
                told = true;
                continue;
            };
            let place = Place::Key(&node.place, key);
            match known.iter().find(|(name, _)| *name == &**key) {
                Some((name, schema)) => {
                    let value = self.walk(schema, Node { value, place });
                    if read.iter().all(|(before, _)| before != name) {
                        read.push((name, value));
                    }
                }
                None => {
                    self.unknown(&names, key, &place);
                    told = true;
                }
            }
        }
        let written: Vec<_> = read.iter().map(|(key, _)| *key).collect();
        match &written[..] {
            [_] => {}
            // An unknown key says more than a missing one.
            [] if told => return self.stand_in(schema, &node.place),
            [] => {
                let what = format!("has none of {}", quoted(&names));
                return self.replace(
                    schema,
                    &node.place,
                    Refusal::new(what, "write exactly one of them"),
                );
            }
            several => {
                let what = format!("has {} together", quoted(several));
                self.tell(&node.place, Refusal::new(what, "write exactly one of them"));
                self.replaced.push(node.place.to_string());
            }
        }
        let mut repaired = Mapping::default();
        for (key, value) in read.into_iter().take(1) {
            repaired.insert(key, value);
        }
        Value::Mapping(repaired)
    }
}

/// A word as it is written: in quotes where YAML would take it for a number.
fn as_written(word: &str) -> String {
    match word.parse::<f64>() {
        Ok(_) => format!("{word:?}"),
        Err(_) => word.to_owned(),
    }
}

/// Whether `schema` is for values of this kind.
fn takes(schema: &Json, value: &Value) -> bool {
    let is = |kind: &str| match &schema["type"] {
        Json::String(known) => known == kind,
        Json::Array(known) => known.iter().any(|known| known == kind),
        _ => false,
    };
    match value {
        Value::String(_) => is("string"),
        Value::Sequence(_) => is("array"),
        Value::Mapping(_) => is("object"),
        Value::Bool(_) => is("boolean"),
        Value::Number(_) => is("integer"),
        Value::Null | Value::Tagged(_) => false,
    }
}

/// Why `value` is none of `choices`.
fn refusal(root: &Json, schema: &Json, choices: &[Choice<'_>], value: &Value) -> Refusal {
    let shown: Vec<_> = choices.iter().flat_map(|choice| choice.shown(root)).collect();
    let fix = match schema.get("errorMessage").and_then(Json::as_str) {
        Some(remedy) => remedy.to_owned(),
        None => format!("write {}", listed(&shown)),
    };
    let are_words = choices.iter().all(|choice| matches!(choice, Choice::Words(_)));
    match value {
        Value::String(text) => {
            let wrong = match (schema.get("x-wrong"), schema.get("title")) {
                (Some(wrong), _) => wrong.as_str().unwrap_or_default().to_owned(),
                (_, Some(title)) => format!("is no {}", title.as_str().unwrap_or_default()),
                _ => "is none of them".to_owned(),
            };
            Refusal::new(format!("{text:?}: {wrong}"), fix)
        }
        Value::Number(_) | Value::Bool(_) if are_words => match not_text(value) {
            refusal if shown.contains(&format!("\"{}\"", value.shown())) => refusal,
            refusal => Refusal::new(refusal.what, fix),
        },
        _ => Refusal::new(format!("is {}", value.shown()), fix),
    }
}
