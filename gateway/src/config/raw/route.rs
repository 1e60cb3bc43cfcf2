//! `virtual_hosts:` and their routes.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use sallyport_config::{Fields, Node, Sink};
use sallyport_plugin::{Entry, Reader};
use sallyport_route::{
    CookieMatch, Domain, HeaderMatch, Match, PathMatch, QueryMatch, Scheme, ValueMatch,
    normalise_path,
};
use sallyport_tls::ClientAuth;

use super::{redirect, retry, scalar, sticky};
use crate::config::error_pages::{self, ErrorPages};
use crate::config::model::{Redirect, Respond};
use crate::config::retry::Retry;
use crate::config::sticky::Sticky;
use crate::config::tls;

/// A virtual host as written, as far as it could be read, and its place for problems that show only
/// later.
#[derive(Debug)]
pub(in crate::config) struct RawVirtualHost {
    pub(in crate::config) name: Option<Box<str>>,
    pub(in crate::config) place: String,
    /// `None` where one could not be read, so that the others keep their indices.
    pub(in crate::config) domains: Vec<Option<Domain>>,
    pub(in crate::config) filters: Vec<Entry>,
    pub(in crate::config) error_pages: ErrorPages,
    pub(in crate::config) clients: Option<Arc<ClientAuth>>,
    pub(in crate::config) routes: Vec<RawRoute>,
}

/// A route as written, as far as it could be read: what could is looked at further, so that one problem
/// hides no other.
#[derive(Debug)]
pub(in crate::config) struct RawRoute {
    /// Its index as written.
    pub(in crate::config) index: usize,
    pub(in crate::config) name: Option<Box<str>>,
    pub(in crate::config) matches: Option<Match>,
    pub(in crate::config) filters: Vec<Entry>,
    pub(in crate::config) action: Option<RawAction>,
}

/// An action as written.
#[derive(Debug)]
pub(in crate::config) enum RawAction {
    /// Boxed: it is several times as large as the others.
    Forward(Box<RawForward>),
    Redirect(Redirect),
    Respond(Respond),
}

/// `forward:` as written.
#[derive(Debug)]
pub(in crate::config) struct RawForward {
    /// The targets by name, each with the key that holds it.
    pub(in crate::config) targets: Vec<RawTarget>,
    pub(in crate::config) timeout: Option<Duration>,
    pub(in crate::config) retry: Option<Retry>,
    pub(in crate::config) failover: bool,
    pub(in crate::config) sticky: Option<Sticky>,
    /// Where copies go, and percent of the requests.
    pub(in crate::config) mirror: Option<(RawTarget, u8)>,
}

/// An upstream's name and its share.
#[derive(Debug)]
pub(in crate::config) struct RawTarget {
    pub(in crate::config) upstream: Box<str>,
    pub(in crate::config) weight: u32,
    pub(in crate::config) place: String,
}

pub(super) fn virtual_host(
    node: Node<'_>,
    filters: &mut Reader<'_>,
    sink: &mut Sink,
) -> Option<RawVirtualHost> {
    let place = node.place.to_string();
    node.mapping(sink, |fields, sink| {
        let name = fields.required(sink, "name", scalar::name);
        let domains = fields.required(sink, "domains", domains);
        let host = name.as_deref().unwrap_or("");
        let scope = format!("virtual_host {host:?}");
        let own_filters =
            fields.optional(sink, "filters", |node, sink| filters.list(&scope, node, sink));
        let error_pages = fields
            .optional(sink, "error_pages", |node, sink| error_pages::read(node, filters, sink));
        let clients = fields.optional(sink, "client_certificates", |node, sink| {
            tls::client_certificates(node, filters, sink)
        });
        let mut index = 0;
        let routes = fields.required(sink, "routes", |node, sink| {
            node.list(sink, |node, sink| {
                index += 1;
                route(index - 1, host, node, filters, sink)
            })
        });
        Some(RawVirtualHost {
            name,
            place,
            domains: domains.unwrap_or_default(),
            filters: own_filters.unwrap_or_default(),
            error_pages: error_pages.unwrap_or_default(),
            clients,
            routes: routes.unwrap_or_default(),
        })
    })
}

