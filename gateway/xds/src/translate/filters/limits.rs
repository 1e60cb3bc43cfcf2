//! `local_ratelimit` and `buffer`.

use sallyport_config::Value;

use super::super::Scope;
use super::super::fraction::percent_or;
use super::{Effect, Level, Own};
use crate::fields::Fields;
use crate::output::{self, Map, number, text};

/// The most requests, and the largest burst, that a limit may have.
const REQUESTS_MAX: u64 = 1_000_000;

/// In a chain a bucket is all requests' of its listener.
pub(super) fn rate_of_listener(scope: &Scope<'_>, fields: &Fields<'_>) -> Option<Effect> {
    if !fields.has("token_bucket") {
        rest(fields);
        is_on(scope, fields);
        return Some(Effect::None);
    }
    match rate(scope, fields) {
        None => Some(Effect::None),
        Some(_) => fields.reject(
            "is one bucket for all requests of a listener; limits are by source or by route: set it on \
             routes by typed_per_filter_config",
        ),
    }
}

pub(super) fn rate_on_route(scope: &Scope<'_>, fields: &Fields<'_>, level: Level) -> Option<Own> {
    let settings = rate(scope, fields)?;
    match level {
        Level::Route => Some(Own::Settings(settings)),
        Level::Around => fields.reject(
            "is one bucket for all routes of a virtual host; limits are by source or by route: set it \
             on routes",
        ),
    }
}

/// Whether the limit is counted and enforced. Envoy does neither unless it is told to.
fn is_on(scope: &Scope<'_>, fields: &Fields<'_>) -> Option<bool> {
    let mut is_on = true;
    for name in ["filter_enabled", "filter_enforced"] {
        let percent = percent_or(fields, name, &scope.runtime, 0.0);
        if percent > 0.0 && percent < 100.0 {
            return fields.reject(format!("{name} is {percent} %, write 0 or 100"));
        }
        is_on &= percent >= 100.0;
    }
    Some(is_on)
}

/// What has no effect here, or cannot be done.
fn rest(fields: &Fields<'_>) {
    fields.text("stat_prefix");
    fields.ignore("stage", "a filter has one bucket");
    fields.ignore("enable_x_ratelimit_headers", "RateLimit fields are sent in any case");
    fields.ignore("enable_retry_after_header", "Retry-After is sent in any case");
    fields.ignore("always_consume_default_token_bucket", "a filter has one bucket");
    fields.ignore("rate_limited_as_resource_exhausted", "gRPC is told by its own status");
    fields.ignore("vh_rate_limits", "what a route says takes the place of its virtual host's");
    fields.ignore("max_dynamic_descriptors", "there are no descriptors");
    fields.refuse("descriptors", "limits by descriptors: write `rate_limit` with a key in a file");
    fields.refuse("rate_limits", "limits by descriptors: write `rate_limit` with a key in a file");
    fields.refuse("local_rate_limit_per_downstream_connection", "buckets are a route's");
    fields.refuse("local_cluster_rate_limit", "buckets are a gateway's");
    fields.refuse("request_headers_to_add_when_not_enforced", "a limit that counts is enforced");
    fields.refuse("response_headers_to_add", "refusals carry RateLimit and Retry-After");
    if let Some(status) = fields.message("status")
        && !matches!(status.choice("code").as_deref(), None | Some("TooManyRequests"))
    {
        status.reject::<()>("refuses with another status than 429");
    }
}

/// Settings of `rate_limit`; `None` where the limit is off or cannot be said.
fn rate(scope: &Scope<'_>, fields: &Fields<'_>) -> Option<Value> {
    rest(fields);
    let is_on = is_on(scope, fields);
    let bucket = fields.message("token_bucket")?;
    let most = bucket.uint("max_tokens").unwrap_or(0);
    let fill = bucket.uint("tokens_per_fill").unwrap_or(1);
    let every_ms = bucket.time("fill_interval").map_or(0, |time| time.as_millis());
    if !is_on? {
        fields.leave("is off: filter_enabled or filter_enforced is 0 %");
        return None;
    }
    // The rate in whole seconds that gives the same: ours counts no shorter ones.
    let (requests, seconds) = match u64::try_from(every_ms) {
        Ok(ms) if ms >= 1_000 && ms.is_multiple_of(1_000) => (fill, ms / 1_000),
        Ok(ms) if ms > 0 && (fill * 1_000).is_multiple_of(ms) => (fill * 1_000 / ms, 1),
        _ => return bucket.reject("fills at no whole number of requests a second"),
    };
    if !(1..=REQUESTS_MAX).contains(&requests) || !(1..=REQUESTS_MAX).contains(&most) {
        return bucket.reject(format!("has no size and rate from 1 to {REQUESTS_MAX}"));
    }
    let out = Map::new()
        .with("key", text("route"))
        .with("requests", number(requests))
        .with_some("per", output::time(std::time::Duration::from_secs(seconds)))
        .with("burst", number(most));
    Some(out.done())
}

/// Settings of `body_limit`.
pub(super) fn body(fields: &Fields<'_>) -> Option<Value> {
    let bytes = fields.uint("max_request_bytes")?;
    Some(Map::new().with("bytes", text(format!("{bytes}B"))).done())
}

pub(super) fn body_on_route(_: &Scope<'_>, fields: &Fields<'_>, _: Level) -> Option<Own> {
    if fields.flag("disabled").unwrap_or(false) {
        return Some(Own::Off);
    }
    body(&fields.message("buffer")?).map(Own::Settings)
}
