//! What a rule does with the requests that it takes: where they go, and what is changed on the way.

use std::collections::BTreeSet;

use sallyport_config::spec::scalar::{Duration, Int, Percent, PortName, RetryReason, UrlPath};
use sallyport_config::spec::{
    Backoff, FilterEntry, Forward, Mirror, PathMatch, Redirect, RedirectScheme, RedirectStatus,
    Retry, StickySplit, Target,
};
use serde_json::{Value, json};

use super::Draft;
use super::backend::Wanted;
use super::grants::{From, GROUP};
use super::ingress::to;
use crate::objects::{
    BackendRef, Cors, Filter, HeaderChanges, Key, NameValue, PathModifier, RequestMirror,
    RequestRedirect, RouteKind, Rule, UrlRewrite,
};

/// Why references of a rule cannot be followed: the reason of the condition, and a message.
pub(super) type Unresolved = (&'static str, String);

/// What of a rule holds for all its matches.
#[derive(Debug, Default)]
pub(super) struct Action {
    pub(super) filters: Vec<FilterEntry>,
    pub(super) forward: Option<Forward>,
    pub(super) redirect: Option<Redirect>,
    /// The first reference that cannot be followed.
    pub(super) unresolved: Option<Unresolved>,
    /// What is asked for and not supported: the rule answers 500.
    pub(super) unsupported: Option<String>,
    /// Whether a filter that it names is not there: the rule answers 500, since none may be skipped.
    pub(super) lacks_filter: bool,
    /// The objects that its filters are.
    pub(super) made_of: BTreeSet<Box<str>>,
}

/// The rule of a route.
#[derive(Clone, Copy, Debug)]
pub(super) struct Of<'r> {
    pub(super) kind: RouteKind,
    pub(super) namespace: &'r str,
    pub(super) rule: &'r Rule,
}

