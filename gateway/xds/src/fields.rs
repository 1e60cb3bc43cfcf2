//! Reading a message field by field, so that nothing in it is overlooked.
//!
//! A field counts as taken once it is read. What is set and was not read by the time the reader
//! goes out of scope is refused by its name: a field that the translation does not know can
//! therefore never be passed over in silence, and no list of supported fields can go out of date.

use std::borrow::Cow;
use std::cell::RefCell;
use std::time::Duration;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage as _, Value};

use crate::descriptors;
use crate::findings::{Findings, Outcome};
use crate::resources::ResourceKind;

/// The message that holds any other.
const ANY: &str = "google.protobuf.Any";

/// The fields of one message.
pub(crate) struct Fields<'m> {
    message: Cow<'m, DynamicMessage>,
    place: String,
    /// The numbers of the fields that were asked for.
    read: RefCell<Vec<u32>>,
    findings: &'m Findings,
}

impl<'m> Fields<'m> {
    /// Reads `message`, which stands at `place`.
    pub(crate) fn new(
        message: &'m DynamicMessage,
        place: impl Into<String>,
        findings: &'m Findings,
    ) -> Self {
        Self::of(Cow::Borrowed(message), place.into(), findings)
    }

    fn of(message: Cow<'m, DynamicMessage>, place: String, findings: &'m Findings) -> Self {
        Self { message, place, read: RefCell::default(), findings }
    }

    /// The message itself.
    pub(crate) fn as_message(&self) -> &DynamicMessage {
        &self.message
    }

