//! `RedirectAction` as `redirect`, and `DirectResponseAction` as `respond`.

use sallyport_config::Value;

use super::matching::{Matched, PathRule};
use super::{Scope, data, regex};
use crate::fields::Fields;
use crate::output::{Map, entry, number, text};

/// A path redirect that needs another match than the route has: the match and where it leads.
pub(super) struct Redirect {
    pub(super) written: Value,
    /// `match.path` in place of the route's own, where groups of it are used.
    pub(super) path: Option<Value>,
}

/// Reads a redirect of a route that matches `matched`.
pub(super) fn read(fields: &Fields<'_>, matched: &Matched) -> Option<Redirect> {
    let status = match fields.choice("response_code").as_deref() {
        None => 301,
        Some("FOUND") => 302,
        Some("SEE_OTHER") => 303,
        Some("TEMPORARY_REDIRECT") => 307,
        Some("PERMANENT_REDIRECT") => 308,
        Some(other) => return fields.reject(format!("answers {other}, which is no redirect here")),
    };
    let mut out = Map::new().with("status", number(status));
    let scheme = match fields.flag("https_redirect").unwrap_or(false) {
        true => Some("https".to_owned()),
        false => fields.text("scheme_redirect"),
    };
    out.put_some("scheme", scheme.map(text));
    out.put_some("host", fields.text("host_redirect").map(|host| text(host.replace('$', "$$"))));
    out.put_some("port", fields.uint("port_redirect").map(number));
    let drops_query = fields.flag("strip_query").unwrap_or(false);
    // An empty query of its own takes the place of the one that was asked.
    let end = if drops_query { "?" } else { "" };
    let mut path = None;
    if let Some(target) = fields.text("path_redirect") {
        let target = target.replace('$', "$$");
        let end = if target.contains('?') { "" } else { end };
        out.put("path", text(format!("{target}{end}")));
    } else if let Some(prefix) = fields.text("prefix_rewrite") {
        let (matches, target) = behind_prefix(fields, matched, &prefix)?;
        out.put("path", text(format!("{target}{end}")));
        path = Some(entry("regex", text(matches)));
    } else if let Some(rewrite) = fields.message("regex_rewrite") {
        let (matches, target) = regex::substitution(&rewrite)?;
        if !matches!(&matched.path, PathRule::Begins(prefix) if prefix == "/") {
            return rewrite.reject(
                "rewrites by another expression than the route matches, match every path with \
                 `prefix: /` or redirect by `path_redirect`",
            );
        }
        out.put("path", text(format!("{target}{end}")));
        path = Some(entry("regex", text(matches)));
    } else if drops_query {
        // Every path, as a group, with an empty query of its own.
        let whole = whole_path(matched);
        out.put("path", text("${path}?"));
        path = Some(entry("regex", text(format!("(?P<path>{whole})"))));
    }
    fields.refuse("path_rewrite", "paths made of a format are not known here");
    Some(Redirect { written: out.done(), path })
}

/// What a route's paths are, as a regular expression; of one by an expression, any.
fn whole_path(matched: &Matched) -> String {
    match &matched.path {
        PathRule::Exact(path) => regex::escaped(path),
        PathRule::Begins(prefix) => format!("{}.*", regex::escaped(prefix)),
        PathRule::Segments(prefix) => format!("{}(?:/.*)?", regex::escaped(prefix)),
        PathRule::Regex => ".*".to_owned(),
    }
}

/// An expression for a route's prefix and what follows, and `with` in place of the prefix.
pub(super) fn behind_prefix(
    fields: &Fields<'_>,
    matched: &Matched,
    with: &str,
) -> Option<(String, String)> {
    let rest = match &matched.path {
        PathRule::Exact(_) => "",
        PathRule::Begins(_) => "(?P<rest>.*)",
        PathRule::Segments(_) => "(?P<rest>(?:/.*)?)",
        PathRule::Regex => {
            let place = fields.place().to_owned();
            return fields.reject(format!(
                "{place} replaces a prefix, and the route matches a regular expression: write \
                 regex_rewrite"
            ));
        }
    };
    let (PathRule::Exact(prefix) | PathRule::Begins(prefix) | PathRule::Segments(prefix)) =
        &matched.path
    else {
        return None;
    };
    let group = if rest.is_empty() { "" } else { "${rest}" };
    let with = with.replace('$', "$$");
    Some((format!("{}{rest}", regex::escaped(prefix)), format!("{with}{group}")))
}

/// Reads an answer of the gateway's own.
pub(super) fn respond(scope: &Scope<'_>, fields: &Fields<'_>) -> Option<Value> {
    let status = fields.uint("status").unwrap_or(0);
    fields.refuse("body_format", "bodies are text as it stands, write `body`");
    let has_body = fields.has("body");
    let body = data::text_of(scope, fields, "body");
    if !(200..=599).contains(&status) {
        return fields.reject(format!("answers {status}, write a status from 200 to 599"));
    }
    if has_body && body.is_none() {
        return None;
    }
    let body = body.filter(|body| !body.is_empty());
    Some(Map::new().with("status", number(status)).with_some("body", body.map(text)).done())
}
