//! The decision itself, shared by the proxy and by `explain`, so that the two cannot disagree.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sallyport_route::{Domain, PathRegex, Replacement, Request, Scheme, normalise_host};

use crate::config::{Forward, Listener, Redirect, RedirectPath, Target};
use crate::snapshot::Snapshot;

/// The virtual host and route, as indices, of a request for `host` (normalised) on a listener.
#[must_use]
pub fn route(
    snapshot: &Snapshot,
    listener: usize,
    host: &str,
    request: &Request<'_>,
) -> Option<(usize, usize)> {
    let host = snapshot.host(listener, host)?;
    let route = snapshot.hosts[host].table.route(request)?;
    Some((host, route))
}

/// The upstream of a split that the number `draw`, below the sum of weights, falls to.
#[must_use]
pub fn share(targets: &[Target], draw: u32) -> Option<usize> {
    let mut passed = 0;
    targets
        .iter()
        .find(|target| {
            passed += target.weight;
            draw < passed
        })
        .map(|target| target.upstream)
}

/// The upstream, as an index, that a request for `forward` goes to. `draw` is given the sum of some
/// weights and draws a number below it.
///
/// Where the one that was drawn is not available, those that are take its requests in proportion
/// to their weights, unless the route says otherwise. With none available it is as drawn.
#[must_use]
pub fn upstream(
    forward: &Forward,
    is_available: impl Fn(usize) -> bool,
    draw: impl Fn(u32) -> u32,
) -> usize {
    let draw_among = |targets: &[Target]| {
        let total: u32 = targets.iter().map(|target| target.weight).sum();
        share(targets, draw(total.max(1)))
    };
    match forward.targets.as_slice() {
        [only] => only.upstream,
        targets => {
            let first = targets.first().map_or(0, |target| target.upstream);
            let drawn = draw_among(targets).unwrap_or(first);
            if !forward.failover || is_available(drawn) {
                return drawn;
            }
            let others = targets.iter().filter(|target| is_available(target.upstream));
            draw_among(&others.cloned().collect::<Vec<_>>()).unwrap_or(drawn)
        }
    }
}

/// Where the challenges of ACME are answered (RFC 8555, 8.3).
const ACME_CHALLENGES: &str = "/.well-known/acme-challenge/";

/// Whether `listener` redirects requests for `path`, whatever its routes are. One that came by HTTPS
/// already, as a trusted proxy may say, would be sent where it comes from.
#[must_use]
pub fn redirects_all(listener: &Listener, scheme: Scheme, path: &str) -> bool {
    listener.redirect.is_some() && scheme == Scheme::Http && !path.starts_with(ACME_CHALLENGES)
}

/// What a client asked for, as far as a redirect takes it over.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The scheme that the client used.
    pub scheme: &'a str,
    /// The host, with its port if the client named one.
    pub authority: &'a str,
    /// The path, as the route matched it.
    pub path: &'a str,
    /// The path and query, as filters left them.
    pub path_and_query: &'a str,
    /// The regex that the route matched the path with.
    pub regex: Option<&'a PathRegex>,
    /// The domains of the virtual host.
    pub domains: &'a [Domain],
    /// The values of the variables that the redirect names.
    pub variables: &'a [(&'a str, String)],
}

impl Asked<'_> {
    /// `text` with groups of the path in it, in place of [`WILDCARD`] what the `*` of the virtual
    /// host's domain stands for, and the values of variables as `written`.
    fn expand<'v>(
        &'v self,
        text: &'v Replacement,
        written: impl Fn(&str, &'v str) -> Cow<'v, str>,
    ) -> String {
        let host = normalise_host(self.authority).unwrap_or_default();
        text.fill(|name| {
            if let Some(captured) = self.regex.and_then(|regex| regex.capture(self.path, name)) {
                return Cow::Borrowed(captured);
            }
            if name == WILDCARD {
                let wildcard = Domain::wildcard_among(self.domains, &host).unwrap_or_default();
                return Cow::Owned(wildcard.to_owned());
            }
            let value = self.variables.iter().find(|(variable, _)| *variable == name);
            value.map_or(Cow::Borrowed(""), |(_, value)| written(name, value))
        })
    }
}