fn domains(node: Node<'_>, sink: &mut Sink) -> Option<Vec<Option<Domain>>> {
    const FIX: &str = "write a domain, *.suffix, prefix.* or \"*\"";
    let domains = node.list(sink, |node, sink| Some(node.parsed(sink, FIX, str::parse)))?;
    if node.value.as_sequence().is_some_and(Vec::is_empty) {
        return node.refuse(sink, "is empty", "name the domains it answers for, or \"*\" for all");
    }
    Some(domains)
}

fn route(
    index: usize,
    host: &str,
    node: Node<'_>,
    filters: &mut Reader<'_>,
    sink: &mut Sink,
) -> Option<RawRoute> {
    node.mapping(sink, |fields, sink| {
        let name = fields.required(sink, "name", scalar::name);
        let matches = match fields.has("match") {
            true => fields.optional(sink, "match", matches),
            false => Some(Match::default()),
        };
        let entries = fields.optional(sink, "filters", |node, sink| {
            // Quoted, so that host `a` with route `b/c` is not host `a/b` with route `c`.
            let scope = format!("route {host:?} {:?}", name.as_deref().unwrap_or(""));
            filters.list(&scope, node, sink)
        });
        let forward = fields.optional(sink, "forward", |node, sink| forward(node, filters, sink));
        let redirect = fields
            .optional(sink, "redirect", |node, sink| redirect::read(node, sink, matches.as_ref()));
        let respond = fields.optional(sink, "respond", respond);
        fields.exactly_one(sink, &["forward", "redirect", "respond"]);
        let action = forward
            .map(|forward| RawAction::Forward(Box::new(forward)))
            .or_else(|| redirect.map(RawAction::Redirect))
            .or_else(|| respond.map(RawAction::Respond));
        Some(RawRoute { index, name, matches, filters: entries.unwrap_or_default(), action })
    })
}

fn matches(node: Node<'_>, sink: &mut Sink) -> Option<Match> {
    node.mapping(sink, |fields, sink| {
        let path = fields.optional(sink, "path", path);
        let methods = fields.optional(sink, "methods", methods);
        let headers = fields.optional(sink, "headers", |node, sink| node.list(sink, header));
        let query = fields.optional(sink, "query", |node, sink| node.list(sink, query));
        let cookies = fields.optional(sink, "cookies", |node, sink| node.list(sink, cookie));
        let scheme = fields.optional(sink, "scheme", scheme);
        let hint = fields.optional(sink, "hint", super::classifier::hint);
        let client = fields.optional(sink, "client_certificate", tls::client_match);
        let unread = [
            ("path", path.is_none()),
            ("scheme", scheme.is_none()),
            ("hint", hint.is_none()),
            ("client_certificate", client.is_none()),
        ];
        if unread.iter().any(|(key, is_unread)| fields.has(key) && *is_unread) {
            return None;
        }
        Some(Match {
            path: path.unwrap_or_default(),
            methods: methods.unwrap_or_default(),
            headers: headers.unwrap_or_default(),
            query: query.unwrap_or_default(),
            cookies: cookies.unwrap_or_default(),
            scheme,
            hint: hint.map(Box::new),
            client: client.map(Box::new),
        })
    })
}

fn scheme(node: Node<'_>, sink: &mut Sink) -> Option<Scheme> {
    node.parsed(sink, "write http or https", |text| {
        let found = Scheme::ALL.into_iter().find(|scheme| scheme.as_str() == text);
        found.ok_or("is no scheme that is served")
    })
}

fn path(node: Node<'_>, sink: &mut Sink) -> Option<PathMatch> {
    node.mapping(sink, |fields, sink| {
        let exact = fields.optional(sink, "exact", literal_path);
        let prefix = fields.optional(sink, "prefix", literal_path);
        let regex = fields.optional(sink, "regex", path_regex);
        fields.exactly_one(sink, &["exact", "prefix", "regex"])?;
        exact.map(PathMatch::Exact).or_else(|| prefix.map(PathMatch::Prefix)).or(regex)
    })
}

