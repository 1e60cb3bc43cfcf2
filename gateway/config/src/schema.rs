//! The JSON Schema of declared types, as editors and validators take it.
//!
//! The types derive it; this says what a derive cannot: that a key which is written holds a value
//! (`null` is none), which keys exclude or need each other, and which numbers a text may hold.

mod pattern;
mod structural;

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
pub use schemars::{self, JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::spec::{AccessLog, FilterEntry, Spec};

pub(crate) use pattern::numbers;
pub use structural::structural;

/// The schema of `T`, self-contained, by JSON Schema 2020-12.
#[must_use]
pub fn of<T: JsonSchema>() -> Schema {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    RecursiveTransform(tidy).transform(&mut schema);
    schema
}

/// How a kind of filter says what may be set of it.
pub type SettingsSchema = fn(&mut SchemaGenerator) -> Schema;

/// The schema of `T` as settings of a kind of filters.
pub fn settings<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The schema of a gateway's configuration, with these kinds of filters and what may be set of each.
#[must_use]
pub fn of_gateway<'k>(kinds: impl IntoIterator<Item = (&'k str, SettingsSchema)>) -> Schema {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let kinds = kinds.into_iter().map(|(kind, settings)| (kind, settings(&mut generator)));
    let kinds = kinds.collect::<Vec<_>>();
    let mut schema = generator.into_root_schema_for::<Spec>();
    if let Some(entry) = schema.pointer_mut(&format!("/$defs/{}", FilterEntry::schema_name())) {
        let name = entry["properties"]["name"].clone();
        entry["properties"] = json!({ "name": name });
        for (kind, settings) in &kinds {
            let description = format!("A filter of the kind `{kind}`, or `off`.");
            let choices = json!([{ "const": "off" }, settings]);
            entry["properties"][*kind] = json!({ "description": description, "oneOf": choices });
        }
        entry["additionalProperties"] = false.into();
        entry["oneOf"] = kinds.iter().map(|(kind, _)| required(kind)).collect();
    }
    let access_log = kinds.iter().find(|(kind, _)| *kind == AccessLog::KIND);
    if let Some(entry) = schema.pointer_mut(&format!("/$defs/{}", AccessLog::NAME))
        && let Some((_, settings)) = access_log
    {
        *entry = settings.clone().into();
    }
    RecursiveTransform(tidy).transform(&mut schema);
    RecursiveTransform(take_references).transform(&mut schema);
    schema
}

/// Lets a reference stand for a text with a pattern: what it stands for is not known to an editor.
fn take_references(schema: &mut Schema) {
    if schema.get("type").is_some_and(|kind| kind == "string")
        && let Some(Value::String(pattern)) = schema.get_mut("pattern")
    {
        *pattern = format!("(?:{pattern})|[$][{{](?:env|file):[^}}]+[}}]");
    }
}

/// Takes the `null` out that stands for a key which is not written: a file leaves the key out. And
/// describes the key of a choice as the choice is.
fn tidy(schema: &mut Schema) {
    match schema.get_mut("default") {
        Some(Value::Null) => drop(schema.remove("default")),
        Some(default) => drop_null(default),
        None => {}
    }
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = description.replace('\n', " ");
    }
    let description = schema.get("description").cloned();
    if let (Some(Value::Object(properties)), Some(description)) =
        (schema.get_mut("properties"), description)
        && properties.len() == 1
    {
        for property in properties.values_mut().filter_map(Value::as_object_mut) {
            property.entry("description").or_insert_with(|| description.clone());
        }
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            schema.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    let Some(Value::Array(choices)) = schema.get_mut("anyOf") else { return };
    choices.retain(|choice| choice["type"] != "null");
    if let [Value::Object(only)] = &mut choices[..] {
        let only = std::mem::take(only);
        schema.remove("anyOf");
        for (key, value) in only {
            schema.ensure_object().entry(key).or_insert(value);
        }
    }
}

