//! `RetryPolicy` and `HedgePolicy` as `retry`.

use sallyport_config::Value;

use crate::fields::Fields;
use crate::output::{self, Map, number, text};

/// What Envoy's conditions are here. It takes every reset of a stream, and every timeout of a try,
/// for one that `reset`, `5xx` and `gateway-error` retry on.
const CONDITIONS: [(&str, &[&str]); 9] = [
    ("5xx", &["connect", "reset", "timeout", "refused_stream", "5xx"]),
    ("gateway-error", &["connect", "reset", "timeout", "refused_stream", "502", "503", "504"]),
    ("reset", &["connect", "reset", "timeout", "refused_stream"]),
    ("reset-before-request", &["connect", "reset", "refused_stream"]),
    ("connect-failure", &["connect"]),
    ("refused-stream", &["refused_stream"]),
    ("retriable-4xx", &["409"]),
    ("retriable-status-codes", &[]),
    ("http3-post-connect-failure", &[]),
];

/// The most retries that a route may have.
const ATTEMPTS_MAX: u64 = 15;

/// Reads the retry policy of a route, and what of it hedges.
pub(super) fn read(fields: &Fields<'_>, hedge: Option<&Fields<'_>>) -> Option<Value> {
    let codes = fields.uints("retriable_status_codes");
    let on = conditions(fields, &codes);
    let attempts = fields.uint("num_retries").unwrap_or(1);
    let per_try = fields.time("per_try_timeout");
    let backoff = fields.message("retry_back_off").map(|backoff| {
        Map::new()
            .with_some("base", backoff.time("base_interval").and_then(output::time))
            .with_some("max", backoff.time("max_interval").and_then(output::time))
            .done()
    });
    fields.ignore_all(
        &["retry_host_predicate", "host_selection_retry_max_attempts"],
        "a retry goes to an endpoint that was not tried, as long as there is one",
    );
    let hedges = hedge.is_some_and(|hedge| {
        hedge.refuse("initial_requests", "one request is sent at first");
        hedge.refuse("additional_request_chance", "a request is hedged by time, not by chance");
        hedge.flag("hedge_on_per_try_timeout").unwrap_or(false)
    });
    if attempts > ATTEMPTS_MAX {
        fields.remark(
            crate::Outcome::Refused,
            format!("num_retries is {attempts}, write a number up to {ATTEMPTS_MAX}"),
        );
        return None;
    }
    let per_try = per_try.and_then(output::time);
    let (per_try, hedge_after) = if hedges { (None, per_try) } else { (per_try, None) };
    let mut out = Map::new().with("attempts", number(attempts));
    out.put_some("on", on);
    // Envoy asks whether the failure is one to retry on, and not what the request does.
    out.put("methods", output::list(["POST", "PATCH"].map(text)));
    out.put_some("per_try_timeout", per_try);
    out.put("backoff", backoff.unwrap_or_else(default_backoff));
    out.put_some("hedge_after", hedge_after);
    Some(out.done())
}

/// Envoy waits before every retry, by default for 25 ms at first.
fn default_backoff() -> Value {
    Map::new().with("base", text("25ms")).with("max", text("250ms")).done()
}

fn conditions(fields: &Fields<'_>, codes: &[u64]) -> Option<Value> {
    let mut words: Vec<String> = Vec::new();
    let mut put = |word: String| {
        if !words.contains(&word) {
            words.push(word);
        }
    };
    let written = fields.text("retry_on").unwrap_or_default();
    for condition in written.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let Some((_, reasons)) = CONDITIONS.iter().find(|(name, _)| *name == condition) else {
            let what = format!("retry_on has {condition}, which is no condition here");
            fields.remark(crate::Outcome::Refused, what);
            continue;
        };
        for reason in *reasons {
            match *reason {
                "5xx" => (500..600).for_each(|status| put(status.to_string())),
                reason => put(reason.to_owned()),
            }
        }
        if condition == "retriable-status-codes" {
            for code in codes {
                match code {
                    400..=599 => put(code.to_string()),
                    other => fields.remark(
                        crate::Outcome::Refused,
                        format!("retriable_status_codes has {other}, write 400 to 599"),
                    ),
                }
            }
        }
    }
    let is_status = |word: &String| word.bytes().all(|byte| byte.is_ascii_digit());
    let value = |word: String| if is_status(&word) { number(word) } else { text(word) };
    output::filled(words.into_iter().map(value).collect())
}
