//! Values that a schema takes, to stand in for what cannot be read and to show what to write.

use serde_json::{Map, Value as Json};

use super::resolved;
use crate::value::Value;

/// An example of what `schema` takes, with the keys that are required.
pub(super) fn of(root: &Json, schema: &Json) -> Value {
    serde_json::from_value(json(root, schema)).unwrap_or(Value::Null)
}

fn json(root: &Json, schema: &Json) -> Json {
    let schema = resolved(root, schema);
    let first = |key: &str| schema.get(key).and_then(|examples| examples.get(0));
    if let Some(example) =
        first("examples").or_else(|| schema.get("const")).or_else(|| first("enum"))
    {
        return example.clone();
    }
    if schema.get("properties").is_none()
        && let Some(choice) = first("oneOf").or_else(|| first("anyOf"))
    {
        return json(root, choice);
    }
    match schema.get("type").and_then(Json::as_str) {
        Some("array") => Json::Array(Vec::new()),
        Some("integer") => schema.get("minimum").cloned().unwrap_or_else(|| 0.into()),
        Some("boolean") => false.into(),
        Some("string") => "".into(),
        _ => {
            let required = schema.get("required").and_then(Json::as_array).into_iter().flatten();
            let entries = required.filter_map(Json::as_str);
            let entry = |key: &str| (key.to_owned(), json(root, &schema["properties"][key]));
            Json::Object(entries.map(entry).collect::<Map<_, _>>())
        }
    }
}

/// An example as one writes it within a line.
pub(super) fn flow(root: &Json, schema: &Json) -> String {
    written(&json(root, schema))
}

fn written(value: &Json) -> String {
    match value {
        Json::Object(entries) if entries.is_empty() => "{}".to_owned(),
        Json::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| format!("{key}: {}", written(value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}
