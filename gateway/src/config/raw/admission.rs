//! `limits:` and `queue:` of an upstream.

use std::collections::HashMap;
use std::num::NonZeroU16;

use sallyport_config::{Fields, Node, Sink};

use super::{scalar, upstream};
use crate::config::admission::{Queue, TenantBy, UpstreamLimits};

/// Tenants whose weight is named; others have 1.
const WEIGHTS_MAX: usize = 1_000;

/// Reads both keys of an upstream; a queue is for requests over a limit.
pub(super) fn read(
    fields: &mut Fields<'_>,
    sink: &mut Sink,
) -> (Option<UpstreamLimits>, Option<Queue>) {
    let limits = fields.optional(sink, "limits", limits);
    let queue = fields.optional(sink, "queue", queue);
    let limited = limits.as_ref().is_some_and(|limits| limits.requests.is_some());
    if queue.is_some() && !limited && (limits.is_some() || !fields.has("limits")) {
        fields.node().refuse::<()>(
            sink,
            "`queue` has no effect without `limits.requests`",
            "add the number of requests that the upstream takes, such as `limits: { requests: 1024 }`",
        );
    }
    (limits, queue)
}

fn limits(node: Node<'_>, sink: &mut Sink) -> Option<UpstreamLimits> {
    node.mapping(sink, |fields, sink| {
        let mut count = |key, least| {
            let number = |node: Node<'_>, sink: &mut Sink| node.number(sink, least, 1_000_000);
            fields.optional(sink, key, number).map(|count| count as u32)
        };
        let limits = UpstreamLimits {
            connections: count("connections", 1),
            requests: count("requests", 1),
            pending: count("pending", 0),
        };
        if !["connections", "requests", "pending"].iter().any(|key| fields.has(key)) {
            let fix = "name a limit, such as `requests: 1024`, or remove it";
            return fields.node().refuse(sink, "is empty", fix);
        }
        if limits.pending == Some(0) && limits.connections.is_none() {
            let fix = "add `connections`, or write `pending: 1` or more";
            return fields.node().refuse(sink, "leaves no request a connection", fix);
        }
        Some(limits)
    })
}

fn queue(node: Node<'_>, sink: &mut Sink) -> Option<Queue> {
    node.mapping(sink, |fields, sink| {
        let by = fields.optional(sink, "by", tenant_by);
        let weights = fields.optional(sink, "weights", weights);
        let deadline = fields.optional(sink, "deadline", scalar::duration);
        let length = fields.optional(sink, "length", |node, sink| node.number(sink, 1, 1_000_000));
        let by = match fields.has("by") {
            true => by?,
            false => TenantBy::Source,
        };
        if weights.is_some() && by == TenantBy::Source {
            return fields.node().refuse(
                sink,
                "`weights` has no effect on tenants by `source`",
                "write `by: { header: NAME }`, `by: { hint: network }` or `by: route`",
            );
        }
        Some(Queue {
            by,
            weights: weights.unwrap_or_default(),
            deadline: deadline.unwrap_or(Queue::DEADLINE),
            length: length.map_or(Queue::LENGTH, |length| length as u32),
        })
    })
}

fn tenant_by(node: Node<'_>, sink: &mut Sink) -> Option<TenantBy> {
    if node.value.is_string() {
        let fix = "write source, route, tls, {header: NAME} or {hint: NAME}";
        return node.parsed(sink, fix, |text| match text {
            "source" => Ok(TenantBy::Source),
            "route" => Ok(TenantBy::Route),
            "tls" => Ok(TenantBy::Tls),
            _ => Err("is nothing to tell tenants apart by"),
        });
    }
    node.mapping(sink, |fields, sink| {
        let header = fields.optional(sink, "header", scalar::header_name);
        let hint = fields.optional(sink, "hint", upstream::hint);
        fields.exactly_one(sink, &["header", "hint"])?;
        header.map(TenantBy::Header).or_else(|| hint.map(TenantBy::Hint))
    })
}

fn weights(node: Node<'_>, sink: &mut Sink) -> Option<HashMap<Box<str>, NonZeroU16>> {
    let weights = node.entries(sink, |name, node, sink| {
        let weight = node.number(sink, 1, 65_535)?;
        Some((Box::from(name), NonZeroU16::new(weight as u16)?))
    })?;
    if weights.len() > WEIGHTS_MAX {
        let what = format!("has {} tenants, over the limit of {WEIGHTS_MAX}", weights.len());
        return node.refuse(sink, what, "name those that need more than a weight of 1");
    }
    Some(weights.into_iter().collect())
}
