//! Reading `external_auth:`.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method, header};
use sallyport_config::{Fields, Node, Sink, scalar};

use super::{ExternalAuth, is_path};
use crate::field_name;
use crate::filter::Filter;
use crate::kind::Setting;

/// Every request waits for it, so it has to be a service that answers at once.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Entries of one list.
const FIELDS_MAX: usize = 100;

/// Written by the filter itself.
const OURS: [&str; 4] =
    ["x-forwarded-method", "x-forwarded-uri", "x-forwarded-host", "x-forwarded-for"];

/// Written into every refusal.
const OURS_TO_CLIENTS: [&str; 2] = ["cache-control", "content-type"];

pub(super) fn read(
    node: Node<'_>,
    sink: &mut Sink,
    setting: &mut Setting<'_>,
) -> Option<Arc<dyn Filter>> {
    node.mapping(sink, |fields, sink| {
        let upstream = fields.required(sink, "upstream", |node, sink| setting.upstream(node, sink));
        let path = fields.required(sink, "path", path);
        let host = fields.optional(sink, "host", scalar::name);
        let method = fields.optional(sink, "method", method).unwrap_or(Method::GET);
        let timeout = fields.optional(sink, "timeout", scalar::duration).unwrap_or(TIMEOUT);
        let passed = [header::AUTHORIZATION, header::COOKIE];
        let shown = [header::WWW_AUTHENTICATE, header::LOCATION, header::SET_COOKIE];
        let request_headers = names(fields, sink, "request_headers", &passed);
        let upstream_headers = names(fields, sink, "upstream_headers", &[]);
        let response_headers = names(fields, sink, "response_headers", &[]);
        let client_headers = names(fields, sink, "client_headers", &shown);
        let client_headers = client_headers.and_then(|names| for_clients(names, fields, sink));
        let opens = fields.optional(sink, "on_failure", opens_on_failure).unwrap_or(false);
        let help = "Requests that a service was asked about, by what came of it.";
        let metrics = &setting.host.metrics;
        let upstream = upstream?;
        Some(Arc::new(ExternalAuth {
            calls: setting.host.calls.clone(),
            host: host.unwrap_or_else(|| upstream.clone()).into(),
            upstream,
            path: path?,
            method,
            timeout,
            request_headers: request_headers?,
            upstream_headers: upstream_headers?,
            response_headers: response_headers?,
            client_headers: client_headers?,
            opens_on_failure: opens,
            name: setting.name.into(),
            results: metrics.counters("sallyport_external_auth_total", help, &["filter", "result"]),
        }) as Arc<dyn Filter>)
    })
}

fn for_clients(
    names: Vec<HeaderName>,
    fields: &Fields<'_>,
    sink: &mut Sink,
) -> Option<Vec<HeaderName>> {
    match names.iter().find(|name| OURS_TO_CLIENTS.contains(&name.as_str())) {
        None => Some(names),
        Some(name) => {
            let what = format!("has {name} among `client_headers`");
            fields.node().refuse(sink, what, "leave it out: the filter sees to it")
        }
    }
}

fn path(node: Node<'_>, sink: &mut Sink) -> Option<String> {
    let text = node.text(sink)?;
    if !is_path(text) {
        return node.refuse(sink, format!("{text:?} is no path"), "begin it with /");
    }
    Some(text.to_owned())
}

fn method(node: Node<'_>, sink: &mut Sink) -> Option<Method> {
    match node.text(sink)? {
        "GET" => Some(Method::GET),
        "HEAD" => Some(Method::HEAD),
        "POST" => Some(Method::POST),
        other => node.refuse(sink, format!("{other:?} asks nothing"), "write GET, HEAD or POST"),
    }
}

fn opens_on_failure(node: Node<'_>, sink: &mut Sink) -> Option<bool> {
    match node.text(sink)? {
        "closed" => Some(false),
        "open" => Some(true),
        other => node.refuse(sink, format!("is {other:?}"), "write closed or open"),
    }
}

fn names(
    fields: &mut Fields<'_>,
    sink: &mut Sink,
    key: &'static str,
    default: &[HeaderName],
) -> Option<Vec<HeaderName>> {
    if !fields.has(key) {
        fields.value(key);
        return Some(default.to_vec());
    }
    fields.optional(sink, key, |node, sink| {
        let names = node.whole_list(sink, name)?;
        if names.len() > FIELDS_MAX {
            return node.refuse(sink, format!("has {} names", names.len()), "write at most 100");
        }
        Some(names)
    })
}

fn name(node: Node<'_>, sink: &mut Sink) -> Option<HeaderName> {
    let name = field_name::writable(node.text(sink)?, node, sink)?;
    if OURS.contains(&name.as_str()) {
        return node.refuse(sink, format!("{name} is the filter's own"), "leave it out");
    }
    Some(name)
}
