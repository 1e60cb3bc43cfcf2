//! What clients are told of their limit:
//! [draft-ietf-httpapi-ratelimit-headers-11](https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/11/).

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::buckets::Taken;
use crate::filter::Answer;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// What is the same in all fields that one limit writes.
#[derive(Debug)]
pub(super) struct Told {
    policy: HeaderValue,
    /// The policy's name, in its quotes.
    name: String,
}

impl Told {
    /// For the limit called `name` of `requests` in each `per`, `burst` of them at once.
    pub(super) fn new(name: &str, requests: u64, per: Duration, burst: u64) -> Self {
        let name = quoted(name);
        let mut policy = format!("{name};q={requests};w={}", per.as_secs());
        if burst != requests {
            policy.push_str(&format!(";sallyport-burst={burst}"));
        }
        let policy = HeaderValue::from_maybe_shared(Bytes::from(policy));
        let policy = policy.expect("visible ASCII and spaces are a field value");
        Self { policy, name }
    }

    /// Adds both fields to `headers`. They are lists: those of an origin or of another such filter stay.
    pub(super) fn add_to(&self, headers: &mut HeaderMap, taken: &Taken) {
        let text = format!("{};r={};t={}", self.name, taken.remaining, taken.wait_s());
        if let Ok(limit) = HeaderValue::from_maybe_shared(Bytes::from(text)) {
            headers.append(POLICY, self.policy.clone());
            headers.append(LIMIT, limit);
        }
    }
}

/// `name` as a string of RFC 9651, 3.3.3: visible ASCII and spaces.
fn quoted(name: &str) -> String {
    let visible = name.chars().filter(|letter| matches!(letter, ' '..='~'));
    let escaped: String = visible
        .flat_map(|letter| matches!(letter, '"' | '\\').then_some('\\').into_iter().chain([letter]))
        .collect();
    format!("\"{escaped}\"")
}

/// The answer to a request that is over its limit, with the seconds until another is admitted.
pub(super) fn refusal(wait_s: u64) -> Answer {
    let text = "too many requests, try again later";
    let answer = Answer::error(StatusCode::TOO_MANY_REQUESTS, "rate_limited", text);
    answer.with(header::RETRY_AFTER, wait_s.into())
}
