//! `outlier_detection`, `slow_start`, `limits`, `queue` and `sticky` of an upstream, and `retry` of
//! a route.

use std::collections::HashMap;
use std::num::NonZeroU16;

use http::{HeaderName, Method};
use sallyport_balance::Allowance;
use sallyport_config::spec;
use sallyport_config::spec::scalar::{Int, RetryReason};
use sallyport_config::{Entries, Place, Sink};
use sallyport_plugin::Reader;

use super::{bandwidth, sticky};
use crate::config::admission::{Queue, TenantBy, UpstreamLimits};
use crate::config::model::HintField;
use crate::config::outlier::{OutlierDetection, Resilience};
use crate::config::retry::{Backoff, Retry, RetryOn};

/// Tenants whose weight is named; others have 1.
const WEIGHTS_MAX: usize = 1_000;

pub(super) fn resilience(
    spec: &spec::Upstream,
    place: &Place<'_>,
    files: &mut Reader<'_>,
    sink: &mut Sink,
) -> Resilience {
    let at = |key| Place::Key(place, key);
    let spec::Upstream { outlier_detection, slow_start, limits, queue, sticky, bandwidth, .. } =
        spec;
    if queue.is_some() && limits.as_ref().is_none_or(|limits| limits.requests.is_none()) {
        place.refuse::<()>(
            sink,
            "`queue` has no effect without `limits.requests`",
            "add the number of requests that the upstream takes, such as `limits: { requests: 1024 }`",
        );
    }
    Resilience {
        outlier_detection: outlier_detection.as_ref().and_then(outliers),
        slow_start: slow_start.map(|time| time.0),
        limits: limits.as_ref().map(|spec| self::limits(spec, &at("limits"), sink)),
        queue: queue.as_ref().map(|spec| self::queue(spec, &at("queue"), sink)),
        sticky: sticky
            .as_ref()
            .and_then(|spec| sticky::of_upstream(spec, &at("sticky"), files, sink)),
        bandwidth: bandwidth
            .as_ref()
            .map(|spec| bandwidth::of_upstream(spec, queue.is_some(), &at("bandwidth"), sink)),
    }
}

/// What finds outliers; nothing where only the panic threshold is given.
fn outliers(spec: &spec::OutlierDetection) -> Option<OutlierDetection> {
    let spec::OutlierDetection {
        consecutive_errors, success_rate, base_ejection, max_ejected, ..
    } = spec;
    let is_empty =
        *spec == spec::OutlierDetection { panic_below: spec.panic_below, ..Default::default() };
    if is_empty && spec.panic_below.is_some() {
        return None;
    }
    let default = OutlierDetection::default();
    Some(OutlierDetection {
        consecutive_errors: consecutive_errors
            .map_or(default.consecutive_errors, |errors| errors.0 as u32),
        success_rate: success_rate.map(|rate| rate.0).or(default.success_rate),
        base_ejection: base_ejection.map_or(default.base_ejection, |time| time.0),
        max_ejected: max_ejected.map_or(default.max_ejected, |share| share.0),
    })
}

fn limits(spec: &spec::UpstreamLimits, place: &Place<'_>, sink: &mut Sink) -> UpstreamLimits {
    if *spec == spec::UpstreamLimits::default() {
        let fix = "name a limit, such as `requests: 1024`, or remove it";
        place.refuse::<()>(sink, "is empty", fix);
    }
    let limits = UpstreamLimits {
        connections: spec.connections.map(|count| count.0 as u32),
        requests: spec.requests.map(|count| count.0 as u32),
        pending: spec.pending.map(|count| count.0 as u32),
    };
    if limits.pending == Some(0) && limits.connections.is_none() {
        let fix = "add `connections`, or write `pending: 1` or more";
        place.refuse::<()>(sink, "leaves no request a connection", fix);
    }
    limits
}

fn queue(spec: &spec::Queue, place: &Place<'_>, sink: &mut Sink) -> Queue {
    let by = match &spec.by {
        spec::TenantBy::Source => TenantBy::Source,
        spec::TenantBy::Route => TenantBy::Route,
        spec::TenantBy::Header(name) => by_header(name),
        spec::TenantBy::Hint(hint) => by_hint(*hint),
        spec::TenantBy::Tls => TenantBy::Tls,
    };
    if spec.weights.is_some() && by == TenantBy::Source {
        place.refuse::<()>(
            sink,
            "`weights` has no effect on tenants by `source`",
            "write `by: { header: NAME }`, `by: { hint: network }` or `by: route`",
        );
    }
    Queue {
        by,
        weights: weights(spec.weights.as_ref(), place, sink),
        deadline: spec.deadline.0,
        length: spec.length.0 as u32,
    }
}

pub(super) fn by_header(name: &spec::scalar::HeaderName) -> TenantBy {
    let name = HeaderName::from_bytes(name.as_bytes());
    TenantBy::Header(name.expect("the configuration holds tokens as names"))
}

pub(super) fn by_hint(hint: spec::TenantHint) -> TenantBy {
    TenantBy::Hint(match hint {
        spec::TenantHint::Network => HintField::Network,
        spec::TenantHint::Zone => HintField::Zone,
        spec::TenantHint::Protocol => HintField::Protocol,
    })
}

