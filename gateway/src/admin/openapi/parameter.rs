//! Parameters of what can be asked, and what their values may be.

use serde_json::{Value, json};

/// Something that a request may say.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) place: Place,
    pub(super) is_required: bool,
    is_repeated: bool,
    kind: Kind,
    description: &'static str,
    example: &'static str,
}

/// Where it is said.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Path,
    Query,
}

/// What its value may be.
#[derive(Clone, Copy)]
enum Kind {
    /// Anything that the operation understands.
    Text,
    /// A whole number up to this one.
    Number(u64),
    /// One of these.
    OneOf(&'static [&'static str]),
    /// What this expression matches.
    Like(&'static str),
}

pub(super) const fn query(
    name: &'static str,
    description: &'static str,
    example: &'static str,
) -> Parameter {
    Parameter {
        name,
        place: Place::Query,
        is_required: false,
        is_repeated: false,
        kind: Kind::Text,
        description,
        example,
    }
}

/// As [`query`], in the path.
pub(super) const fn segment(
    name: &'static str,
    description: &'static str,
    example: &'static str,
) -> Parameter {
    Parameter { place: Place::Path, is_required: true, ..query(name, description, example) }
}

pub(super) const fn required(parameter: Parameter) -> Parameter {
    Parameter { is_required: true, ..parameter }
}

pub(super) const fn repeated(parameter: Parameter) -> Parameter {
    Parameter { is_repeated: true, ..parameter }
}

pub(super) const fn number(parameter: Parameter, most: u64) -> Parameter {
    Parameter { kind: Kind::Number(most), ..parameter }
}

pub(super) const fn one_of(parameter: Parameter, values: &'static [&'static str]) -> Parameter {
    Parameter { kind: Kind::OneOf(values), ..parameter }
}

pub(super) const fn like(parameter: Parameter, pattern: &'static str) -> Parameter {
    Parameter { kind: Kind::Like(pattern), ..parameter }
}

impl Parameter {
    /// As OpenAPI has it.
    pub(super) fn described(&self) -> Value {
        let (schema, example) = match self.is_repeated {
            true => (json!({ "type": "array", "items": self.schema() }), json!([self.example()])),
            false => (self.schema(), self.example()),
        };
        json!({
            "name": self.name,
            "in": match self.place {
                Place::Path => "path",
                Place::Query => "query",
            },
            "required": self.is_required,
            "description": self.description,
            "schema": schema,
            "example": example,
        })
    }

    fn schema(&self) -> Value {
        match (self.kind, self.place) {
            (Kind::Text, Place::Path) => json!({ "type": "string", "minLength": 1 }),
            (Kind::Text, Place::Query) => json!({ "type": "string" }),
            (Kind::Number(most), _) => {
                json!({ "type": "integer", "minimum": 0, "maximum": most })
            }
            (Kind::OneOf(values), _) => json!({ "type": "string", "enum": values }),
            (Kind::Like(pattern), _) => json!({ "type": "string", "pattern": pattern }),
        }
    }

    fn example(&self) -> Value {
        match self.kind {
            Kind::Number(_) => self.example.parse::<u64>().map_or(Value::Null, Value::from),
            _ => self.example.into(),
        }
    }
}
