//! `redirect:` of a route: where the client is sent instead.
//!
//! Apart from the other actions, because what may be written depends on what the route matches: a
//! prefix can be replaced only where there is one, and a group be named only where there is a
//! regex.

use http::StatusCode;
use sallyport_config::spec;
use sallyport_config::{Place, Sink};
use sallyport_route::{
    Domain, Match, PathMatch, Replacement, ReplacementError, normalise_host, normalise_path,
};

use sallyport_plugin::template::{Scope, Variable};

use crate::config::model::{Redirect, RedirectPath};
use crate::decide::WILDCARD;

/// What groups may be named of: the route's regex and the domains of its virtual host.
#[derive(Clone, Copy)]
struct Known<'a> {
    matches: &'a Match,
    domains: &'a [Domain],
}

/// Resolves one for a route that matches `matches`; `None` if that could not be read.
pub(super) fn redirect(
    spec: &spec::Redirect,
    place: &Place<'_>,
    sink: &mut Sink,
    matches: Option<&Match>,
    domains: &[Domain],
) -> Option<Redirect> {
    let known = matches.map(|matches| Known { matches, domains });
    let spec::Redirect { status, scheme, host, port, path, path_prefix } = spec;
    let at = |key| Place::Key(place, key);
    let full = path.as_ref().map(|text| full_path(text, &at("path"), sink, known));
    let prefix =
        path_prefix.as_ref().map(|text| with_prefix(text, &at("path_prefix"), sink, matches));
    let host = host.as_ref().map(|text| self::host(text, &at("host"), sink, known));
    if full.is_some() && prefix.is_some() {
        let fix = "write `path` for a path of its own, or `path_prefix` to keep what follows";
        return place.refuse(sink, "has both `path` and `path_prefix`", fix);
    }
    let says_where = host.is_some() || port.is_some() || full.is_some() || prefix.is_some();
    if !says_where && status.is_none() && scheme.is_none() {
        return place.refuse(
            sink,
            "says neither where to nor how",
            "write at least one of `scheme`, `host`, `port`, `path`, `path_prefix`, `status`",
        );
    }
    let path = match (full, prefix) {
        (Some(full), _) => RedirectPath::Full(full?),
        (None, Some(prefix)) => prefix?,
        (None, None) => RedirectPath::Keep,
    };
    Some(Redirect {
        status: StatusCode::from_u16(status.unwrap_or(spec::RedirectStatus::FOUND).code()).ok()?,
        scheme: scheme.map(|scheme| match scheme {
            spec::RedirectScheme::Http => "http".into(),
            spec::RedirectScheme::Https => "https".into(),
        }),
        host: match host {
            Some(host) => Some(host?),
            None => None,
        },
        port: port.map(|port| port.0 as u16),
        path,
    })
}

fn host(
    text: &str,
    place: &Place<'_>,
    sink: &mut Sink,
    known: Option<Known<'_>>,
) -> Option<Replacement> {
    let host = replacement(text, place, sink, "new.example.com or ${1}.example.com", known)?;
    // A label stands for whatever a group may hold; what it does hold is checked by request.
    let sample = host.fill(|_| "a");
    if has_port(&sample) {
        return place.refuse(sink, "has a port", "write the port under `port`");
    }
    if let Err(error) = normalise_host(&sample) {
        return place.refuse(sink, error.to_string(), "write a host such as new.example.com");
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

fn full_path(
    text: &str,
    place: &Place<'_>,
    sink: &mut Sink,
    known: Option<Known<'_>>,
) -> Option<Replacement> {
    let path = replacement(text, place, sink, "/new, /new?query or /new/${1}", known)?;
    let sample = path.fill(|_| "a");
    if sample.starts_with('/') && sample.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some(path);
    }
    let fix = "write a path that begins with /, with its query if it has one";
    place.refuse(sink, format!("{sample:?} is not a path"), fix)
}

/// What stands in place of the groups in [`Replacement::fill`] is one label, so that the rest of
/// the text is judged as it will be.
fn replacement(
    text: &str,
    place: &Place<'_>,
    sink: &mut Sink,
    example: &str,
    known: Option<Known<'_>>,
) -> Option<Replacement> {
    let replacement = match Replacement::parse(text) {
        Ok(replacement) => replacement,
        Err(error) => {
            let fix = match &error {
                ReplacementError::Dollar(group) if !group.is_empty() => {
                    format!("write ${{{group}}} for the group, or $${group} for the text itself")
                }
                _ => format!("write text such as {example}"),
            };
            return place.refuse(sink, error.to_string(), fix);
        }
    };
    let Some(Known { matches, domains }) = known else { return Some(replacement) };
    for group in replacement.groups() {
        let is_of_path = matches!(&matches.path, PathMatch::Regex(regex) if regex.has_group(group));
        if group == WILDCARD && !is_of_path {
            let exact = domains.iter().find(|domain| matches!(domain, Domain::Exact(_)));
            if let Some(domain) = exact {
                let what = format!("names the wildcard of a domain, and {domain} has none");
                let fix = "give the route a virtual host of its own with domains such as \"www.*\"";
                return place.refuse(sink, what, fix);
            }
            continue;
        }
        if is_of_path {
            continue;
        }
        match Variable::parse(group, Scope::Request) {
            Ok(Variable::Upstream | Variable::Endpoint) => {
                let what = format!("names {group:?}, and a redirect has none");
                return place.refuse(sink, what, "remove it");
            }
            Ok(_) => continue,
            Err(_) => {}
        }
        let PathMatch::Regex(regex) = &matches.path else {
            let what = format!("names the group {group:?}, and the route matches no regex");
            let fix = "write `match: { path: { regex: … } }` with the group in it, a variable such as \
                       ${host} or ${header.x-user}, or $${…} for the text itself";
            return place.refuse(sink, what, fix);
        };
        let what = format!("there is no group {group:?} in the regex {:?}", regex.as_str());
        let fix = "name a group of the route's `match.path.regex`, by its number or its name, or a \
                   variable such as ${host} or ${header.x-user}";
        return place.refuse(sink, what, fix);
    }
    Some(replacement)
}

fn with_prefix(
    text: &str,
    place: &Place<'_>,
    sink: &mut Sink,
    matches: Option<&Match>,
) -> Option<RedirectPath> {
    const FIX: &str = "write a path that begins with / and has no query, such as /new";
    let normal = |text: &str| normalise_path(text.as_bytes()).map(String::from);
    let with = place.parsed(sink, text, FIX, normal)?;
    let prefix = match matches.map(|matches| &matches.path) {
        Some(PathMatch::Prefix(prefix)) => prefix.trim_end_matches('/'),
        None => "",
        Some(_) => {
            let what = "replaces a prefix, and the route matches none";
            let fix = "write `match: { path: { prefix: … } }`, or `path` in place of `path_prefix`";
            return place.refuse(sink, what, fix);
        }
    };
    Some(RedirectPath::Prefix { prefix: prefix.into(), with: with.trim_end_matches('/').into() })
}
