//! JSON Schema as Kubernetes takes it in a CustomResourceDefinition: structural schemas.
//!
//! A structural schema has one type for each value, no references and no conditions. What such a
//! schema can say of a declared type is kept: keys, types, bounds, words and descriptions. Where a
//! value may be of several types, anything is let through: the gateway says what is wrong with it.

use serde_json::{Map, Value, json};

/// Lets anything through, and keeps it.
const ANYTHING: &str = "x-kubernetes-preserve-unknown-fields";

/// Types within types beyond this are let through; none that is declared is as deep.
const DEPTH_MAX: usize = 24;

/// Patterns beyond this are more than a reader of a definition bears.
const PATTERN_BYTES_MAX: usize = 256;

/// What stands behind a pattern that a reference to the environment or a file may take the place of:
/// in a cluster there are none.
const OR_REFERENCE: &str = ")|[$][{](?:env|file):[^}]+[}]";

/// The structural schema of what is at `pointer` of `root`, a schema with its definitions.
#[must_use]
pub fn structural(root: &Value, pointer: &str) -> Value {
    let node = root.pointer(pointer).unwrap_or(&Value::Null);
    Value::Object(convert(root, node, 0))
}

fn anything(description: Option<Value>) -> Map<String, Value> {
    let mut schema = Map::new();
    schema.extend(description.map(|it| ("description".to_owned(), it)));
    schema.insert(ANYTHING.into(), true.into());
    schema
}