fn path_regex(node: Node<'_>, sink: &mut Sink) -> Option<PathMatch> {
    let text = node.text(sink)?;
    if let Some(character) = text.chars().find(|character| !character.is_ascii()) {
        let mut bytes = [0; 4];
        let encoded = character.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}"));
        let encoded = encoded.collect::<String>();
        let what = format!("{text:?} has {character:?}, which no path is matched with");
        return node.refuse(
            sink,
            what,
            format!("write {encoded}: paths are matched percent-encoded"),
        );
    }
    node.parsed(sink, "write a regular expression for the whole path", PathMatch::regex)
}

/// A path as requests are matched: one that normalising would change could never match.
fn literal_path(node: Node<'_>, sink: &mut Sink) -> Option<Box<str>> {
    let text = node.text(sink)?;
    if text.contains('*') {
        let what = format!("{text:?}: `*` stands for itself here");
        let fix = "write the prefix alone, such as `prefix: /api`, or a `regex`";
        node.warn(sink, what, fix);
    }
    match normalise_path(text.as_bytes()) {
        Ok(path) if path == text => Some(text.into()),
        Ok(path) => node.refuse(
            sink,
            format!("{text:?} is not how requests are matched"),
            format!("write {path:?}"),
        ),
        Err(error) => node.refuse(
            sink,
            format!("{text:?}: {error}"),
            "write a path that begins with / and has no query",
        ),
    }
}

fn methods(node: Node<'_>, sink: &mut Sink) -> Option<Vec<Method>> {
    let methods = node.list(sink, method)?;
    if node.value.as_sequence().is_some_and(Vec::is_empty) {
        return node.refuse(sink, "is empty", "name the methods, or remove the key to match all");
    }
    Some(methods)
}

pub(super) fn method(node: Node<'_>, sink: &mut Sink) -> Option<Method> {
    node.parsed(sink, "write a method such as GET", |text| {
        if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
            return Err("has lower-case letters, and methods are case-sensitive".to_owned());
        }
        Method::from_bytes(text.as_bytes()).map_err(|error| error.to_string())
    })
}

fn header(node: Node<'_>, sink: &mut Sink) -> Option<HeaderMatch> {
    node.mapping(sink, |fields, sink| {
        let name = fields.required(sink, "name", scalar::header_name);
        let value = value(fields, sink);
        Some(HeaderMatch { name: name?, value: value? })
    })
}

fn query(node: Node<'_>, sink: &mut Sink) -> Option<QueryMatch> {
    node.mapping(sink, |fields, sink| {
        let name = fields.required(sink, "name", scalar::name);
        let value = value(fields, sink);
        Some(QueryMatch { name: name?, value: value? })
    })
}

fn cookie(node: Node<'_>, sink: &mut Sink) -> Option<CookieMatch> {
    node.mapping(sink, |fields, sink| {
        let name = fields.required(sink, "name", scalar::name);
        let value = value(fields, sink);
        Some(CookieMatch { name: name?, value: value? })
    })
}

fn value(fields: &mut Fields<'_>, sink: &mut Sink) -> Option<ValueMatch> {
    let exact = fields.optional(sink, "exact", |node, sink| node.text(sink).map(Box::from));
    let prefix = fields.optional(sink, "prefix", scalar::name);
    let regex = fields.optional(sink, "regex", |node, sink| {
        node.parsed(sink, "write a regular expression for the whole value", ValueMatch::regex)
    });
    let present = fields.optional(sink, "present", scalar::flag);
    fields.exactly_one(sink, &["exact", "prefix", "regex", "present"])?;
    exact
        .map(ValueMatch::Exact)
        .or_else(|| prefix.map(ValueMatch::Prefix))
        .or(regex)
        .or_else(|| present.map(ValueMatch::Present))
}

