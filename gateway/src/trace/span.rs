//! Spans as OpenTelemetry's messages, with the names of its semantic conventions for HTTP.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Method;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, SpanFlags, Status};
use sallyport_balance::Address;
use sallyport_plugin::TraceContext;

/// The version of the semantic conventions that names are of.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.37.0";

/// The longest text of an attribute: clients choose many of them.
const TEXT_BYTES_MAX: usize = 1_024;

/// The methods that a name or an attribute may hold; whatever else a client sends is `_OTHER`.
const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"];

/// A text, cut where it is too long.
#[must_use]
pub fn text(key: impl Into<String>, value: impl Into<String>) -> KeyValue {
    let mut value = value.into();
    value.truncate(value.floor_char_boundary(TEXT_BYTES_MAX));
    attribute(key, Value::StringValue(value))
}

/// A whole number.
#[must_use]
pub fn number(key: impl Into<String>, value: impl TryInto<i64>) -> KeyValue {
    attribute(key, Value::IntValue(value.try_into().unwrap_or(i64::MAX)))
}

fn attribute(key: impl Into<String>, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.into(), value, ..KeyValue::default() }
}

/// The method as an attribute, and, where it is none of those that are known, as it was sent.
pub fn push_method(attributes: &mut Vec<KeyValue>, method: &Method) {
    let known = METHODS.contains(&method.as_str());
    attributes.push(text("http.request.method", if known { method.as_str() } else { "_OTHER" }));
    if !known {
        attributes.push(text("http.request.method_original", method.as_str()));
    }
}

/// A span's name: the method, and the route if there is one.
#[must_use]
pub fn name(method: &Method, route: Option<&str>) -> String {
    let known = METHODS.contains(&method.as_str());
    let method = if known { method.as_str() } else { "HTTP" };
    route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"))
}

/// `HOST:PORT` as two attributes.
pub fn push_server(attributes: &mut Vec<KeyValue>, authority: &str) {
    let port = authority.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port): (&str, Option<u16>) = match port {
        // A colon within an IPv6 address without a port.
        Some((host, _)) if host.contains(':') && !host.ends_with(']') => (authority, None),
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    attributes.push(text("server.address", host.trim_start_matches('[').trim_end_matches(']')));
    attributes.extend(port.map(|port| number("server.port", port)));
}

/// The endpoint that a request was sent to.
pub fn push_endpoint(attributes: &mut Vec<KeyValue>, address: &Address) {
    match address.as_inet() {
        Some(address) => {
            let ip = address.ip().to_canonical().to_string();
            attributes.push(text("server.address", ip.clone()));
            attributes.push(number("server.port", address.port()));
            attributes.push(text("network.peer.address", ip));
            attributes.push(number("network.peer.port", address.port()));
        }
        None => {
            attributes.push(text("server.address", address.to_string()));
            attributes.push(text("network.transport", "unix"));
        }
    }
}

/// A span that is over.
#[derive(Debug)]
pub struct Ended<'s> {
    /// Its place in the trace.
    pub context: &'s TraceContext,
    /// The span that it is a part of, and whether that is another process's.
    pub parent: Option<(u64, bool)>,
    /// What it is.
    pub kind: SpanKind,
    /// What it is called.
    pub name: String,
    /// When it began.
    pub began: SystemTime,
    /// How long it took.
    pub duration: Duration,
    /// What is known of it.
    pub attributes: Vec<KeyValue>,
    /// What failed, if that is its own failure.
    pub error: Option<Cow<'static, str>>,
    /// What the systems on the way say of the trace.
    pub trace_state: String,
}

impl Ended<'_> {
    /// The message.
    #[must_use]
    pub fn into_span(self) -> Span {
        let began = self.began.duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let status = self.error.map(|message| Status {
            message: message.into_owned(),
            code: StatusCode::Error as i32,
        });
        let mut flags =
            u32::from(self.context.is_sampled) | SpanFlags::ContextHasIsRemoteMask as u32;
        if self.parent.is_some_and(|(_, is_remote)| is_remote) {
            flags |= SpanFlags::ContextIsRemoteMask as u32;
        }
        let parent = self.parent.map(|(id, _)| id.to_be_bytes().to_vec());
        Span {
            trace_id: self.context.trace_id.to_be_bytes().to_vec(),
            span_id: self.context.span_id.to_be_bytes().to_vec(),
            trace_state: self.trace_state,
            parent_span_id: parent.unwrap_or_default(),
            flags,
            name: self.name,
            kind: self.kind as i32,
            start_time_unix_nano: nanoseconds(began),
            end_time_unix_nano: nanoseconds(began + self.duration),
            attributes: self.attributes,
            status,
            ..Span::default()
        }
    }
}

#[cfg(test)]
mod tests;