fn drop_null(value: &mut Value) {
    if let Value::Object(entries) = value {
        entries.retain(|_, value| !value.is_null());
        entries.values_mut().for_each(drop_null);
    }
}

fn required(key: &str) -> Value {
    json!({ "required": [key] })
}

fn add(schema: &mut Schema, condition: Value) {
    let all = schema.ensure_object().entry("allOf").or_insert_with(|| json!([]));
    if let Value::Array(all) = all {
        all.push(condition);
    }
}

/// Demands exactly one of `keys`.
pub fn exactly_one(keys: &'static [&'static str]) -> impl FnMut(&mut Schema) {
    move |schema| {
        let choices = keys.iter().map(|key| required(key)).collect::<Vec<_>>();
        schema.insert("oneOf".into(), choices.into());
    }
}

/// Allows one of `keys` or none.
pub fn at_most_one(keys: &'static [&'static str]) -> impl FnMut(&mut Schema) {
    move |schema| {
        let mut choices = keys.iter().map(|key| required(key)).collect::<Vec<_>>();
        choices.push(json!({ "not": { "anyOf": choices } }));
        schema.insert("oneOf".into(), choices.into());
    }
}

/// Demands one of `keys` or more.
pub fn at_least_one(keys: &'static [&'static str]) -> impl FnMut(&mut Schema) {
    move |schema| {
        let choices = keys.iter().map(|key| required(key)).collect::<Vec<_>>();
        schema.insert("anyOf".into(), choices.into());
    }
}

/// Allows `key` only beside `other`.
pub fn needs(key: &'static str, other: &'static str) -> impl FnMut(&mut Schema) {
    move |schema| {
        let needed = schema.ensure_object().entry("dependentRequired").or_insert_with(|| json!({}));
        needed[key] = json!([other]);
    }
}

/// Allows `key` only where `other` holds one of `values`.
pub fn only_with(
    key: &'static str,
    other: &'static str,
    values: impl Into<Value>,
) -> impl FnMut(&mut Schema) {
    let values = values.into();
    move |schema| {
        let allowed = json!({ "properties": { other: { "enum": values } }, "required": [other] });
        add(schema, json!({ "if": required(key), "then": allowed }));
    }
}

/// Refuses objects that are as `condition` says.
pub fn never(condition: Value) -> impl FnMut(&mut Schema) {
    move |schema| add(schema, json!({ "not": condition }))
}

/// Takes the names of header fields as keys, but for `others`, in whatever case.
pub fn field_names_but(others: &'static [&'static str]) -> impl FnMut(&mut Schema) {
    let either = |letter: char| match letter.is_ascii_alphabetic() {
        true => format!("[{letter}{}]", letter.to_ascii_uppercase()),
        false => letter.to_string(),
    };
    let others = others.iter().map(|name| name.chars().map(either).collect::<String>());
    let pattern =
        format!("^(?!(?:{})$)[!#$%&'*+.^_`|~0-9A-Za-z-]+$", others.collect::<Vec<_>>().join("|"));
    move |schema| {
        schema.insert("propertyNames".into(), json!({ "pattern": pattern }));
    }
}

/// Every key of `schema` without a description, by its place in the schema.
#[must_use]
pub fn undescribed(schema: &Schema) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(schema) = schema.as_object() {
        look(schema, "", &mut found);
    }
    found
}

fn look(schema: &Map<String, Value>, place: &str, found: &mut Vec<String>) {
    for (key, value) in schema {
        match value {
            // Conditions on keys that are declared elsewhere.
            _ if ["if", "then", "not", "contains"].contains(&&**key) => {}
            Value::Object(properties) if key == "properties" => {
                for (name, property) in properties {
                    if property.get("description").is_none() {
                        found.push(format!("{place}.{name}"));
                    }
                }
                look(properties, place, found);
            }
            Value::Object(inner) => look(inner, &format!("{place}/{key}"), found),
            Value::Array(items) => {
                for item in items.iter().filter_map(Value::as_object) {
                    look(item, place, found);
                }
            }
            _ => {}
        }
    }
}
