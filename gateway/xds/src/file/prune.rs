//! Leaving out what the descriptors do not know, and telling it.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use sallyport_config::{Mapping, Value};

use crate::descriptors;
use crate::findings::{Findings, Outcome};

/// The key that says the type of a message that may be any.
const TYPE: &str = "@type";

const ANY: &str = "google.protobuf.Any";

/// A message without the fields that it does not have.
pub(super) fn message(
    value: &Value,
    descriptor: &MessageDescriptor,
    place: &str,
    findings: &Findings,
) -> Value {
    let Value::Mapping(map) = value else { return value.clone() };
    if descriptor.full_name() == ANY {
        return any(map, place, findings).unwrap_or(Value::Null);
    }
    // Those with a form of their own in JSON: durations, wrappers, structs.
    if descriptor.full_name().starts_with("google.protobuf.") {
        return value.clone();
    }
    let mut kept = Mapping::default();
    for (key, value) in map.iter() {
        let Some(name) = key.as_str().filter(|name| *name != TYPE) else { continue };
        let place = if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
        let field = descriptor.get_field_by_name(name);
        let Some(field) = field.or_else(|| descriptor.get_field_by_json_name(name)) else {
            let what = format!("is no field of {}", descriptor.full_name());
            findings.note(Outcome::Refused, &place, what);
            continue;
        };
        match self::field(value, &field, &place, findings) {
            Value::Null => {}
            value => kept.insert(name, value),
        }
    }
    Value::Mapping(kept)
}

fn field(value: &Value, field: &FieldDescriptor, place: &str, findings: &Findings) -> Value {
    let Kind::Message(descriptor) = field.kind() else { return value.clone() };
    match value {
        Value::Mapping(map) if field.is_map() => {
            let of = descriptor.map_entry_value_field();
            let mut kept = Mapping::default();
            for (key, value) in map.iter() {
                let Some(key) = key.as_str() else { continue };
                match self::field(value, &of, &format!("{place}.{key}"), findings) {
                    Value::Null => {}
                    value => kept.insert(key, value),
                }
            }
            Value::Mapping(kept)
        }
        Value::Sequence(items) if field.is_list() => {
            let items = items.iter().enumerate().map(|(index, item)| {
                message(item, &descriptor, &format!("{place}[{index}]"), findings)
            });
            Value::Sequence(items.filter(|item| *item != Value::Null).collect())
        }
        value => message(value, &descriptor, place, findings),
    }
}

/// A message of the type that it names; `None` if that is not known.
fn any(map: &Mapping, place: &str, findings: &Findings) -> Option<Value> {
    let Some(url) = map.get(TYPE).and_then(Value::as_str) else {
        findings.note(
            Outcome::Refused,
            place,
            "does not say of what type it is, write `\"@type\"`",
        );
        return None;
    };
    let name = url.rsplit('/').next().unwrap_or_default();
    let Some(descriptor) = descriptors::message(name) else {
        findings.note(Outcome::Refused, place, format!("{name:?} is not known here"));
        return None;
    };
    if name.starts_with("google.protobuf.") {
        return Some(Value::Mapping(map.clone()));
    }
    let Value::Mapping(within) =
        message(&Value::Mapping(map.clone()), &descriptor, place, findings)
    else {
        return None;
    };
    let mut kept = Mapping::default();
    kept.insert(TYPE, Value::String(url.into()));
    for (key, value) in within.iter() {
        kept.insert(key.as_str().unwrap_or_default(), value.clone());
    }
    Some(Value::Mapping(kept))
}
