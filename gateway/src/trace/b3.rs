//! The trace that a request belongs to by Zipkin's B3 fields: all in `b3`, or one field for each
//! part.
//!
//! Requests that come with them go on with them, in the form in which they came and besides
//! `traceparent`: behind the gateway there may be nothing yet that knows the newer field.

use http::{HeaderMap, HeaderName, HeaderValue};
use sallyport_plugin::TraceContext;

use super::context::{hex, push_hex};

const SINGLE: HeaderName = HeaderName::from_static("b3");
const TRACE: HeaderName = HeaderName::from_static("x-b3-traceid");
const SPAN: HeaderName = HeaderName::from_static("x-b3-spanid");
const PARENT: HeaderName = HeaderName::from_static("x-b3-parentspanid");
const SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// Every field that there is, but for `b3`.
const MULTIPLE: [HeaderName; 5] = [TRACE, SPAN, PARENT, SAMPLED, FLAGS];

/// How a request says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// It does not.
    #[default]
    None,
    /// In `b3`.
    Single,
    /// In `X-B3-TraceId` and the others.
    Multiple,
}

/// What the fields say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct B3 {
    /// In which form.
    pub form: Form,
    /// The caller's trace and span, where they are given.
    pub ids: Option<(u128, u64)>,
    /// Whether the trace is recorded, where the caller has decided that.
    pub is_sampled: Option<bool>,
}

/// Reads whichever form there is, `b3` first. What is malformed says nothing.
#[must_use]
pub fn read(headers: &HeaderMap) -> B3 {
    // One pass over the names, instead of hashing each that hardly anybody sends.
    if !headers.keys().any(|name| *name == SINGLE || name.as_str().starts_with("x-b3-")) {
        return B3::default();
    }
    if let Some(field) = headers.get(SINGLE) {
        let (ids, is_sampled) = single(field.as_bytes()).unwrap_or_default();
        return B3 { form: Form::Single, ids, is_sampled };
    }
    let trace = headers.get(TRACE);
    if trace.is_none() && !headers.contains_key(SAMPLED) && !headers.contains_key(FLAGS) {
        return B3::default();
    }
    let ids = trace.zip(headers.get(SPAN));
    let ids = ids.and_then(|(trace, span)| ids_of(trace.as_bytes(), span.as_bytes()));
    let is_debug = headers.get(FLAGS).is_some_and(|flags| flags.as_bytes() == b"1");
    let decided = headers.get(SAMPLED).and_then(|field| decision(field.as_bytes()));
    B3 { form: Form::Multiple, ids, is_sampled: if is_debug { Some(true) } else { decided } }
}

type Said = (Option<(u128, u64)>, Option<bool>);

/// `TRACE-SPAN`, `TRACE-SPAN-SAMPLED`, `TRACE-SPAN-SAMPLED-PARENT` or the decision alone.
fn single(text: &[u8]) -> Option<Said> {
    let mut parts = text.split(|byte| *byte == b'-');
    let first = parts.next()?;
    let Some(span) = parts.next() else { return Some((None, decision(first))) };
    let ids = ids_of(first, span)?;
    let is_sampled = match parts.next() {
        Some(part) => Some(decision(part)?),
        None => None,
    };
    let parent_is_one = parts.next().is_none_or(|parent| parent.len() == 16);
    (parent_is_one && parts.next().is_none()).then_some((Some(ids), is_sampled))
}

fn decision(text: &[u8]) -> Option<bool> {
    match text {
        b"1" | b"d" | b"true" => Some(true),
        b"0" | b"false" => Some(false),
        _ => None,
    }
}

/// Ids of traces have 64 bits or 128.
fn ids_of(trace: &[u8], span: &[u8]) -> Option<(u128, u64)> {
    if !matches!(trace.len(), 16 | 32) || span.len() != 16 {
        return None;
    }
    let (trace, span) = (hex(trace)?, u64::try_from(hex(span)?).ok()?);
    (trace != 0 && span != 0).then_some((trace, span))
}

/// Makes `span` the caller's, in this form; other fields of B3 are removed.
pub fn write(headers: &mut HeaderMap, form: Form, span: &TraceContext) {
    if form == Form::None {
        return;
    }
    remove(headers);
    let (trace, id) = (digits(&span.trace_id.to_be_bytes()), digits(&span.span_id.to_be_bytes()));
    let sampled = if span.is_sampled { "1" } else { "0" };
    match form {
        Form::None => {}
        Form::Single => {
            let text = [&trace, "-", &id, "-", sampled].concat();
            insert(headers, SINGLE, &text);
        }
        Form::Multiple => {
            insert(headers, TRACE, &trace);
            insert(headers, SPAN, &id);
            insert(headers, SAMPLED, sampled);
        }
    }
}

/// Removes all that is B3's.
pub fn remove(headers: &mut HeaderMap) {
    headers.remove(SINGLE);
    for name in MULTIPLE {
        headers.remove(name);
    }
}

fn digits(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(2 * bytes.len());
    push_hex(&mut text, bytes);
    String::from_utf8(text).unwrap_or_default()
}

fn insert(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests;