/// The group that is no group of a path: what the `*` of a domain such as `www.*` stands for.
pub const WILDCARD: &str = "wildcard";

/// The `Location` of a redirect; `None` if groups make no host.
///
/// What the redirect does not name stays as the client asked for it. Of the port, the rules are the
/// Gateway API's (`HTTPRequestRedirectFilter`): one that is given wins, a given scheme brings its own,
/// and else the one that was asked stays, even with another host; a scheme's own port is not written.
/// The port that was asked is the one in the client's `Host`, which is the listener's unless
/// something in between has mapped it, and then the client cannot reach the listener's.
#[must_use]
pub fn location(redirect: &Redirect, asked: &Asked<'_>) -> Option<String> {
    let scheme = redirect.scheme.as_deref().unwrap_or(asked.scheme);
    let (asked_host, asked_port) = split_port(asked.authority);
    let host = match &redirect.host {
        Some(host) => Cow::Owned(redirect_host(host, asked)?),
        None => Cow::Borrowed(asked_host),
    };
    let port = match (redirect.port, &redirect.scheme) {
        (Some(port), _) => Some(port),
        (None, Some(_)) => None,
        (None, None) => asked_port,
    };
    let port = port.filter(|&port| port != default_port(scheme));
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    let path = path_to(&redirect.path, asked);
    Some(format!("{scheme}://{host}{port}{path}"))
}

/// The host with its groups filled in. They are the client's to choose, and a host is all that they
/// may make: `/`, `@` or `:` in one would send the client to a site that nobody configured.
fn redirect_host(host: &Replacement, asked: &Asked<'_>) -> Option<String> {
    if let Some(host) = host.constant() {
        return Some(host.to_owned());
    }
    let host = asked.expand(host, |name, value| match name {
        // The port has a key of its own.
        "host" => Cow::Borrowed(split_port(value).0),
        _ => Cow::Borrowed(value),
    });
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_host = host.bytes().all(is_name) && normalise_host(&host).is_ok();
    is_host.then(|| host.to_ascii_lowercase())
}

/// The path, query and fragment to go to.
fn path_to<'a>(path: &RedirectPath, asked: &Asked<'a>) -> Cow<'a, str> {
    let query = asked.path_and_query.split_once('?').map(|(_, query)| query);
    match path {
        RedirectPath::Keep => Cow::Borrowed(asked.path_and_query),
        RedirectPath::Prefix { prefix, with } => {
            let rest = asked.path.strip_prefix(&**prefix).unwrap_or(asked.path);
            let path = if with.is_empty() && rest.is_empty() { "/" } else { rest };
            Cow::Owned(with_query(&format!("{with}{path}"), query))
        }
        RedirectPath::Full(path) => Cow::Owned(with_query(&asked.expand(path, in_path), query)),
    }
}

/// The value of a variable as a part of a path or a query. What is one already stays as it is; of all else,
/// what could end the path, be another parameter or another segment is percent-encoded (RFC 3986, 2.3).
fn in_path<'v>(name: &str, value: &'v str) -> Cow<'v, str> {
    const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    match name {
        "path" | "client_path" | "query" => Cow::Borrowed(value),
        _ => utf8_percent_encode(value, &RESERVED).into(),
    }
}

/// `path` with `query`, unless it has one of its own; an empty one of its own means none.
fn with_query(path: &str, query: Option<&str>) -> String {
    let (path, fragment) = path.split_once('#').map_or((path, None), |(path, f)| (path, Some(f)));
    let (path, query) = match path.split_once('?') {
        Some((path, own)) => (path, Some(own)),
        None => (path, query),
    };
    let query = query.filter(|query| !query.is_empty());
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    let fragment = fragment.map_or_else(String::new, |fragment| format!("#{fragment}"));
    format!("{path}{query}{fragment}")
}

/// RFC 9110, 4.2: what stands for no port at all.
fn default_port(scheme: &str) -> u16 {
    if scheme == "https" { 443 } else { 80 }
}

/// The host and, if it is there and not empty, the port (RFC 3986, 3.2.3).
fn split_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            (host, port.parse().ok())
        }
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests;
