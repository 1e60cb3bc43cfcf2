//! `health_check:` of an upstream.

use std::time::Duration;

use http::Method;
use http::uri::Authority;
use sallyport_config::{Node, Sink};

use super::scalar;
use crate::config::model::{HealthCheck, HttpProbe, Probe, StatusRange};

pub(super) fn health_check(node: Node<'_>, sink: &mut Sink) -> Option<HealthCheck> {
    node.mapping(sink, |fields, sink| {
        let short = fields.optional(sink, "path", path).map(HttpProbe::of_path);
        let http = fields.optional(sink, "http", http);
        // It has no keys: what a connection says is all that it asks.
        fields.optional(sink, "tcp", |node, sink| node.mapping(sink, |_, _| Some(())));
        let grpc = fields.optional(sink, "grpc", grpc);
        let interval = fields.optional(sink, "interval", scalar::duration);
        let timeout = fields.optional(sink, "timeout", scalar::duration);
        let mut count = |key| {
            fields.optional(sink, key, |node, sink| node.number(sink, 1, 1_000)).map(|n| n as u32)
        };
        let (healthy, unhealthy) = (count("healthy"), count("unhealthy"));
        const KINDS: [&str; 4] = ["path", "http", "tcp", "grpc"];
        if KINDS.iter().any(|kind| fields.has(kind)) {
            fields.exactly_one(sink, &KINDS)?;
        }
        Some(HealthCheck {
            probe: match (short.or(http), grpc) {
                (Some(http), _) => Probe::Http(http),
                (None, Some(service)) => Probe::Grpc { service },
                (None, None) => Probe::Tcp,
            },
            interval: interval.unwrap_or(Duration::from_secs(5)),
            timeout: timeout.unwrap_or(Duration::from_secs(1)),
            healthy: healthy.unwrap_or(2),
            unhealthy: unhealthy.unwrap_or(3),
        })
    })
}

/// The service of `grpc:`; empty for the server as a whole.
fn grpc(node: Node<'_>, sink: &mut Sink) -> Option<Box<str>> {
    node.mapping(sink, |fields, sink| {
        Some(fields.optional(sink, "service", scalar::name).unwrap_or_default())
    })
}

fn http(node: Node<'_>, sink: &mut Sink) -> Option<HttpProbe> {
    node.mapping(sink, |fields, sink| {
        let path = fields.required(sink, "path", path);
        let host = fields.optional(sink, "host", host);
        let method = fields.optional(sink, "method", method);
        let status = fields.optional(sink, "status", statuses);
        let probe = HttpProbe::of_path(path?);
        Some(HttpProbe {
            host,
            method: method.unwrap_or(probe.method),
            status: status.unwrap_or(probe.status),
            path: probe.path,
        })
    })
}

fn path(node: Node<'_>, sink: &mut Sink) -> Option<Box<str>> {
    node.parsed(sink, "write a path such as /healthz", |text| {
        let graphic = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if text.starts_with('/') && graphic { Ok(Box::from(text)) } else { Err("is not a path") }
    })
}

fn host(node: Node<'_>, sink: &mut Sink) -> Option<Box<str>> {
    node.parsed(sink, "write a host such as api.internal or api.internal:8080", |text| {
        match text.parse::<Authority>() {
            Ok(authority) if !authority.as_str().contains('@') => Ok(Box::from(text)),
            _ => Err("is not a host"),
        }
    })
}

fn method(node: Node<'_>, sink: &mut Sink) -> Option<Method> {
    node.parsed(sink, "write GET, HEAD or OPTIONS", |text| match text {
        "GET" => Ok(Method::GET),
        "HEAD" => Ok(Method::HEAD),
        "OPTIONS" => Ok(Method::OPTIONS),
        _ => Err("is not a method that a probe can use"),
    })
}

/// One status, a range, or a list of them.
fn statuses(node: Node<'_>, sink: &mut Sink) -> Option<Vec<StatusRange>> {
    let Some(items) = node.value.as_sequence() else {
        return status(node, sink).map(|range| vec![range]);
    };
    if items.is_empty() {
        return node.refuse(sink, "is empty", "name a status such as 200, or a range: 200-399");
    }
    node.whole_list(sink, status)
}

fn status(node: Node<'_>, sink: &mut Sink) -> Option<StatusRange> {
    if node.value.as_u64().is_some() {
        let status = node.number(sink, 200, 599)? as u16;
        return Some(StatusRange { from: status, to: status });
    }
    node.parsed(sink, "write a status such as 204, or a range such as 200-399", |text| {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let code =
            |text: &str| text.trim().parse().ok().filter(|code: &u16| (200..=599).contains(code));
        match (code(from), code(to)) {
            (Some(from), Some(to)) if from <= to => Ok(StatusRange { from, to }),
            _ => Err("is no range from 200 to 599"),
        }
    })
}