fn forward(node: Node<'_>, files: &mut Reader<'_>, sink: &mut Sink) -> Option<RawForward> {
    node.mapping(sink, |fields, sink| {
        let upstream = fields.optional(sink, "upstream", |node, sink| {
            let place = node.place.to_string();
            Some(vec![RawTarget { upstream: node.name(sink)?, weight: 1, place }])
        });
        let split = fields.optional(sink, "split", split);
        let timeout = fields.optional(sink, "timeout", scalar::duration);
        let retry = retry::read(fields, sink);
        let failover = fields.optional(sink, "failover", scalar::flag);
        let mirror = fields.optional(sink, "mirror", mirror);
        let sticky =
            fields.optional(sink, "sticky", |node, sink| sticky::of_split(node, files, sink));
        if fields.has("sticky") && !fields.has("split") {
            fields.node().refuse::<()>(
                sink,
                "`sticky` has no effect without `split`",
                "remove it, or write it in the upstream to keep clients at an endpoint",
            );
        }
        if failover.is_some() && !fields.has("split") {
            fields.node().refuse::<()>(
                sink,
                "`failover` has no effect without `split`",
                "remove it: there is no other upstream to go to",
            );
        }
        fields.exactly_one(sink, &["upstream", "split"]);
        Some(RawForward {
            targets: [upstream, split].into_iter().flatten().flatten().collect(),
            timeout,
            retry,
            failover: failover.unwrap_or(true),
            sticky,
            mirror,
        })
    })
}

fn mirror(node: Node<'_>, sink: &mut Sink) -> Option<(RawTarget, u8)> {
    node.mapping(sink, |fields, sink| {
        let place = format!("{}.upstream", fields.node().place);
        let upstream = fields.required(sink, "upstream", scalar::name);
        let percent = fields.optional(sink, "percent", |node, sink| node.number(sink, 1, 100));
        let target = RawTarget { upstream: upstream?, weight: 1, place };
        Some((target, percent.unwrap_or(100) as u8))
    })
}

fn split(node: Node<'_>, sink: &mut Sink) -> Option<Vec<RawTarget>> {
    let targets = node.list(sink, target)?;
    if targets.iter().all(|target| target.weight == 0) {
        return node.refuse(
            sink,
            "has no weight above 0",
            "give at least one upstream a weight from 1 to 65535",
        );
    }
    Some(targets)
}

fn target(node: Node<'_>, sink: &mut Sink) -> Option<RawTarget> {
    node.mapping(sink, |fields, sink| {
        let place = format!("{}.upstream", fields.node().place);
        let upstream = fields.required(sink, "upstream", scalar::name);
        let weight = fields.required(sink, "weight", |node, sink| node.number(sink, 0, 65_535));
        Some(RawTarget { upstream: upstream?, weight: weight.unwrap_or(1) as u32, place })
    })
}

fn respond(node: Node<'_>, sink: &mut Sink) -> Option<Respond> {
    node.mapping(sink, |fields, sink| {
        let status = fields.required(sink, "status", |node, sink| node.number(sink, 200, 599));
        let body = fields.optional(sink, "body", |node, sink| node.text(sink).map(str::to_owned));
        let headers = fields.optional(sink, "headers", response_headers);
        let status = StatusCode::from_u16(status? as u16).ok()?;
        let body = body.unwrap_or_default();
        if !body.is_empty() && matches!(status.as_u16(), 204 | 205 | 304) {
            return fields.node().refuse(
                sink,
                format!("has a body with status {}", status.as_u16()),
                "remove the body: such a response has none",
            );
        }
        Some(Respond { status, headers: headers.unwrap_or_default(), body: body.into() })
    })
}

fn response_headers(node: Node<'_>, sink: &mut Sink) -> Option<Vec<(HeaderName, HeaderValue)>> {
    node.entries(sink, |name, node, sink| {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            return node.refuse(sink, "is no field name", "write letters, digits and hyphens");
        };
        if matches!(name.as_str(), "content-length" | "transfer-encoding" | "connection") {
            return node.refuse(sink, format!("sets {name}"), "leave framing to the gateway");
        }
        Some((name, scalar::header_value(node, sink)?))
    })
}