/// The `weights` of what stands at `place`.
pub(super) fn weights(
    spec: Option<&Entries<Int<1, 65_535>>>,
    place: &Place<'_>,
    sink: &mut Sink,
) -> HashMap<Box<str>, NonZeroU16> {
    let weights = spec.map_or(&[][..], |weights| &weights.0);
    if weights.len() > WEIGHTS_MAX {
        let what = format!("has {} names, over the limit of {WEIGHTS_MAX}", weights.len());
        let fix = "name those that need more than a weight of 1";
        Place::Key(place, "weights").refuse::<()>(sink, what, fix);
    }
    let weight = |(name, weight): &(Box<str>, Int<1, 65_535>)| {
        Some((name.clone(), NonZeroU16::new(weight.0 as u16)?))
    };
    weights.iter().filter_map(weight).collect()
}

/// When a route's requests are sent again.
pub(super) fn retry(spec: &spec::Forward, place: &Place<'_>, sink: &mut Sink) -> Retry {
    if spec.retries.is_some() && spec.retry.is_some() {
        let fix = "write `retry: { attempts: N }` alone";
        place.refuse::<()>(sink, "has both `retries` and `retry`", fix);
    }
    match (spec.retries, &spec.retry) {
        (Some(times), _) => Retry::times(times.0 as u32),
        (None, Some(spec)) => long(spec, &Place::Key(place, "retry"), sink),
        (None, None) => Retry::default(),
    }
}

fn long(spec: &spec::Retry, place: &Place<'_>, sink: &mut Sink) -> Retry {
    let spec::Retry { attempts, on, methods, per_try_timeout, hedge_after, budget, backoff } = spec;
    let at = |key| Place::Key(place, key);
    if attempts.is_some_and(|attempts| attempts.0 == 0) {
        // What says how a request is sent again has no effect on one that is not.
        let keys = [
            ("on", on.is_some()),
            ("methods", methods.is_some()),
            // A second attempt beside the first is within the budget as well.
            ("budget", budget.is_some() && hedge_after.is_none()),
            ("backoff", backoff.is_some()),
        ];
        for (key, _) in keys.into_iter().filter(|(_, is_written)| *is_written) {
            let what = format!("`{key}` has no effect with `attempts: 0`");
            place.refuse::<()>(sink, what, "remove it, or write `attempts: 1` or more");
        }
    }
    let default = Retry::default();
    let budget = budget.map(|share| Allowance {
        percent: share.0.into(),
        at_least: if share.0 == 0 { 0 } else { Retry::BUDGET_AT_LEAST },
    });
    Retry {
        attempts: attempts.map_or(default.attempts, |attempts| attempts.0 as u32),
        on: on.as_ref().map_or(default.on, |on| reasons(on, &at("on"), sink)),
        methods: methods
            .as_ref()
            .map(|methods| self::methods(methods, &at("methods"), sink))
            .unwrap_or_default(),
        per_try_timeout: per_try_timeout.map(|time| time.0),
        hedge_after: hedge_after.map(|time| time.0),
        budget: budget.unwrap_or(default.budget),
        backoff: backoff.as_ref().map(|spec| self::backoff(spec, &at("backoff"), sink)),
        returns: true,
    }
}

fn reasons(specs: &[RetryReason], place: &Place<'_>, sink: &mut Sink) -> RetryOn {
    if specs.is_empty() {
        let fix = "name reasons such as connect, reset or 503, or write `attempts: 0`";
        place.refuse::<()>(sink, "is empty", fix);
    }
    let mut on = RetryOn::default();
    for reason in specs {
        match reason {
            RetryReason::Connect => on.connect = true,
            RetryReason::Reset => on.reset = true,
            RetryReason::Timeout => on.timeout = true,
            RetryReason::RefusedStream => on.refused_stream = true,
            RetryReason::Status(status) => on.statuses.push(*status),
        }
    }
    on.statuses.sort_unstable();
    on.statuses.dedup();
    on
}

fn methods(specs: &[spec::scalar::Method], place: &Place<'_>, sink: &mut Sink) -> Vec<Method> {
    const FIX: &str = "name methods such as POST, or remove it";
    if specs.is_empty() {
        place.refuse::<()>(sink, "is empty", FIX);
    }
    let methods = specs.iter().enumerate().filter_map(|(index, method)| {
        let method = Method::from_bytes(method.as_bytes()).ok()?;
        if method.is_idempotent() {
            let what = format!("{method} is idempotent, and sent again anyway");
            return Place::Item(place, index).refuse(sink, what, FIX);
        }
        Some(method)
    });
    methods.collect()
}

fn backoff(spec: &spec::Backoff, place: &Place<'_>, sink: &mut Sink) -> Backoff {
    let default = Backoff::default();
    let (base, max) = (spec.base.map(|time| time.0), spec.max.map(|time| time.0));
    let base = base.unwrap_or(max.map_or(default.base, |max| max.min(default.base)));
    let max = max.unwrap_or(base.saturating_mul(10));
    if max < base {
        place.refuse::<()>(
            sink,
            "has a `max` below its `base`",
            "write a larger `max`, such as ten times the `base`",
        );
    }
    Backoff { base, max }
}
