//! `RouteMatch` as `match`, and the matchers within.

use sallyport_config::Value;

use super::fraction::runtime_fractional;
use super::{Scope, regex};
use crate::fields::Fields;
use crate::findings::Outcome;
use crate::output::{self, Map, entry, text};

/// How a route matches paths: what a rewrite needs to know of it.
#[derive(Clone, Debug)]
pub(super) enum PathRule {
    /// One path.
    Exact(String),
    /// Every path that begins with this text.
    Begins(String),
    /// This path and what is below it, by whole segments.
    Segments(String),
    /// By a regular expression.
    Regex,
}

/// A route's match.
pub(super) struct Matched {
    pub(super) path: PathRule,
    /// As `match` has it; `None` for every request.
    pub(super) written: Option<Value>,
    /// What is left of a request's chance to match, in percent.
    pub(super) percent: f64,
}

/// A value that must be: the key and what is written there.
type Condition = (&'static str, Value);

/// Reads the match of a route. `None` if it cannot be said.
pub(super) fn read(scope: &Scope<'_>, fields: &Fields<'_>) -> Option<Matched> {
    let mut out = Map::new();
    let path = path(fields, &mut out);
    let mut parts = Parts::default();
    let mut is_good = path.is_some();
    for header in fields.messages("headers") {
        is_good &= header_match(&header, &mut parts).is_some();
    }
    if let Some(grpc) = fields.message("grpc") {
        drop(grpc);
        let grpc = ("regex", text(r"application/grpc(?:\+.*)?"));
        parts.headers.push(named("content-type", vec![grpc]));
    }
    for query in fields.messages("query_parameters") {
        is_good &= query_match(&query, &mut parts).is_some();
    }
    for cookie in fields.messages("cookies") {
        is_good &= cookie_match(&cookie, &mut parts).is_some();
    }
    let client = fields.message("tls_context").and_then(|context| {
        // Here a certificate that was presented is one that was verified: others end the handshake.
        let presented = context.flag("presented");
        let validated = context.flag("validated");
        validated.or(presented).map(|flag| entry("verified", Value::Bool(flag)))
    });
    let percent = match fields.message("runtime_fraction") {
        Some(fraction) => runtime_fractional(&fraction, &scope.runtime),
        None => 100.0,
    };
    let dynamic = "there is no metadata of requests to match";
    fields.refuse("dynamic_metadata", dynamic);
    fields.refuse("filter_state", dynamic);
    out.put_some(
        "methods",
        parts.methods.map(|methods| output::list(methods.into_iter().map(text))),
    );
    out.put_some("headers", output::filled(parts.headers));
    out.put_some("query", output::filled(parts.query));
    out.put_some("cookies", output::filled(parts.cookies));
    out.put_some("scheme", parts.scheme.map(text));
    out.put_some("client_certificate", client);
    let path = path.filter(|_| is_good)?;
    Some(Matched { path, written: out.filled(), percent })
}

/// What the conditions of a route come to.
#[derive(Default)]
struct Parts {
    methods: Option<Vec<String>>,
    headers: Vec<Value>,
    query: Vec<Value>,
    cookies: Vec<Value>,
    scheme: Option<String>,
}

/// Reads how the path must be; writes it unless every path will do.
fn path(fields: &Fields<'_>, out: &mut Map) -> Option<PathRule> {
    let ignores_case = fields.flag("case_sensitive") == Some(false);
    let any_case = |pattern: String| if ignores_case { format!("(?i){pattern}") } else { pattern };
    let mut put = |key: &str, value: String| out.put("path", entry(key, text(value)));
    if let Some(path) = fields.text("path") {
        match ignores_case {
            true => put("regex", any_case(regex::escaped(&path))),
            false => put("exact", path.clone()),
        }
        return Some(PathRule::Exact(path));
    }
    if let Some(prefix) = fields.text("path_separated_prefix") {
        match ignores_case {
            true => put("regex", any_case(format!("{}(?:/.*)?", regex::escaped(&prefix)))),
            false => put("prefix", prefix.clone()),
        }
        return Some(PathRule::Segments(prefix));
    }
    if let Some(matcher) = fields.message("safe_regex") {
        put("regex", any_case(regex::of(&matcher)?));
        return Some(PathRule::Regex);
    }
    fields.refuse("connect_matcher", "CONNECT is not routed, it is answered with 501");
    fields.refuse("path_match_policy", "only paths, prefixes and regular expressions match");
    if fields.has("connect_matcher") || fields.has("path_match_policy") {
        return None;
    }
    // What is set to nothing is every path, as `/` is.
    let prefix = fields.text("prefix").unwrap_or_else(|| "/".to_owned());
    match &*prefix {
        "/" => {}
        // By whole segments a prefix that ends in `/` takes what follows, as Envoy's does.
        prefix if prefix.ends_with('/') && !ignores_case => put("prefix", prefix.to_owned()),
        prefix => put("regex", any_case(format!("{}.*", regex::escaped(prefix)))),
    }
    Some(PathRule::Begins(prefix))
}

fn named(name: &str, conditions: Vec<Condition>) -> Value {
    let mut out = Map::new().with("name", text(name));
    for (key, value) in conditions {
        out.put(key, value);
    }
    out.done()
}

/// Reads a `StringMatcher`.
pub(super) fn string(matcher: &Fields<'_>) -> Option<Condition> {
    let ignores_case = matcher.flag("ignore_case").unwrap_or(false);
    let any_case = |pattern: String| {
        let flags = if ignores_case { "(?is)" } else { "(?s)" };
        Some(("regex", text(format!("{flags}{pattern}"))))
    };
    if let Some(exact) = matcher.text("exact") {
        return match ignores_case {
            true => any_case(regex::escaped(&exact)),
            false => Some(("exact", text(exact))),
        };
    }
    if let Some(prefix) = matcher.text("prefix") {
        return match ignores_case {
            true => any_case(format!("{}.*", regex::escaped(&prefix))),
            false => Some(("prefix", text(prefix))),
        };
    }
    if let Some(suffix) = matcher.text("suffix") {
        return any_case(format!(".*{}", regex::escaped(&suffix)));
    }
    if let Some(part) = matcher.text("contains") {
        return any_case(format!(".*{}.*", regex::escaped(&part)));
    }
    if let Some(expression) = matcher.message("safe_regex") {
        return regex::of(&expression).map(|pattern| ("regex", text(pattern)));
    }
    matcher.refuse("custom", "only texts and regular expressions match");
    (!matcher.has("custom")).then(|| ("exact", text("")))
}

fn header_match(fields: &Fields<'_>, parts: &mut Parts) -> Option<()> {
    let name = fields.text("name").unwrap_or_default().to_ascii_lowercase();
    let is_inverted = fields.flag("invert_match").unwrap_or(false);
    fields.refuse("treat_missing_header_as_empty", "a field that is not there does not match here");
    if fields.has("range_match") {
        return fields.reject("matches a range of numbers, write a regular expression");
    }
    let condition = if let Some(present) = fields.flag("present_match") {
        ("present", Value::Bool(present != is_inverted))
    } else if let Some(matcher) = fields.message("string_match") {
        string(&matcher)?
    } else if let Some(matcher) = fields.message("safe_regex_match") {
        ("regex", text(regex::of(&matcher)?))
    } else if let Some(exact) = fields.text("exact_match") {
        ("exact", text(exact))
    } else if let Some(prefix) = fields.text("prefix_match") {
        ("prefix", text(prefix))
    } else if let Some(suffix) = fields.text("suffix_match") {
        ("regex", text(format!("(?s).*{}", regex::escaped(&suffix))))
    } else if let Some(part) = fields.text("contains_match") {
        ("regex", text(format!("(?s).*{}.*", regex::escaped(&part))))
    } else {
        ("present", Value::Bool(!is_inverted))
    };
    if is_inverted && condition.0 != "present" {
        return fields.reject(
            "matches what does not match; only `present_match` can be inverted, put a route for the \
             value itself before this one",
        );
    }
    match &*name {
        ":method" => {
            let methods = methods(&condition);
            parts.methods = methods.map(Some).or_else(|| {
                fields.reject("matches methods by more than their names, write one route a method")
            })?;
        }
        ":scheme" => match condition {
            ("exact", Value::String(scheme)) if matches!(&*scheme, "http" | "https") => {
                parts.scheme = Some(scheme.into());
            }
            _ => return fields.reject("matches no scheme by name, write http or https"),
        },
        name if name.starts_with(':') || name == "host" => {
            return fields.reject(format!(
                "matches {name:?} as a field, write a domain of the virtual host or a path"
            ));
        }
        name => parts.headers.push(named(name, vec![condition])),
    }
    Some(())
}

/// The methods that a condition names, as one or as `A|B` of a regular expression.
fn methods((key, value): &Condition) -> Option<Vec<String>> {
    let written = value.as_str()?;
    let names: Vec<_> = match *key {
        "exact" => vec![written],
        "regex" => {
            let inner = written.strip_prefix("(?s)").unwrap_or(written);
            let inner = inner.trim_start_matches('^').trim_end_matches('$');
            let inner =
                inner.strip_prefix('(').and_then(|it| it.strip_suffix(')')).unwrap_or(inner);
            inner.trim_start_matches("?:").split('|').collect()
        }
        _ => return None,
    };
    let is_method =
        |name: &&str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase());
    names.iter().all(is_method).then(|| names.into_iter().map(str::to_owned).collect())
}