impl Draft<'_> {
    /// What a rule does with requests whose path is matched as `path` says.
    pub(super) fn action(&mut self, of: Of<'_>, path: Option<&PathMatch>) -> Action {
        let mut action = Action::default();
        let mut mirror = None;
        let backends = &of.rule.backend_refs;
        let of_backend = match &backends[..] {
            [one] => &one.filters[..],
            several => {
                if several.iter().any(|backend| !backend.filters.is_empty()) {
                    let what = "filters of one of several backends are not supported";
                    action.unsupported = Some(what.to_owned());
                }
                &[]
            }
        };
        for filter in of.rule.filters.iter().chain(of_backend) {
            if let Err(what) = self.filter(of, filter, path, &mut action, &mut mirror) {
                action.unsupported.get_or_insert(what);
            }
        }
        let forward = self.forward(of, &mut action);
        if action.redirect.is_none() {
            action.forward = forward.map(|forward| Forward { mirror, ..forward });
            if let Some(forward) = &mut action.forward
                && let Err(what) = times(of.rule, forward)
            {
                action.unsupported.get_or_insert(what);
            }
        }
        action
    }

    fn filter(
        &mut self,
        of: Of<'_>,
        filter: &Filter,
        path: Option<&PathMatch>,
        action: &mut Action,
        mirror: &mut Option<Mirror>,
    ) -> Result<(), String> {
        let Filter { kind, request_header_modifier: request, .. } = filter;
        let added = match &**kind {
            "RequestHeaderModifier" => headers("request", request.as_ref()),
            "ResponseHeaderModifier" => {
                headers("response", filter.response_header_modifier.as_ref())
            }
            "URLRewrite" => rewrite(&filter.url_rewrite.clone().unwrap_or_default(), path)?,
            "CORS" => Some(cors(&filter.cors.clone().unwrap_or_default())?),
            "RequestRedirect" => {
                let asked = filter.request_redirect.clone().unwrap_or_default();
                action.redirect = Some(redirect(&asked)?);
                None
            }
            "RequestMirror" => {
                let asked = filter.request_mirror.clone().unwrap_or_default();
                if mirror.is_some() {
                    return Err("a second mirror of one rule is not supported".to_owned());
                }
                match self.mirror(of, &asked) {
                    Ok(found) => *mirror = found,
                    Err(unresolved) => drop(action.unresolved.get_or_insert(unresolved)),
                }
                None
            }
            "ExtensionRef" => {
                let asked = filter.extension_ref.clone().unwrap_or_default();
                match self.extension(of.namespace, &asked)? {
                    Ok((entry, origin)) => {
                        action.made_of.insert(origin);
                        Some(entry)
                    }
                    Err(unresolved) => {
                        action.lacks_filter = true;
                        action.unresolved.get_or_insert(unresolved);
                        None
                    }
                }
            }
            other => return Err(format!("filters of the type {other:?} are not supported")),
        };
        action.filters.extend(added.map(entry).transpose()?);
        Ok(())
    }

    fn mirror(&mut self, of: Of<'_>, asked: &RequestMirror) -> Result<Option<Mirror>, Unresolved> {
        let upstream = self.backend(of, &asked.backend_ref)?;
        let percent = match (&asked.fraction, asked.percent) {
            (Some(fraction), _) => {
                let whole = fraction.denominator.unwrap_or(100).max(1);
                fraction.numerator.saturating_mul(100).div_ceil(whole)
            }
            (None, percent) => percent.unwrap_or(100),
        };
        let percent = Some(Int(percent.min(100))).filter(|percent| percent.0 > 0);
        Ok(percent
            .map(|percent| Mirror { upstream: upstream.as_str().into(), percent: Some(percent) }))
    }

    /// The upstreams of a rule's backends and their shares; none if nothing of what is named is there.
    pub(super) fn targets(
        &mut self,
        of: Of<'_>,
        first_unresolved: &mut Option<Unresolved>,
    ) -> Vec<Target> {
        let mut targets: Vec<Target> = Vec::new();
        let mut lost = 0;
        for backend in &of.rule.backend_refs {
            let weight = u64::try_from(backend.weight.unwrap_or(1)).unwrap_or(0).min(1_000_000);
            match self.backend(of, backend) {
                Ok(upstream) => match targets.iter_mut().find(|it| *it.upstream == *upstream) {
                    Some(target) => target.weight.0 += weight,
                    None => {
                        let upstream = upstream.as_str().into();
                        targets.push(Target { upstream, weight: Int(weight) });
                    }
                },
                Err(unresolved) => {
                    first_unresolved.get_or_insert(unresolved);
                    lost += weight;
                }
            }
        }
        targets.retain(|target| target.weight.0 > 0);
        if lost > 0 && !targets.is_empty() {
            // Its share is answered with an error: nobody else takes it.
            let upstream = self.nowhere().as_str().into();
            targets.push(Target { upstream, weight: Int(lost) });
        }
        scale(&mut targets);
        targets
    }

    /// Where requests go; nowhere if nothing of what is named is there.
    fn forward(&mut self, of: Of<'_>, action: &mut Action) -> Option<Forward> {
        let targets = self.targets(of, &mut action.unresolved);
        if targets.is_empty() {
            return None;
        }
        let sticky = match self::sticky(of.rule, targets.len()) {
            Ok(sticky) => sticky,
            Err(what) => {
                action.unsupported.get_or_insert(what);
                None
            }
        };
        if let [only] = &targets[..] {
            return Some(to(&only.upstream));
        }
        Some(Forward {
            upstream: None,
            split: Some(targets),
            failover: Some(false),
            sticky,
            ..to("")
        })
    }

    /// The upstream of a reference.
    fn backend(&mut self, of: Of<'_>, backend: &BackendRef) -> Result<String, Unresolved> {
        let group = backend.group.as_deref().unwrap_or_default();
        let kind = backend.kind.as_deref().unwrap_or("Service");
        if !group.is_empty() || kind != "Service" {
            let what = format!("{kind} {} is no Service", backend.name);
            return Err(("InvalidKind", what));
        }
        let namespace = backend.namespace.as_deref().unwrap_or(of.namespace);
        let from = From { group: GROUP, kind: of.kind.kind(), namespace: of.namespace };
        if !self.is_granted(from, kind, namespace, &backend.name) {
            let what = format!(
                "no ReferenceGrant of namespace {namespace} lets {} objects of namespace {} name Service {}",
                of.kind.kind(),
                of.namespace,
                backend.name,
            );
            return Err(("RefNotPermitted", what));
        }
        let Some(port) = backend.port else {
            return Err((
                "BackendNotFound",
                format!("Service {} is named without a port", backend.name),
            ));
        };
        let wanted =
            Wanted { http2: of.kind == RouteKind::Grpc, is_passed_on: of.kind == RouteKind::Tls };
        let key = Key::new(namespace, &backend.name);
        let found = self.upstream(&key, &PortName::Number(port), &wanted);
        found.map_err(|what| ("BackendNotFound", what))
    }
}

