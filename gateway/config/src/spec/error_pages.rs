//! `error_pages`.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::{Serialize, Serializer};

use super::scalar::{self, Refusal};
use crate::value::Value;

/// Files by the status, from 400 to 599, that they are the pages of. Their endings tell their media
/// types. A file has up to 1 MiB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorPages(pub Vec<(u16, Box<str>)>);

impl ErrorPages {
    fn status(key: &str) -> Option<u16> {
        key.parse().ok().filter(|status| (400..600).contains(status))
    }

    fn check_key(key: &Value) -> Result<(), Refusal> {
        match key.as_str() {
            Some(key) if Self::status(key).is_none() => {
                let what = format!("{key:?} is no status of an error");
                Err(Refusal::new(what, "write one from 400 to 599"))
            }
            _ => Ok(()),
        }
    }
}

impl<'de> Deserialize<'de> for ErrorPages {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = ErrorPages;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a mapping of statuses and files")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ErrorPages, A::Error> {
                let mut pages: Vec<(u16, Box<str>)> = Vec::new();
                while let Some((Status(status), file)) = map.next_entry()? {
                    if pages.iter().any(|(before, _)| *before == status) {
                        return Err(A::Error::custom(format!("`{status}` is a duplicate key")));
                    }
                    pages.push((status, file));
                }
                Ok(ErrorPages(pages))
            }
        }
        from.deserialize_map(Reader)
    }
}

/// A status as a key: a number in YAML, a text in JSON.
struct Status(u16);

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Status;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a status from 400 to 599")
            }
            fn visit_u64<E: Error>(self, status: u64) -> Result<Status, E> {
                self.visit_str(&status.to_string())
            }
            fn visit_str<E: Error>(self, status: &str) -> Result<Status, E> {
                let read = ErrorPages::status(status).map(Status);
                read.ok_or_else(|| E::custom(format!("{status:?} is no status of an error")))
            }
        }
        from.deserialize_any(Reader)
    }
}

impl Serialize for ErrorPages {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(status, file)| (status, file)))
    }
}

impl JsonSchema for ErrorPages {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ErrorPages".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        scalar::register("ErrorStatus", Self::check_key);
        json_schema!({
            "type": "object",
            "description": "Files by the status, from 400 to 599, that they are the pages of.",
            "patternProperties": {
                "^0*[45][0-9]{2}$": {
                    "type": "string",
                    "description": "The page's file; its ending tells its media type.",
                    "pattern": "[.](?:[hH][tT][mM][lL]?|[tT][xX][tT]|[jJ][sS][oO][nN]|[xX][mM][lL]|[sS][vV][gG]|[mM][dD])$"
                }
            },
            "additionalProperties": false,
            (scalar::KEYS): "ErrorStatus"
        })
    }
}
