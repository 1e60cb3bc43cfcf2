//! `redirect:` of a route: where the client is sent instead.
//!
//! Apart from the other actions, because what may be written depends on what the route matches: a
//! prefix can be replaced only where there is one, and a group be named only where there is a regex.

use http::StatusCode;
use sallyport_config::{Node, Sink};
use sallyport_route::{
    Match, PathMatch, Replacement, ReplacementError, normalise_host, normalise_path,
};

use crate::config::model::{Redirect, RedirectPath};

/// Reads one for a route that matches `matches`; `None` if that could not be read.
pub(super) fn read(node: Node<'_>, sink: &mut Sink, matches: Option<&Match>) -> Option<Redirect> {
    const KEYS: [&str; 6] = ["status", "scheme", "host", "port", "path", "path_prefix"];
    node.mapping(sink, |fields, sink| {
        let status = fields.optional(sink, "status", status);
        let scheme = fields.optional(sink, "scheme", scheme);
        let host = fields.optional(sink, "host", |node, sink| host(node, sink, matches));
        let port = fields.optional(sink, "port", |node, sink| node.number(sink, 1, 65_535));
        let full = fields.optional(sink, "path", |node, sink| path(node, sink, matches));
        let prefix =
            fields.optional(sink, "path_prefix", |node, sink| path_prefix(node, sink, matches));
        if fields.has("path") && fields.has("path_prefix") {
            let fix = "write `path` for a path of its own, or `path_prefix` to keep what follows";
            return fields.node().refuse(sink, "has both `path` and `path_prefix`", fix);
        }
        if !KEYS.iter().any(|key| fields.has(key)) {
            return fields.node().refuse(
                sink,
                "says neither where to nor how",
                "write at least one of `scheme`, `host`, `port`, `path`, `path_prefix`, `status`",
            );
        }
        Some(Redirect {
            status: status.unwrap_or(StatusCode::FOUND),
            scheme,
            host,
            port: port.map(|port| port as u16),
            path: full.map(RedirectPath::Full).or(prefix).unwrap_or(RedirectPath::Keep),
        })
    })
}

/// Reads that of a listener: to the same place by HTTPS.
pub(super) fn of_listener(node: Node<'_>, sink: &mut Sink) -> Option<Redirect> {
    node.mapping(sink, |fields, sink| {
        let status = fields.optional(sink, "status", status);
        let port = fields.optional(sink, "port", |node, sink| node.number(sink, 1, 65_535));
        fields.required(sink, "scheme", |node, sink| {
            node.parsed(sink, "write https", |text| match text {
                "https" => Ok(()),
                _ => Err("is not where a whole listener can be redirected to"),
            })
        })?;
        Some(Redirect {
            status: status.unwrap_or(StatusCode::MOVED_PERMANENTLY),
            scheme: Some("https".into()),
            host: None,
            port: port.map(|port| port as u16),
            path: RedirectPath::Keep,
        })
    })
}

fn status(node: Node<'_>, sink: &mut Sink) -> Option<StatusCode> {
    let status = node.number(sink, 301, 308)?;
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return node.refuse(sink, format!("is {status}"), "write 301, 302, 303, 307 or 308");
    }
    StatusCode::from_u16(status as u16).ok()
}

fn scheme(node: Node<'_>, sink: &mut Sink) -> Option<Box<str>> {
    node.parsed(sink, "write http or https", |text| match text {
        "http" | "https" => Ok(text.into()),
        _ => Err("is not a scheme this can redirect to"),
    })
}

fn host(node: Node<'_>, sink: &mut Sink, matches: Option<&Match>) -> Option<Replacement> {
    let host = replacement(node, sink, "new.example.com or ${1}.example.com", matches)?;
    // A label stands for whatever a group may hold; what it does hold is checked by request.
    let sample = host.fill(|_| "a");
    if has_port(&sample) {
        return node.refuse(sink, "has a port", "write the port under `port`");
    }
    if let Err(error) = normalise_host(&sample) {
        return node.refuse(sink, error.to_string(), "write a host such as new.example.com");
    }
    // What groups make is only known by request, and brought to lower case there.
    match host.constant() {
        Some(text) => Replacement::parse(&text.to_ascii_lowercase()).ok(),
        None => Some(host),
    }
}

/// Whether something follows a name, or the brackets of an address, behind a colon.
fn has_port(host: &str) -> bool {
    let name = host.rsplit_once(']').map_or(host, |(_, after)| after);
    name.contains(':')
}

fn path(node: Node<'_>, sink: &mut Sink, matches: Option<&Match>) -> Option<Replacement> {
    let path = replacement(node, sink, "/new, /new?query or /new/${1}", matches)?;
    let sample = path.fill(|_| "a");
    if sample.starts_with('/') && sample.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some(path);
    }
    let fix = "write a path that begins with /, with its query if it has one";
    node.refuse(sink, format!("{sample:?} is not a path"), fix)
}

/// What stands in place of the groups in [`Replacement::fill`] is one label, so that the rest of the
/// text is judged as it will be.
fn replacement(
    node: Node<'_>,
    sink: &mut Sink,
    example: &str,
    matches: Option<&Match>,
) -> Option<Replacement> {
    let text = node.text(sink)?;
    let replacement = match Replacement::parse(text) {
        Ok(replacement) => replacement,
        Err(error) => {
            let fix = match &error {
                ReplacementError::Dollar(group) if !group.is_empty() => {
                    format!("write ${{{group}}} for the group, or $${group} for the text itself")
                }
                _ => format!("write text such as {example}"),
            };
            return node.refuse(sink, error.to_string(), fix);
        }
    };
    let Some(matches) = matches else { return Some(replacement) };
    for group in replacement.groups() {
        let PathMatch::Regex(regex) = &matches.path else {
            let what = format!("names the group {group:?}, and the route matches no regex");
            let fix = "write `match: { path: { regex: … } }` with the group in it, or $${…} for the \
                       text itself";
            return node.refuse(sink, what, fix);
        };
        if !regex.has_group(group) {
            let what = format!("there is no group {group:?} in the regex {:?}", regex.as_str());
            let fix = "name a group of the route's `match.path.regex`, by its number or its name";
            return node.refuse(sink, what, fix);
        }
    }
    Some(replacement)
}

fn path_prefix(node: Node<'_>, sink: &mut Sink, matches: Option<&Match>) -> Option<RedirectPath> {
    const FIX: &str = "write a path that begins with / and has no query, such as /new";
    let with = node.parsed(sink, FIX, |text| normalise_path(text.as_bytes()).map(String::from))?;
    let prefix = match matches.map(|matches| &matches.path) {
        Some(PathMatch::Prefix(prefix)) => prefix.trim_end_matches('/'),
        None => "",
        Some(_) => {
            let what = "replaces a prefix, and the route matches none";
            let fix = "write `match: { path: { prefix: … } }`, or `path` in place of `path_prefix`";
            return node.refuse(sink, what, fix);
        }
    };
    Some(RedirectPath::Prefix { prefix: prefix.into(), with: with.trim_end_matches('/').into() })
}