/// `node` with the definition that it refers to, whose keys its own take the place of.
fn resolved(root: &Value, node: &Value) -> Map<String, Value> {
    let mut found = node.as_object().cloned().unwrap_or_default();
    for _ in 0..DEPTH_MAX {
        let Some(Value::String(reference)) = found.remove("$ref") else { break };
        let pointer = reference.strip_prefix('#').unwrap_or_default();
        let definition = root.pointer(pointer).and_then(Value::as_object);
        for (key, value) in definition.into_iter().flatten() {
            found.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    found
}

fn convert(root: &Value, node: &Value, depth: usize) -> Map<String, Value> {
    let node = resolved(root, node);
    let said = node.get("description").or_else(|| node.get("errorMessage")).cloned();
    if depth > DEPTH_MAX {
        return anything(said);
    }
    let choices = node.get("oneOf").or_else(|| node.get("anyOf")).and_then(Value::as_array);
    let choices: Vec<_> = choices.into_iter().flatten().map(|it| resolved(root, it)).collect();
    let is_condition = choices.iter().all(|it| it.keys().all(|key| key == "required"));
    let mut schema = match (is_condition, node.get("type").and_then(Value::as_str)) {
        (false, _) => choice(root, &choices, depth),
        (true, Some("object")) => object(root, &node, depth),
        (true, Some("array")) => array(root, &node, depth),
        (true, Some("string")) => string(&node),
        (true, Some(kind @ ("integer" | "number"))) => number(kind, &node),
        (true, Some("boolean")) => Map::from_iter([("type".to_owned(), "boolean".into())]),
        (true, _) => return anything(said),
    };
    schema.extend(said.map(|said| ("description".to_owned(), said)));
    if is_condition && !choices.is_empty() {
        let key = if node.contains_key("oneOf") { "oneOf" } else { "anyOf" };
        schema.insert(key.into(), choices.into_iter().map(Value::Object).collect());
    }
    schema
}

/// One of several: words, or the keys of objects of which one is written. Of all else nothing can be
/// said.
fn choice(root: &Value, choices: &[Map<String, Value>], depth: usize) -> Map<String, Value> {
    let words: Option<Vec<_>> = choices.iter().map(|it| it.get("const").cloned()).collect();
    if let Some(words) = words.filter(|words| words.iter().all(Value::is_string)) {
        let words = [("type", json!("string")), ("enum", words.into())];
        return words.map(|(key, value)| (key.to_owned(), value)).into_iter().collect();
    }
    let is_tagged = |it: &Map<String, Value>| {
        let properties = it.get("properties").and_then(Value::as_object);
        it.get("type").is_some_and(|kind| kind == "object")
            && properties.is_some_and(|it| it.len() == 1)
    };
    if !choices.iter().all(is_tagged) {
        return anything(None);
    }
    let (mut properties, mut keys) = (Map::new(), Vec::new());
    for choice in choices {
        for (key, value) in choice["properties"].as_object().into_iter().flatten() {
            properties.insert(key.clone(), convert(root, value, depth + 1).into());
            keys.push(json!({ "required": [key] }));
        }
    }
    let fields =
        [("type", json!("object")), ("properties", properties.into()), ("oneOf", keys.into())];
    fields.map(|(key, value)| (key.to_owned(), value)).into_iter().collect()
}

fn object(root: &Value, node: &Map<String, Value>, depth: usize) -> Map<String, Value> {
    let mut schema = Map::from_iter([("type".to_owned(), json!("object"))]);
    let properties = node.get("properties").and_then(Value::as_object);
    let properties = properties.filter(|properties| !properties.is_empty());
    match (properties, node.get("additionalProperties")) {
        (Some(properties), _) => {
            let converted = properties
                .iter()
                .map(|(key, value)| (key.clone(), convert(root, value, depth + 1).into()));
            schema.insert("properties".into(), Value::Object(converted.collect()));
            take(node, &["required"], &mut schema);
        }
        (None, Some(Value::Object(values))) => {
            let values = convert(root, &Value::Object(values.clone()), depth + 1);
            schema.insert("additionalProperties".into(), values.into());
        }
        // An object without keys.
        (None, Some(Value::Bool(false))) => {}
        (None, _) => drop(schema.insert(ANYTHING.into(), true.into())),
    }
    take(node, &["minProperties", "maxProperties"], &mut schema);
    schema
}

fn array(root: &Value, node: &Map<String, Value>, depth: usize) -> Map<String, Value> {
    let mut schema = Map::from_iter([("type".to_owned(), json!("array"))]);
    let items = node.get("items").map(|items| convert(root, items, depth + 1));
    schema.insert("items".into(), items.unwrap_or_else(|| anything(None)).into());
    take(node, &["minItems", "maxItems"], &mut schema);
    schema
}

fn string(node: &Map<String, Value>) -> Map<String, Value> {
    let mut schema = Map::from_iter([("type".to_owned(), json!("string"))]);
    take(node, &["minLength", "maxLength", "enum"], &mut schema);
    if let Some(word) = node.get("const") {
        schema.insert("enum".into(), json!([word]));
    }
    let pattern = node.get("pattern").and_then(Value::as_str).map(|pattern| {
        let bare = pattern.strip_prefix("(?:").and_then(|it| it.strip_suffix(OR_REFERENCE));
        bare.unwrap_or(pattern)
    });
    // RE2 looks neither ahead nor behind.
    let is_known = |it: &&str| !["(?!", "(?=", "(?<"].iter().any(|around| it.contains(around));
    if let Some(pattern) = pattern.filter(is_known).filter(|it| it.len() <= PATTERN_BYTES_MAX) {
        schema.insert("pattern".into(), pattern.into());
    }
    schema
}

fn number(kind: &str, node: &Map<String, Value>) -> Map<String, Value> {
    let mut schema = Map::from_iter([("type".to_owned(), json!(kind))]);
    take(node, &["minimum", "maximum"], &mut schema);
    // What does not fit is no bound.
    schema.retain(|_, value| value.as_u64().is_none_or(|it| i64::try_from(it).is_ok()));
    schema
}

fn take(node: &Map<String, Value>, keys: &[&str], schema: &mut Map<String, Value>) {
    for key in keys {
        schema.extend(node.get(*key).map(|value| ((*key).to_owned(), value.clone())));
    }
}

#[cfg(test)]
mod tests;
