#![doc = include_str!("jwt/README.md")]

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;
use tokio::sync::Notify;

use sallyport_config::schema;

use crate::exchange::{Exchange, Marks};
use crate::filter::{Answer, Filter, Flow, Phases};
use crate::host::Host;
use crate::kind::Kind;

mod config;
mod fetch;
mod keys;
mod provider;
mod rules;
mod source;
mod spec;
mod token;

pub use spec::{AlgorithmName, ClaimLabelSpec, ClaimRuleSpec, ClaimsSpec, JwksSpec, JwtSpec};

use fetch::Remote;
use keys::Keys;
use rules::{ClaimPath, ClaimRules};
use source::Source;
use token::{Checks, Claims, Refusal};

/// `jwt:` in `filters:`.
pub const KIND: Kind =
    Kind { name: "jwt", read: config::read, schema: schema::settings::<JwtSpec> };

/// Lets requests with a good token pass.
#[derive(Debug)]
struct Jwt {
    /// The keys in force; `None` until they have been fetched once.
    keys: ArcSwapOption<Keys>,
    /// Where they are fetched from; `None` where they come from a file.
    remote: Option<Arc<Remote>>,
    /// Wakes the task that fetches.
    refetch: Arc<Notify>,
    source: Source,
    checks: Checks,
    claim_rules: ClaimRules,
    forward: bool,
    claims_to_headers: Vec<(HeaderName, ClaimPath)>,
    label: Option<ClaimPath>,
}

impl Filter for Jwt {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS
    }

    fn start(self: Arc<Self>, host: &Arc<Host>) {
        if let (Some(remote), Some(runtime)) = (&self.remote, &host.background) {
            let remote = Arc::clone(remote);
            runtime.spawn(fetch::keep_fresh(Arc::downgrade(&self), remote, host.calls.clone()));
        }
    }

    fn request_headers<'a>(&'a self, x: Exchange<'a>) -> Flow<'a> {
        let headers = &mut x.request.headers;
        for (name, _) in &self.claims_to_headers {
            headers.remove(name);
        }
        let Some(keys) = self.keys.load_full() else { return Flow::answer(no_keys()) };
        let verified = self.source.token(headers);
        match verified.and_then(|token| self.checks.verify(&keys, &token)) {
            Ok(claims) if self.claim_rules.hold(&claims) => self.admit(&claims, headers, x.marks),
            Ok(_) => Flow::answer(forbidden()),
            Err(refusal) => {
                tracing::debug!(%refusal, "a token is refused");
                if matches!(refusal, Refusal::UnknownKey) {
                    self.refetch.notify_one();
                }
                Flow::answer(refused(&refusal))
            }
        }
    }
}

impl Jwt {
    fn admit<'a>(&self, claims: &Claims, headers: &mut HeaderMap, marks: &mut Marks) -> Flow<'a> {
        if !self.forward {
            self.source.strip(headers);
        }
        for (name, claim) in &self.claims_to_headers {
            let text = claim.find(claims).and_then(text);
            if let Some(value) = text.and_then(|text| HeaderValue::from_str(&text).ok()) {
                headers.insert(name, value);
            }
        }
        if let Some(value) = self.label.as_ref().and_then(|claim| text(claim.find(claims)?)) {
            marks.label("jwt", &value);
        }
        Flow::Continue
    }
}

impl Drop for Jwt {
    fn drop(&mut self) {
        // The task that fetches sees that the filter is gone.
        self.refetch.notify_one();
    }
}

/// A claim as a field holds it. An item with a comma in it would look like two.
fn text(claim: &Value) -> Option<String> {
    match claim {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(claim.to_string()),
        Value::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(item).collect();
            Some(items?.join(","))
        }
        Value::Null | Value::Object(_) => None,
    }
}

fn item(claim: &Value) -> Option<String> {
    match claim {
        Value::Array(_) => None,
        other => text(other).filter(|text| !text.contains(',')),
    }
}

/// The one answer for every token that is refused, so that it tells nothing of the reason. A request
/// without a token is told of no error: RFC 6750, 3.1.
fn refused(refusal: &Refusal) -> Answer {
    let challenge = match refusal {
        Refusal::NoToken => HeaderValue::from_static("Bearer"),
        _ => HeaderValue::from_static("Bearer error=\"invalid_token\""),
    };
    Answer::error(StatusCode::UNAUTHORIZED, "jwt", "a valid token is required")
        .with(header::WWW_AUTHENTICATE, challenge)
}

/// The token is good and does not say what `claims` demands: RFC 6750, 3.1.
fn forbidden() -> Answer {
    let challenge = HeaderValue::from_static("Bearer error=\"insufficient_scope\"");
    Answer::error(StatusCode::FORBIDDEN, "jwt_claims", "the token does not permit this")
        .with(header::WWW_AUTHENTICATE, challenge)
}

fn no_keys() -> Answer {
    Answer::error(StatusCode::SERVICE_UNAVAILABLE, "jwt_keys", "no keys to check tokens with yet")
}

#[cfg(test)]
mod tests;