fn query_match(fields: &Fields<'_>, parts: &mut Parts) -> Option<()> {
    let name = fields.text("name").unwrap_or_default();
    let condition = match fields.message("string_match") {
        Some(matcher) => string(&matcher)?,
        None => ("present", Value::Bool(fields.flag("present_match").unwrap_or(true))),
    };
    parts.query.push(named(&name, vec![condition]));
    Some(())
}

fn cookie_match(fields: &Fields<'_>, parts: &mut Parts) -> Option<()> {
    let name = fields.text("name").unwrap_or_default();
    let is_inverted = fields.flag("invert_match").unwrap_or(false);
    let condition = fields.message("string_match").map(|matcher| string(&matcher));
    if is_inverted {
        return fields.reject("matches cookies that do not match, which cannot be said");
    }
    let condition = condition.unwrap_or(Some(("present", Value::Bool(true))))?;
    parts.cookies.push(named(&name, vec![condition]));
    Some(())
}

/// Tells of a match that some requests only have, and returns whether the route is there at all.
pub(super) fn is_there(matched: &Matched, fields: &Fields<'_>) -> Option<bool> {
    match matched.percent {
        percent if percent >= 100.0 => Some(true),
        0.0 => {
            fields.remark(Outcome::Ignored, "a fraction of 0 % matches no request");
            Some(false)
        }
        percent => fields.reject(format!(
            "takes {percent} % of the requests that match; write one route with weighted_clusters"
        )),
    }
}
