//! `jwt_authn`: which routes ask for a token, and whose.
//!
//! Envoy's rules match requests by themselves, beside the routes. Here a route asks for a token or
//! not, so that a rule has to cover a route as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use sallyport_config::Value;

use super::super::matching::{self, Matched, PathRule};
use super::super::{Scope, data};
use super::{Effect, Level, Own};
use crate::fields::Fields;
use crate::output::{self, Map, entry, text};

/// What a route says.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Choice {
    Off,
    Requirement(String),
}

/// Settings of `jwt`, or that no token is asked for.
type Requirement = Option<Value>;

/// Providers and rules.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    named: BTreeMap<String, Requirement>,
    rules: Vec<(Paths, Requirement)>,
}

/// The paths that a rule is for.
#[derive(Clone, Debug, PartialEq)]
enum Paths {
    Exact(String),
    Begins(String),
}

impl Plan {
    /// Settings of `jwt` for a route; `None` where it asks for no token.
    pub(super) fn of(&self, choice: Option<&Choice>, matched: &Matched) -> Requirement {
        match choice {
            Some(Choice::Off) => None,
            Some(Choice::Requirement(name)) => self.named.get(name).cloned().flatten(),
            None => {
                let rule = self.rules.iter().find(|(paths, _)| paths.cover(&matched.path));
                rule.and_then(|(_, requirement)| requirement.clone())
            }
        }
    }
}

impl Paths {
    /// Whether every request of a route is one of the rule's. One that is by a regular expression
    /// counts as covered by a rule for every path only.
    fn cover(&self, path: &PathRule) -> bool {
        match (self, path) {
            (Self::Begins(prefix), _) if prefix == "/" => true,
            (
                Self::Begins(prefix),
                PathRule::Exact(path) | PathRule::Begins(path) | PathRule::Segments(path),
            ) => path.starts_with(prefix.as_str()),
            (Self::Exact(rule), PathRule::Exact(path)) => rule == path,
            _ => false,
        }
    }
}

pub(super) fn read(scope: &Scope<'_>, fields: &Fields<'_>) -> Option<Effect> {
    fields.text("stat_prefix");
    fields.ignore("bypass_cors_preflight", "preflights are answered by `cors` before it");
    fields
        .ignore("strip_failure_response", "the answer says no more than that a token is asked for");
    fields.refuse("filter_state_rules", "there is no state of filters to match");
    let mut providers = BTreeMap::new();
    for (name, provider) in fields.entries("providers") {
        if let Some(settings) = self::provider(scope, &provider) {
            providers.insert(name, settings);
        }
    }
    let mut plan = Plan::default();
    for (name, requirement) in fields.entries("requirement_map") {
        let requirement = self::requirement(&requirement, &providers)?;
        plan.named.insert(name, requirement);
    }
    for rule in fields.messages("rules") {
        let paths = rule.message("match").map(|matches| rule_paths(scope, &matches));
        let requirement = match (rule.message("requires"), rule.text("requirement_name")) {
            (Some(requires), _) => self::requirement(&requires, &providers),
            (None, Some(name)) => match plan.named.get(&name) {
                Some(known) => Some(known.clone()),
                None => rule.reject(format!("names requirement {name:?}, which is not there")),
            },
            (None, None) => Some(None),
        };
        let paths = paths.unwrap_or_else(|| Some(Paths::Begins("/".to_owned())))?;
        plan.rules.push((paths, requirement?));
    }
    Some(Effect::Jwt(Arc::new(plan)))
}

fn rule_paths(scope: &Scope<'_>, fields: &Fields<'_>) -> Option<Paths> {
    let matched = matching::read(scope, fields)?;
    let has_more = match &matched.written {
        Some(Value::Mapping(written)) => written.keys().any(|key| key.as_str() != Some("path")),
        _ => false,
    };
    match matched.path {
        PathRule::Exact(path) if !has_more => Some(Paths::Exact(path)),
        PathRule::Begins(prefix) if !has_more => Some(Paths::Begins(prefix)),
        _ => fields
            .reject("matches by more than a path or prefix; say it on routes by requirement_name"),
    }
}

/// What of a requirement can be said: one provider, or none.
fn requirement(fields: &Fields<'_>, providers: &BTreeMap<String, Map>) -> Option<Requirement> {
    let known = |name: &str| match providers.get(name) {
        Some(provider) => Some(provider.clone()),
        None => fields.reject(format!("provider {name:?} is not there, or cannot be used")),
    };
    if let Some(name) = fields.text("provider_name") {
        return Some(Some(known(&name)?.done()));
    }
    if let Some(provider) = fields.message("provider_and_audiences") {
        let settings = known(&provider.text("provider_name").unwrap_or_default())?;
        let audience = output::texts(provider.texts("audiences"));
        let Value::Mapping(settings) = settings.done() else { return None };
        let mut out = Map::new();
        for (key, value) in settings.iter().filter(|(key, _)| key.as_str() != Some("audience")) {
            out.put(key.as_str().unwrap_or_default(), value.clone());
        }
        return Some(Some(out.with_some("audience", audience).done()));
    }
    for name in ["requires_any", "requires_all"] {
        if let Some(set) = fields.message(name) {
            let requirements = set.messages("requirements");
            return match &requirements[..] {
                [one] => requirement(one, providers),
                _ => set.reject("names several providers; a route asks for the token of one"),
            };
        }
    }
    if fields.has("allow_missing") || fields.has("allow_missing_or_failed") {
        return fields.reject("lets requests without a token pass, which `jwt` does not");
    }
    if fields.has("extract_only_without_validation") {
        return fields.reject("takes tokens that nobody has checked, which `jwt` does not");
    }
    Some(None)
}

