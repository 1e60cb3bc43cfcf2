//! An entry of a `filters` list.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer};
use serde::{Serialize, Serializer};

use crate::value::Value;

/// A filter as written: its kind with what is set of it, and a name if it has one of its own.
///
/// Which kinds there are, and what each may be set to, is declared by the kinds: this crate does not
/// know them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterEntry(pub Value);

impl FilterEntry {
    /// Its name, where it is given another than its kind's.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        let Value::Mapping(keys) = &self.0 else { return None };
        keys.get("name")?.as_str()
    }
}

impl<'de> Deserialize<'de> for FilterEntry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match Value::deserialize(from)? {
            entry @ Value::Mapping(_) => Ok(Self(entry)),
            other => {
                let what = format!("is {}, write a mapping of keys and values", other.shown());
                Err(serde::de::Error::custom(what))
            }
        }
    }
}

impl Serialize for FilterEntry {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl JsonSchema for FilterEntry {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FilterEntry".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "A filter: one kind with its settings, or with `off` to turn off the filter \
                            of that name which a less specific place sets up.",
            "properties": {
                "name": {
                    "type": "string",
                    "minLength": 1,
                    "description": "Its name, where it is not that of its kind."
                }
            }
        })
    }
}