/// `sessionPersistence` of a rule: a cookie that keeps a client at one of several backends.
fn sticky(rule: &Rule, backends: usize) -> Result<Option<StickySplit>, String> {
    let Some(asked) = &rule.session_persistence else { return Ok(None) };
    if asked.kind.as_deref().is_some_and(|kind| kind != "Cookie") || asked.idle_timeout.is_some() {
        return Err("sessions are kept by cookies and without an idle timeout only".to_owned());
    }
    if backends < 2 {
        return Err("sessions are kept at one of several backends only".to_owned());
    }
    let cookie = asked.session_name.as_deref().unwrap_or("SALLYPORT").into();
    let ttl = time(&asked.absolute_timeout)?.map(Duration);
    Ok(Some(StickySplit { cookie, ttl, secret_file: None }))
}

/// Brings weights into the range of the gateway's, in proportion.
fn scale(targets: &mut [Target]) {
    let most = targets.iter().map(|target| target.weight.0).max().unwrap_or(0);
    if most > 65_535 {
        for target in targets {
            target.weight.0 = (target.weight.0 * 65_535 / most).max(1);
        }
    }
}

fn entry(value: Value) -> Result<FilterEntry, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// A text that is taken as it stands where templates are.
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

fn headers(message: &str, changes: Option<&HeaderChanges>) -> Option<Value> {
    let changes = changes?;
    let entries = |fields: &[NameValue]| {
        let mut map = serde_json::Map::new();
        for field in fields {
            // Of several with one name only the first counts.
            let known = map.keys().any(|name| name.eq_ignore_ascii_case(&field.name));
            if !known {
                map.insert(field.name.clone(), literal(&field.value).into());
            }
        }
        Value::Object(map)
    };
    let mut to = serde_json::Map::new();
    if !changes.remove.is_empty() {
        to.insert("remove".into(), json!(changes.remove));
    }
    if !changes.set.is_empty() {
        to.insert("set".into(), entries(&changes.set));
    }
    if !changes.add.is_empty() {
        to.insert("add".into(), entries(&changes.add));
    }
    // Several of the kind have names of their own.
    let name = format!("headers-{message}");
    (!to.is_empty()).then(|| json!({ "name": name, "headers": { message: to } }))
}

fn rewrite(asked: &UrlRewrite, path: Option<&PathMatch>) -> Result<Option<Value>, String> {
    let mut to = serde_json::Map::new();
    if let Some(hostname) = &asked.hostname {
        to.insert("host".into(), hostname.as_str().into());
    }
    if let Some(PathModifier { kind, replace_full_path, replace_prefix_match }) = &asked.path {
        let path = match &**kind {
            "ReplaceFullPath" => {
                let with = literal(replace_full_path.as_deref().unwrap_or("/"));
                json!({ "regex": "/.*", "with": with })
            }
            "ReplacePrefixMatch" => {
                let prefix = match path {
                    None => "/",
                    Some(PathMatch::Prefix(prefix)) => prefix,
                    Some(_) => return Err("a prefix is replaced and none is matched".to_owned()),
                };
                let with = replace_prefix_match.as_deref().filter(|with| !with.is_empty());
                json!({ "prefix": prefix, "with": with.unwrap_or("/") })
            }
            other => return Err(format!("paths are not rewritten by {other:?}")),
        };
        to.insert("path".into(), path);
    }
    Ok((!to.is_empty()).then(|| json!({ "rewrite": to })))
}

fn cors(asked: &Cors) -> Result<Value, String> {
    let mut to = serde_json::Map::new();
    let origins = asked.allow_origins.iter().map(|origin| match origin.split_once("://*.") {
        Some((scheme, rest)) => {
            let rest = rest.replace('.', "\\.");
            json!({ "regex": format!("{scheme}://[^/]+\\.{rest}") })
        }
        None => json!(origin),
    });
    to.insert("origins".into(), origins.collect());
    for (key, list) in [
        ("methods", &asked.allow_methods),
        ("headers", &asked.allow_headers),
        ("expose", &asked.expose_headers),
    ] {
        if !list.is_empty() {
            to.insert(key.into(), json!(list));
        }
    }
    if let Some(credentials) = asked.allow_credentials {
        to.insert("credentials".into(), credentials.into());
    }
    let seconds = asked.max_age.unwrap_or(5);
    if seconds > 0 {
        to.insert("max_age".into(), format!("{}s", seconds.min(86_400)).into());
    }
    Ok(json!({ "cors": to }))
}