/// Settings of `jwt` for the tokens of a provider.
fn provider(scope: &Scope<'_>, fields: &Fields<'_>) -> Option<Map> {
    let mut out = Map::new();
    let jwks = match fields.message("remote_jwks") {
        Some(remote) => remote_jwks(&remote),
        None => data::file(scope, fields, "local_jwks").map(|file| entry("file", text(file))),
    };
    let issuer = fields.text("issuer").map(text);
    let audience = output::texts(fields.texts("audiences"));
    let leeway = fields.uint("clock_skew_seconds").map_or(60, |seconds| seconds);
    let forwards = fields.flag("forward").unwrap_or(false);
    fields.ignore("jwt_cache_config", "keys are kept, tokens are checked each time");
    fields.ignore("normalize_payload_in_metadata", "there is no metadata of requests");
    fields.ignore("payload_in_metadata", "there is no metadata of requests");
    fields.ignore("header_in_metadata", "there is no metadata of requests");
    fields.ignore("failed_status_in_metadata", "there is no metadata of requests");
    fields.ignore("clear_route_cache", "routes are chosen before filters");
    fields.ignore("pad_forward_payload_header", "no payload is sent");
    fields.refuse("subjects", "whom a token is for is not asked, write `claims` in a file");
    fields.refuse("max_lifetime", "tokens live as long as they say");
    fields.refuse("from_params", "tokens come in a field or a cookie");
    fields.refuse("forward_payload_header", "claims are sent one by one, write claim_to_headers");
    let header = token_field(fields);
    let cookies = fields.texts("from_cookies");
    let requires_expiration = fields.flag("require_expiration").unwrap_or(false);
    let mut claims = Map::new();
    for claim in fields.messages("claim_to_headers") {
        claim.refuse("claim_path", "write the path as claim_name, with dots");
        let (field, path) = (claim.text("header_name"), claim.text("claim_name"));
        if let (Some(field), Some(path)) = (field, path) {
            claims.put(&field.to_ascii_lowercase(), text(path));
        }
    }
    let header = header?;
    if !cookies.is_empty() && (cookies.len() > 1 || header.is_some()) {
        return fields.reject("takes tokens from several places, write one of them");
    }
    out.put("jwks", jwks?);
    out.put_some("issuer", issuer);
    out.put_some("audience", audience);
    out.put_some("leeway", output::time(std::time::Duration::from_secs(leeway.min(600))));
    if !requires_expiration {
        out.put("required_claims", output::list([]));
    }
    out.put_some("header", header.map(text));
    out.put_some("cookie", cookies.into_iter().next().map(text));
    out.put_some("forward", (!forwards).then_some(Value::Bool(false)));
    out.put_some("claims_to_headers", claims.filled());
    Some(out)
}

/// The one field that holds the token, where it is not `Authorization`. `None` if there are
/// several.
fn token_field(fields: &Fields<'_>) -> Option<Option<String>> {
    let mut field = None;
    let mut count = 0;
    for header in fields.messages("from_headers") {
        count += 1;
        let name = header.text("name").unwrap_or_default().to_ascii_lowercase();
        match header.text("value_prefix").as_deref() {
            None => field = Some(name),
            Some("Bearer " | "Bearer") if name == "authorization" => {}
            Some(other) => {
                return header.reject(format!("has {other:?} before the token, write `Bearer `"));
            }
        }
    }
    if count > 1 {
        return fields.reject("takes tokens from several fields, write one of them");
    }
    Some(field)
}

/// Where keys are fetched.
fn remote_jwks(fields: &Fields<'_>) -> Option<Value> {
    fields.ignore("async_fetch", "keys are fetched ahead in any case");
    fields.ignore("retry_policy", "keys are fetched again until they are there");
    let refresh = fields.time("cache_duration").and_then(output::time);
    let uri = fields.message("http_uri")?;
    uri.ignore("timeout", "no request waits for keys");
    let cluster = uri.text("cluster").unwrap_or_default();
    let url = uri.text("uri").unwrap_or_default();
    let rest = url.split_once("://").map_or(&*url, |(_, rest)| rest);
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let out = Map::new()
        .with("upstream", text(cluster))
        .with("path", text(path))
        .with("host", text(host))
        .with_some("refresh", refresh);
    Some(out.done())
}

pub(super) fn on_route(_: &Scope<'_>, fields: &Fields<'_>, _: Level) -> Option<Own> {
    if fields.flag("disabled").unwrap_or(false) {
        return Some(Own::Off);
    }
    fields.text("requirement_name").map(|name| Own::Jwt(Choice::Requirement(name)))
}
