#![doc = include_str!("headers/README.md")]

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, response};
use sallyport_config::{Node, Sink, schema};

use crate::exchange::Exchange;
use crate::field_name;
use crate::filter::{Filter, Flow, Phases};
use crate::kind::{Kind, Setting};
use crate::template::{Scope, Template};

mod spec;

pub use spec::{ChangesSpec, HeadersSpec};

/// `headers:` in `filters:`.
pub const KIND: Kind = Kind { name: "headers", read, schema: schema::settings::<HeadersSpec> };

/// Entries of one list.
const FIELDS_MAX: usize = 100;

/// Removes, sets and adds header fields.
#[derive(Debug)]
struct Headers {
    request: Changes,
    response: Changes,
}

/// What is done to the fields of one message, in this order.
#[derive(Debug, Default)]
struct Changes {
    /// Whether no value depends on the request.
    is_constant: bool,
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, Value)>,
    add: Vec<(HeaderName, Value)>,
}

#[derive(Debug)]
enum Value {
    Constant(HeaderValue),
    Template(Template),
}

fn read(node: Node<'_>, sink: &mut Sink, _: &mut Setting<'_>) -> Option<Arc<dyn Filter>> {
    node.mapping(sink, |fields, sink| {
        let request = fields.optional(sink, "request", changes);
        let response = fields.optional(sink, "response", changes);
        if !fields.has("request") && !fields.has("response") {
            return node.refuse(sink, "changes nothing", "write `request:` or `response:`");
        }
        let (request, response) = (request.unwrap_or_default(), response.unwrap_or_default());
        Some(Arc::new(Headers { request, response }) as Arc<dyn Filter>)
    })
}

fn changes(node: Node<'_>, sink: &mut Sink) -> Option<Changes> {
    node.mapping(sink, |fields, sink| {
        let remove = fields.optional(sink, "remove", |node, sink| node.list(sink, field_name));
        let set = fields.optional(sink, "set", values);
        let add = fields.optional(sink, "add", values);
        let (set, add) = (set.unwrap_or_default(), add.unwrap_or_default());
        let constant = |(_, value): &(_, Value)| matches!(value, Value::Constant(_));
        let is_constant = set.iter().chain(&add).all(constant);
        Some(Changes { is_constant, remove: remove.unwrap_or_default(), set, add })
    })
}

fn values(node: Node<'_>, sink: &mut Sink) -> Option<Vec<(HeaderName, Value)>> {
    let values = node.entries(sink, |name, node, sink| {
        let name = field_name::writable(name, node, sink);
        let value = value(node, sink);
        Some((name?, value?))
    })?;
    if values.len() > FIELDS_MAX {
        return node.refuse(sink, format!("has {} fields", values.len()), "write at most 100");
    }
    Some(values)
}

fn field_name(node: Node<'_>, sink: &mut Sink) -> Option<HeaderName> {
    field_name::writable(node.text(sink)?, node, sink)
}

fn value(node: Node<'_>, sink: &mut Sink) -> Option<Value> {
    let template = Template::read(node, sink, Scope::Request)?;
    let Some(constant) = template.constant() else { return Some(Value::Template(template)) };
    match HeaderValue::from_str(constant) {
        Ok(value) => Some(Value::Constant(value)),
        Err(_) => node.refuse(sink, "is no field value", "use visible ASCII and spaces"),
    }
}

impl Changes {
    fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// Changes `headers`. `value_of` gives the value that a template has for the request.
    fn apply(
        &self,
        headers: &mut HeaderMap,
        mut value_of: impl FnMut(&Template) -> Option<HeaderValue>,
    ) {
        for name in &self.remove {
            headers.remove(name);
        }
        let mut value = |value: &Value| match value {
            Value::Constant(value) => Some(value.clone()),
            Value::Template(template) => value_of(template),
        };
        for (name, set) in &self.set {
            match value(set) {
                Some(value) => drop(headers.insert(name, value)),
                None => drop(headers.remove(name)),
            }
        }
        for (name, add) in &self.add {
            if let Some(value) = value(add) {
                headers.append(name, value);
            }
        }
    }
}

/// The value of a template for the request; `None` where it comes out empty, since a field without
/// a value tells an origin that there was something, and where no field can hold it, which a
/// client's bytes may bring about.
fn render(template: &Template, x: &Exchange<'_>) -> Option<HeaderValue> {
    let mut text = String::new();
    template.render(x, None, &mut text);
    if text.is_empty() {
        return None;
    }
    HeaderValue::from_maybe_shared(Bytes::from(text)).ok()
}

impl Filter for Headers {
    fn phases(&self) -> Phases {
        let mut phases = Phases::default();
        if !self.request.is_empty() {
            phases = phases | Phases::REQUEST_HEADERS;
        }
        if !self.response.is_empty() {
            phases = phases | Phases::RESPONSE_HEADERS;
        }
        phases
    }

    fn request_headers<'a>(&'a self, x: Exchange<'a>) -> Flow<'a> {
        if self.request.is_constant {
            self.request.apply(&mut x.request.headers, |_| None);
            return Flow::Continue;
        }
        // Templates see the fields as they came, whatever the order of the changes.
        let mut headers = x.request.headers.clone();
        self.request.apply(&mut headers, |template| render(template, &x));
        x.request.headers = headers;
        Flow::Continue
    }

    fn response_headers<'a>(
        &'a self,
        x: Exchange<'a>,
        response: &'a mut response::Parts,
    ) -> Flow<'a> {
        self.response.apply(&mut response.headers, |template| render(template, &x));
        Flow::Continue
    }
}

#[cfg(test)]
mod tests;