    /// Where the message stands.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Where the field `name` stands.
    pub(crate) fn place_of(&self, name: &str) -> String {
        if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) }
    }

    /// The full name of the message's type.
    pub(crate) fn type_name(&self) -> String {
        self.message.descriptor().full_name().to_owned()
    }

    /// The message itself, for who keeps it.
    pub(crate) fn owned(&self) -> DynamicMessage {
        self.message.clone().into_owned()
    }

    /// Whether the field is set. It is not read by that.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.descriptor(name).is_some_and(|field| self.message.has_field(&field))
    }

    fn descriptor(&self, name: &str) -> Option<FieldDescriptor> {
        let field = self.message.descriptor().get_field_by_name(name);
        debug_assert!(field.is_some(), "{} has no field {name}", self.type_name());
        field
    }

    /// The value of a field that is set, without counting it.
    fn look(&self, name: &str) -> Option<&Value> {
        let field = self.descriptor(name)?;
        self.read.borrow_mut().push(field.number());
        if !self.message.has_field(&field) {
            return None;
        }
        match self.message.get_field(&field) {
            Cow::Borrowed(value) => Some(value),
            Cow::Owned(_) => None,
        }
    }

    fn value(&self, name: &str) -> Option<&Value> {
        let value = self.look(name)?;
        self.findings.count();
        Some(value)
    }

    /// A text that is not empty.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let value = unwrapped(self.value(name)?);
        value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// All texts of a list.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        let items = self.value(name).and_then(Value::as_list).unwrap_or_default();
        items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// A truth value; `None` where it is not set, or where it is `false` and that is what not set
    /// means.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        unwrapped(self.value(name)?).as_bool()
    }

    /// A whole number that is not negative.
    pub(crate) fn uint(&self, name: &str) -> Option<u64> {
        as_uint(&unwrapped(self.value(name)?))
    }

    /// All numbers of a list.
    pub(crate) fn uints(&self, name: &str) -> Vec<u64> {
        let items = self.value(name).and_then(Value::as_list).unwrap_or_default();
        items.iter().filter_map(as_uint).collect()
    }

    /// A number with a fraction, or a percentage.
    pub(crate) fn double(&self, name: &str) -> Option<f64> {
        match &*unwrapped(self.value(name)?) {
            Value::F64(number) => Some(*number),
            Value::F32(number) => Some(f64::from(*number)),
            _ => None,
        }
    }

    /// Bytes that are not empty.
    pub(crate) fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let bytes = self.value(name)?.as_bytes()?;
        (!bytes.is_empty()).then(|| bytes.to_vec())
    }

    /// A time that is not negative.
    pub(crate) fn time(&self, name: &str) -> Option<Duration> {
        let message = self.value(name)?.as_message()?;
        let part = |name| message.get_field_by_name(name);
        let seconds = part("seconds").and_then(|value| value.as_i64()).unwrap_or(0);
        let nanos = part("nanos").and_then(|value| value.as_i32()).unwrap_or(0);
        Some(Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanos).ok()?))
    }

    /// The name of the chosen value; `None` where it is the one that not set means.
    pub(crate) fn choice(&self, name: &str) -> Option<String> {
        let number = self.value(name)?.as_enum_number().filter(|number| *number != 0)?;
        let Kind::Enum(choices) = self.descriptor(name)?.kind() else { return None };
        let known = choices.get_value(number).map(|value| value.name().to_owned());
        Some(known.unwrap_or_else(|| number.to_string()))
    }

    /// The fields of a message.
    pub(crate) fn message(&self, name: &str) -> Option<Fields<'_>> {
        let message = self.value(name)?.as_message()?;
        Some(Fields::of(Cow::Borrowed(message), self.place_of(name), self.findings))
    }

    /// The fields of all messages of a list.
    pub(crate) fn messages(&self, name: &str) -> Vec<Fields<'_>> {
        let items = self.value(name).and_then(Value::as_list).unwrap_or_default();
        let messages = items.iter().filter_map(Value::as_message).enumerate();
        let place = self.place_of(name);
        messages
            .map(|(index, message)| {
                Fields::of(Cow::Borrowed(message), format!("{place}[{index}]"), self.findings)
            })
            .collect()
    }

    /// The fields of all messages of a map, in the order of their keys.
    pub(crate) fn entries(&self, name: &str) -> Vec<(String, Fields<'_>)> {
        let Some(map) = self.value(name).and_then(Value::as_map) else { return Vec::new() };
        let place = self.place_of(name);
        let mut entries: Vec<_> = map
            .iter()
            .filter_map(|(key, value)| {
                let (MapKey::String(key), Some(message)) = (key, value.as_message()) else {
                    return None;
                };
                let place = format!("{place}.{key}");
                let fields = Fields::of(Cow::Borrowed(message), place, self.findings);
                Some((key.clone(), fields))
            })
            .collect();
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        entries
    }

    /// The texts of a map, in the order of their keys.
    pub(crate) fn text_entries(&self, name: &str) -> Vec<(String, String)> {
        let Some(map) = self.value(name).and_then(Value::as_map) else { return Vec::new() };
        let text = |(key, value): (&MapKey, &Value)| match (key, value.as_str()) {
            (MapKey::String(key), Some(value)) => Some((key.clone(), value.to_owned())),
            _ => None,
        };
        let mut entries: Vec<_> = map.iter().filter_map(text).collect();
        entries.sort();
        entries
    }

    /// The fields of the message within a field that holds any.
    pub(crate) fn any(&self, name: &str) -> Option<Fields<'_>> {
        self.message(name)?.unpacked()
    }

    /// The fields of the message within, where this one holds any.
    pub(crate) fn unpacked(self) -> Option<Fields<'m>> {
        if self.type_name() != ANY {
            return Some(self);
        }
        let (place, findings) = (self.place.clone(), self.findings);
        let url = self.text("type_url").unwrap_or_default();
        let bytes = self.bytes("value").unwrap_or_default();
        drop(self);
        let name = url.rsplit('/').next().unwrap_or_default();
        let Some(descriptor) = descriptors::message(name) else {
            findings.note(Outcome::Refused, &place, format!("{name:?} is not known here"));
            return None;
        };
        match DynamicMessage::decode(descriptor, &bytes[..]) {
            Ok(message) => Some(Fields::of(Cow::Owned(message), place, findings)),
            Err(error) => {
                findings.note(Outcome::Refused, &place, format!("is no {name}: {error}"));
                None
            }
        }
    }

    /// Leaves a field out, where it is set, for a reason why that is safe.
    pub(crate) fn ignore(&self, name: &str, why: &str) {
        if self.look(name).is_some() {
            self.findings.note(Outcome::Ignored, &self.place_of(name), why);
        }
    }

    /// Leaves all of these fields out, for the same reason.
    pub(crate) fn ignore_all(&self, names: &[&str], why: &str) {
        for name in names {
            self.ignore(name, why);
        }
    }

    /// Refuses a field, where it is set.
    pub(crate) fn refuse(&self, name: &str, what: impl Into<String>) {
        if self.look(name).is_some() {
            self.findings.note(Outcome::Refused, &self.place_of(name), what);
        }
    }

    /// Refuses the message as a whole: nothing more is told of its fields.
    pub(crate) fn reject<T>(&self, what: impl Into<String>) -> Option<T> {
        self.findings.note(Outcome::Refused, &self.place, what);
        self.pass_over();
        None
    }

    /// Refuses the message, because the resource of this kind and name is not there.
    pub(crate) fn miss<T>(&self, kind: ResourceKind, name: &str) -> Option<T> {
        self.findings.miss(&self.place, kind, name);
        self.pass_over();
        None
    }

    /// Leaves the message out, for a reason why that is safe: nothing more is told of its fields.
    pub(crate) fn leave(&self, why: impl Into<String>) {
        self.findings.note(Outcome::Ignored, &self.place, why);
        self.pass_over();
    }

    /// Tells of the message, and goes on reading it.
    pub(crate) fn remark(&self, outcome: Outcome, what: impl Into<String>) {
        self.findings.note(outcome, &self.place, what);
    }

    /// Takes all fields for read.
    pub(crate) fn pass_over(&self) {
        let numbers = self.message.fields().map(|(field, _)| field.number());
        self.read.borrow_mut().extend(numbers);
    }
}

impl Drop for Fields<'_> {
    fn drop(&mut self) {
        let read = self.read.take();
        for (field, _) in self.message.fields() {
            // What is there and says nothing asks for nothing.
            if !read.contains(&field.number()) && self.message.has_field(&field) {
                let place = self.place_of(field.name());
                self.findings.note(Outcome::Refused, &place, "is not supported");
            }
        }
        for unknown in self.message.unknown_fields() {
            let what = format!(
                "a field with number {} that {} does not have in the API known here",
                unknown.number(),
                self.type_name()
            );
            self.findings.note(Outcome::Ignored, &self.place, what);
        }
    }
}

/// The value within a wrapper such as `google.protobuf.UInt32Value`, or the value itself.
fn unwrapped(value: &Value) -> Cow<'_, Value> {
    match value {
        Value::Message(message) => match message.get_field_by_name("value") {
            Some(Cow::Borrowed(value)) => Cow::Borrowed(value),
            Some(Cow::Owned(value)) => Cow::Owned(value),
            None => Cow::Borrowed(value),
        },
        other => Cow::Borrowed(other),
    }
}

fn as_uint(value: &Value) -> Option<u64> {
    match value {
        Value::U32(number) => Some(u64::from(*number)),
        Value::U64(number) => Some(*number),
        Value::I32(number) => u64::try_from(*number).ok(),
        Value::I64(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}