fn redirect(asked: &RequestRedirect) -> Result<Redirect, String> {
    let status = RedirectStatus::try_from(asked.status_code.unwrap_or(302));
    let scheme = match asked.scheme.as_deref() {
        None => None,
        Some("http") => Some(RedirectScheme::Http),
        Some("https") => Some(RedirectScheme::Https),
        Some(other) => return Err(format!("there are no redirects to the scheme {other:?}")),
    };
    let mut to = Redirect {
        status: Some(status.map_err(|what| format!("the status of a redirect {what}"))?),
        scheme,
        host: asked.hostname.as_deref().map(|host| literal(host).into()),
        port: asked.port.map(|port| Int(port.into())),
        path: None,
        path_prefix: None,
    };
    if let Some(path) = &asked.path {
        match &*path.kind {
            "ReplaceFullPath" => {
                let path = path.replace_full_path.as_deref().unwrap_or("/");
                to.path = Some(literal(path).into());
            }
            "ReplacePrefixMatch" => {
                let path = path.replace_prefix_match.as_deref().filter(|path| !path.is_empty());
                to.path_prefix = Some(UrlPath(path.unwrap_or("/").into()));
            }
            other => return Err(format!("paths are not redirected by {other:?}")),
        }
    }
    Ok(to)
}

/// `timeouts` and `retry` of a rule.
fn times(rule: &Rule, forward: &mut Forward) -> Result<(), String> {
    if let Some(timeouts) = &rule.timeouts {
        forward.timeout = time(&timeouts.request)?.map(Duration);
        if let Some(each) = time(&timeouts.backend_request)? {
            let retry = forward.retry.get_or_insert_default();
            retry.per_try_timeout = Some(Duration(each));
        }
    }
    let Some(asked) = &rule.retry else { return Ok(()) };
    let retry: &mut Retry = forward.retry.get_or_insert_default();
    retry.attempts = asked.attempts.map(|attempts| Int(attempts.min(15)));
    let mut on = vec![RetryReason::Connect, RetryReason::Reset, RetryReason::RefusedStream];
    let codes = asked.codes.iter().filter(|code| (400..=599).contains(*code));
    on.extend(codes.map(|code| RetryReason::Status(*code)));
    if rule.timeouts.as_ref().is_some_and(|timeouts| timeouts.backend_request.is_some()) {
        on.push(RetryReason::Timeout);
    }
    retry.on = Some(on);
    // The budget is this gateway's own: a cluster's retry names none.
    retry.budget = Some(Percent(100));
    if let Some(base) = time(&asked.backoff)? {
        let base = Some(Duration(base));
        retry.backoff = Some(Backoff { base, max: None });
    }
    Ok(())
}

/// A time that is written and not none.
fn time(text: &Option<String>) -> Result<Option<std::time::Duration>, String> {
    let Some(text) = text else { return Ok(None) };
    let time = duration(text).ok_or_else(|| format!("{text:?} is no duration"))?;
    Ok(Some(time).filter(|time| !time.is_zero()))
}

/// A duration of the Gateway API (GEP-2257): hours, minutes, seconds and milliseconds in this
/// order.
pub(super) fn duration(text: &str) -> Option<std::time::Duration> {
    let (mut total_ms, mut number, mut rest) = (0u64, String::new(), text.chars().peekable());
    while let Some(letter) = rest.next() {
        if letter.is_ascii_digit() && number.len() < 6 {
            number.push(letter);
            continue;
        }
        let unit_ms = match letter {
            'h' => 3_600_000,
            'm' if rest.next_if_eq(&'s').is_some() => 1,
            'm' => 60_000,
            's' => 1_000,
            _ => return None,
        };
        total_ms += std::mem::take(&mut number).parse::<u64>().ok()? * unit_ms;
    }
    (number.is_empty() && !text.is_empty()).then(|| std::time::Duration::from_millis(total_ms))
}

#[cfg(test)]
mod tests;
