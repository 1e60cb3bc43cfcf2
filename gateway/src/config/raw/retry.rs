//! `retry:` of a route's `forward`, and `retries`, its short form.

use http::Method;
use sallyport_balance::Allowance;
use sallyport_config::{Fields, Node, Sink};

use super::{route, scalar};
use crate::config::retry::{Backoff, Retry, RetryOn};

/// Reads whichever of the two forms there is; `None` where there is none.
pub(super) fn read(fields: &mut Fields<'_>, sink: &mut Sink) -> Option<Retry> {
    let short = fields.optional(sink, "retries", attempts).map(Retry::times);
    let long = fields.optional(sink, "retry", retry);
    if fields.has("retries") && fields.has("retry") {
        let fix = "write `retry: { attempts: N }` alone";
        return fields.node().refuse(sink, "has both `retries` and `retry`", fix);
    }
    short.or(long)
}

fn attempts(node: Node<'_>, sink: &mut Sink) -> Option<u32> {
    node.number(sink, 0, 15).map(|attempts| attempts as u32)
}

fn retry(node: Node<'_>, sink: &mut Sink) -> Option<Retry> {
    node.mapping(sink, |fields, sink| {
        let attempts = fields.optional(sink, "attempts", attempts);
        let on = fields.optional(sink, "on", on);
        let methods = fields.optional(sink, "methods", methods);
        let per_try_timeout = fields.optional(sink, "per_try_timeout", scalar::duration);
        let hedge_after = fields.optional(sink, "hedge_after", scalar::duration);
        let percent = fields.optional(sink, "budget", scalar::percent);
        let backoff = fields.optional(sink, "backoff", backoff);
        let default = Retry::default();
        let budget = percent.map(|percent| Allowance {
            percent: percent.into(),
            at_least: if percent == 0 { 0 } else { Retry::BUDGET_AT_LEAST },
        });
        if attempts == Some(0) {
            refuse_without_attempts(fields, sink)?;
        }
        Some(Retry {
            attempts: attempts.unwrap_or(default.attempts),
            on: on.unwrap_or(default.on),
            methods: methods.unwrap_or_default(),
            per_try_timeout,
            hedge_after,
            budget: budget.unwrap_or(default.budget),
            backoff,
            returns: true,
        })
    })
}

/// What says how a request is sent again has no effect on one that is not.
fn refuse_without_attempts(fields: &Fields<'_>, sink: &mut Sink) -> Option<()> {
    // A second attempt beside the first is within the budget as well.
    let budget = (!fields.has("hedge_after")).then_some("budget");
    let keys = ["on", "methods", "backoff"].into_iter().chain(budget);
    let keys = keys.filter(|key| fields.has(key));
    let mut has_effect = Some(());
    for key in keys {
        let what = format!("`{key}` has no effect with `attempts: 0`");
        has_effect = fields.node().refuse(sink, what, "remove it, or write `attempts: 1` or more");
    }
    has_effect
}

fn on(node: Node<'_>, sink: &mut Sink) -> Option<RetryOn> {
    let reasons = node.whole_list(sink, reason)?;
    if reasons.is_empty() {
        let fix = "name reasons such as connect, reset or 503, or write `attempts: 0`";
        return node.refuse(sink, "is empty", fix);
    }
    let mut on = RetryOn::default();
    for reason in reasons {
        match reason {
            Reason::Connect => on.connect = true,
            Reason::Reset => on.reset = true,
            Reason::Timeout => on.timeout = true,
            Reason::RefusedStream => on.refused_stream = true,
            Reason::Status(status) => on.statuses.push(status),
        }
    }
    on.statuses.sort_unstable();
    on.statuses.dedup();
    Some(on)
}

enum Reason {
    Connect,
    Reset,
    Timeout,
    RefusedStream,
    Status(u16),
}

fn reason(node: Node<'_>, sink: &mut Sink) -> Option<Reason> {
    if node.value.as_u64().is_some() {
        return node.number(sink, 400, 599).map(|status| Reason::Status(status as u16));
    }
    let fix = "write connect, reset, timeout, refused_stream or a status from 400 to 599";
    node.parsed(sink, fix, |text| match text {
        "connect" => Ok(Reason::Connect),
        "reset" => Ok(Reason::Reset),
        "timeout" => Ok(Reason::Timeout),
        "refused_stream" => Ok(Reason::RefusedStream),
        _ => Err("is nothing to retry on"),
    })
}

fn methods(node: Node<'_>, sink: &mut Sink) -> Option<Vec<Method>> {
    let methods = node.whole_list(sink, |node, sink| {
        let method = route::method(node, sink)?;
        if method.is_idempotent() {
            let what = format!("{method} is idempotent, and sent again anyway");
            return node.refuse(sink, what, "name methods such as POST, or remove it");
        }
        Some(method)
    })?;
    if methods.is_empty() {
        return node.refuse(sink, "is empty", "name methods such as POST, or remove it");
    }
    Some(methods)
}

fn backoff(node: Node<'_>, sink: &mut Sink) -> Option<Backoff> {
    node.mapping(sink, |fields, sink| {
        let default = Backoff::default();
        let base = fields.optional(sink, "base", scalar::duration);
        let max = fields.optional(sink, "max", scalar::duration);
        let base = base.unwrap_or(max.map_or(default.base, |max| max.min(default.base)));
        let max = max.unwrap_or(base.saturating_mul(10));
        if max < base {
            return fields.node().refuse(
                sink,
                "has a `max` below its `base`",
                "write a larger `max`, such as ten times the `base`",
            );
        }
        Some(Backoff { base, max })
    })
}
