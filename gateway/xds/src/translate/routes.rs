//! `RouteConfiguration` as `virtual_hosts`.
//!
//! A route configuration may serve several listeners. Where they run the same filters its virtual
//! hosts are written once; where they do not, once for each set of filters, since what a route says
//! of a filter means something only beside that filter.

use std::collections::HashMap;
use std::sync::Arc;

use prost_reflect::DynamicMessage;
use sallyport_config::Value;

use super::action::{self, Inherited};
use super::filters::{Chain, PerRoute};
use super::headers::Mutations;
use super::listener::{Gate, RouteUse};
use super::matching::{self, Matched};
use super::memo::{HostEntry, RouteEntry};
use super::{Scope, Setting, redirect, retry};
use crate::fields::Fields;
use crate::output::{self, Map, entry, filled, list, text};

/// The virtual hosts of all route configurations, and which use has which.
pub(super) struct Hosts {
    written: Vec<Value>,
    /// By the number of the group.
    names: Vec<Vec<String>>,
    /// The group of each use, by listener and chain.
    groups: HashMap<(usize, usize), usize>,
}

impl Hosts {
    /// The names of the virtual hosts that a chain of a listener serves.
    pub(super) fn of(&self, listener: usize, chain: usize) -> &[String] {
        let group = self.groups.get(&(listener, chain));
        group.map(|group| &*self.names[*group]).unwrap_or_default()
    }

    /// All of them.
    pub(super) fn into_values(self) -> Vec<Value> {
        self.written
    }
}

/// Uses that come to the same virtual hosts.
struct Group<'g> {
    uses: Vec<(usize, usize)>,
    /// The name of the first listener.
    listener: &'g str,
    of: &'g RouteUse,
}

/// Translates every route configuration that a listener uses.
pub(super) fn all(scope: &Scope<'_>, gates: &[Gate]) -> Hosts {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (listener, gate) in gates.iter().enumerate() {
        for (chain, of) in gate.uses().enumerate() {
            let known = groups.iter_mut().find(|group| group.of.is_same(of));
            match known {
                Some(group) => group.uses.push((listener, chain)),
                None => {
                    groups.push(Group { uses: vec![(listener, chain)], listener: gate.name(), of });
                }
            }
        }
    }
    let mut hosts = Hosts { written: Vec::new(), names: Vec::new(), groups: HashMap::new() };
    for group in &groups {
        let twins = groups.iter().filter(|other| other.of.name == group.of.name).count();
        let prefix = match twins {
            1 => group.of.name.clone(),
            _ => format!("{}/{}", group.listener, group.of.name),
        };
        let message = Fields::new(&group.of.message, group.of.place.clone(), scope.findings);
        let number = hosts.names.len();
        hosts.names.push(configuration(scope, &message, &prefix, group.of, &mut hosts.written));
        hosts.groups.extend(group.uses.iter().map(|place| (*place, number)));
    }
    hosts
}

/// Adds the virtual hosts of a route configuration; returns their names.
fn configuration(
    scope: &Scope<'_>,
    fields: &Fields<'_>,
    prefix: &str,
    of: &RouteUse,
    written: &mut Vec<Value>,
) -> Vec<String> {
    fields.text("name");
    fields.ignore("validate_clusters", "every upstream that a route names must be there");
    fields.ignore("ignore_port_in_host_matching", "hosts are matched without their port");
    fields.ignore("internal_only_headers", "X-Sallyport-* is removed from every request");
    fields.ignore("max_direct_response_body_size_bytes", "answers are held as long as they are");
    fields.ignore("metadata", "nothing here asks for it");
    fields.refuse("vhds", "virtual hosts come with their route configuration");
    fields.refuse("vhost_header", "virtual hosts are chosen by Host");
    fields
        .refuse("cluster_specifier_plugins", "upstreams are named, and not chosen by the request");
    fields.refuse("ignore_path_parameters_in_path_matching", "paths are matched as they are sent");
    let is_specific_last = fields.flag("most_specific_header_mutations_wins").unwrap_or(false);
    let level = Level {
        changes: Mutations::of_level(fields),
        inherited: Inherited {
            retry: None,
            mirror: action::mirror(scope, fields, "request_mirror_policies"),
        },
        filters: of.chain.per_route(scope, fields, &PerRoute::default()),
        is_specific_last,
    };
    let mut names = Vec::new();
    for (index, host) in fields.messages("virtual_hosts").iter().enumerate() {
        if let Some((name, host)) = virtual_host(scope, (index, host), prefix, of, &level) {
            names.push(name);
            written.push(host);
        }
    }
    names
}

/// What stands around routes and holds for them.
#[derive(Debug, PartialEq)]
pub(super) struct Level {
    changes: Mutations,
    inherited: Inherited,
    filters: PerRoute,
    is_specific_last: bool,
}

impl Level {
    /// The changes of this level and of one within, in the order in which they are made.
    fn changes_with(&self, inner: &Mutations) -> Mutations {
        match self.is_specific_last {
            true => self.changes.clone().then(inner),
            false => inner.clone().then(&self.changes),
        }
    }
}

fn virtual_host(
    scope: &Scope<'_>,
    (index, fields): (usize, &Fields<'_>),
    prefix: &str,
    of: &RouteUse,
    around: &Level,
) -> Option<(String, Value)> {
    let name = format!("{prefix}/{}", fields.text("name").unwrap_or_default());
    let domains = domains(fields, &of.server_names);
    ignored(fields);
    let requires_tls = match fields.choice("require_tls").as_deref() {
        None => false,
        Some("ALL") => true,
        Some(_) => return fields.reject("requires TLS of strangers only, write ALL"),
    };
    let retry = fields.message("retry_policy").and_then(|policy| {
        let hedge = fields.message("hedge_policy");
        retry::read(&policy, hedge.as_ref())
    });
    let level = Level {
        changes: around.changes_with(&Mutations::of_level(fields)),
        inherited: Inherited {
            retry: retry.or_else(|| around.inherited.retry.clone()),
            mirror: action::mirror(scope, fields, "request_mirror_policies")
                .or_else(|| around.inherited.mirror.clone()),
        },
        filters: of.chain.per_route(scope, fields, &around.filters),
        is_specific_last: around.is_specific_last,
    };
    let mut routes = of.chain.first_routes();
    if requires_tls {
        routes.push(to_https());
    }
    let before = scope.memo.take_host(&name).filter(|before| {
        before.place == fields.place() && before.chain == of.chain && before.level == level
    });
    let entries = self::routes(scope, (&of.message, fields), &of.chain, &level, before);
    routes.extend(entries.iter().filter_map(|entry| entry.kept.value.clone()));
    let entry = HostEntry {
        message: of.message.clone(),
        index,
        place: fields.place().to_owned(),
        chain: of.chain.clone(),
        level,
        routes: entries,
    };
    let host = whole(fields, &name, (domains, routes), of, &entry.level);
    scope.memo.keep_host(name.clone(), entry);
    host.map(|host| (name, host))
}

/// A virtual host of these domains and routes.
fn whole(
    fields: &Fields<'_>,
    name: &str,
    (domains, routes): (Option<Vec<String>>, Vec<Value>),
    of: &RouteUse,
    level: &Level,
) -> Option<Value> {
    let domains = domains?;
    let mut filters = of.chain.hosted();
    level.filters.add_to(&mut filters);
    level.changes.check_cookies(fields);
    filters.extend(level.changes.written(None));
    let out = Map::new()
        .with("name", text(name))
        .with("domains", list(domains.into_iter().map(text)))
        .with_some("filters", filled(filters))
        .with_some("client_certificates", of.client_certificates.clone())
        .with("routes", list(routes));
    Some(out.done())
}

/// The routes of a virtual host. Those that are as they were `before` are taken from there.
fn routes(
    scope: &Scope<'_>,
    (message, fields): (&Arc<DynamicMessage>, &Fields<'_>),
    chain: &Chain,
    level: &Level,
    mut before: Option<HostEntry>,
) -> Vec<RouteEntry> {
    let kept = before.as_mut().map(|before| std::mem::take(&mut before.routes));
    let mut kept = kept.unwrap_or_default().into_iter();
    let mut names = Names::default();
    let routes = fields.messages("routes").into_iter().enumerate().map(|(index, fields)| {
        let name = names.next(fields.text("name"));
        let is_same = |entry: &RouteEntry| {
            let is_said_again = |before: &HostEntry| before.says_again(message, index, &fields);
            entry.name == name
                && before.as_ref().is_some_and(is_said_again)
                && entry.kept.is_current(scope)
        };
        if let Some(entry) = kept.next().filter(is_same) {
            fields.pass_over();
            entry.kept.replay(scope);
            return entry;
        }
        let kept = scope.memo.record(scope, || {
            let fields = fields;
            route(scope, &fields, chain, level, &name)
        });
        RouteEntry { name, kept }
    });
    routes.collect()
}

/// What nobody needs here, or what cannot be done, of a virtual host.
fn ignored(fields: &Fields<'_>) {
    fields.ignore("virtual_clusters", "statistics are by route");
    fields.ignore("include_request_attempt_count", "attempts are counted, and not sent");
    fields.ignore("include_attempt_count_in_response", "attempts are counted, and not sent");
    fields.ignore("include_is_timeout_retry_header", "attempts are counted, and not sent");
    let buffers = "bodies stream; 64 KiB of them are kept to be sent again";
    fields.ignore("per_request_buffer_limit_bytes", buffers);
    fields.ignore("request_body_buffer_limit", buffers);
    fields.ignore("metadata", "nothing here asks for it");
    fields.refuse("matcher", "routes are matched in their order, write `routes`");
    fields.refuse("rate_limits", "descriptors for a rate limit service are not made here");
    fields
        .refuse("cors", "is deprecated, write typed_per_filter_config for envoy.filters.http.cors");
}

/// The domains of a virtual host, within the names that its connections ask for by SNI.
fn domains(fields: &Fields<'_>, server_names: &[String]) -> Option<Vec<String>> {
    let domains = fields.texts("domains");
    let mut kept = Vec::new();
    for domain in &domains {
        let is_wild = domain.starts_with('*') && domain != "*" && !domain.starts_with("*.");
        if is_wild || (domain.ends_with('*') && domain.len() > 1 && !domain.ends_with(".*")) {
            return fields.reject(format!(
                "{domain:?} has a `*` within a label, write *.example.com, www.example.* or a name"
            ));
        }
        // A port is no part of a name here, and Envoy's is often written only to match one.
        let name = match domain.rsplit_once(':') {
            Some((name, port))
                if port.bytes().all(|byte| byte.is_ascii_digit() || byte == b'*') =>
            {
                name
            }
            _ => domain,
        };
        for name in within(name, server_names) {
            if !kept.contains(&name) {
                kept.push(name);
            }
        }
    }
    match kept.is_empty() {
        true => {
            fields.leave("none of its domains is a name that its connections ask for by SNI");
            None
        }
        false => Some(kept),
    }
}

/// What of `domain` is among `names`; all of it where there are none.
fn within(domain: &str, names: &[String]) -> Vec<String> {
    let covers = |wide: &str, narrow: &str| {
        wide == "*"
            || wide == narrow
            || wide.strip_prefix('*').is_some_and(|suffix| narrow.ends_with(suffix))
    };
    if names.is_empty() || names.iter().any(|name| covers(name, domain)) {
        return vec![domain.to_owned()];
    }
    names.iter().filter(|name| covers(domain, name)).cloned().collect()
}

/// A first route for what came in clear text.
fn to_https() -> Value {
    Map::new()
        .with("name", text("require_tls"))
        .with("match", entry("scheme", text("http")))
        .with(
            "redirect",
            Map::new().with("status", output::number(301)).with("scheme", text("https")).done(),
        )
        .done()
}

/// The names of a virtual host's routes; no two are alike.
#[derive(Default)]
struct Names {
    given: HashMap<String, usize>,
    count: usize,
}

impl Names {
    fn next(&mut self, name: Option<String>) -> String {
        self.count += 1;
        let name = name.unwrap_or_else(|| format!("route-{}", self.count));
        let times = self.given.entry(name.clone()).or_default();
        *times += 1;
        if *times == 1 { name } else { format!("{name}-{times}") }
    }
}

fn route(
    scope: &Scope<'_>,
    fields: &Fields<'_>,
    chain: &Chain,
    level: &Level,
    name: &str,
) -> Option<Value> {
    fields.ignore("metadata", "nothing here asks for it");
    fields.ignore("decorator", "requests are traced by their route's name");
    fields.ignore("tracing", "requests are traced as the file says");
    fields.ignore("stat_prefix", "statistics are by route");
    let buffers = "bodies stream; 64 KiB of them are kept to be sent again";
    fields.ignore("per_request_buffer_limit_bytes", buffers);
    fields.ignore("request_body_buffer_limit", buffers);
    let matched = match fields.message("match") {
        Some(matches) => {
            let matched = matching::read(scope, &matches);
            matched.filter(|matched| matching::is_there(matched, &matches) == Some(true))
        }
        None => fields.reject("matches nothing, write `match: { prefix: / }`"),
    };
    let changes = Mutations::of_level(fields);
    let own = chain.per_route(scope, fields, &PerRoute::default());
    let Some(matched) = matched else {
        // Whether the action is good is told all the same.
        let any = Matched { path: matching::PathRule::Regex, written: None, percent: 100.0 };
        drop(act(scope, fields, &any, level));
        return None;
    };
    let act = act(scope, fields, &matched, level)?;
    let mut filters = Vec::new();
    own.add_to(&mut filters);
    filters.extend(chain.for_route(&level.filters, &own, &matched));
    if let Some(rewrite) = act.rewrite {
        filters.push(entry("rewrite", rewrite));
    }
    if !changes.is_empty() {
        let changes = level.changes_with(&changes);
        changes.check_cookies(fields);
        filters.extend(changes.written(None));
    }
    let matches = match act.path {
        Some(path) => Some(with_path(matched.written, path)),
        None => matched.written,
    };
    let out = Map::new()
        .with("name", text(name))
        .with_some("match", matches)
        .with_some("filters", filled(filters))
        .with(act.key, act.value);
    Some(out.done())
}

/// A match with another path.
fn with_path(written: Option<Value>, path: Value) -> Value {
    let mut out = Map::new().with("path", path);
    if let Some(Value::Mapping(others)) = written {
        for (key, value) in others.iter().filter(|(key, _)| key.as_str() != Some("path")) {
            out.put(key.as_str().unwrap_or_default(), value.clone());
        }
    }
    out.done()
}

/// What becomes of a route's requests.
struct Act {
    key: &'static str,
    value: Value,
    rewrite: Option<Value>,
    /// `match.path` in place of the route's own.
    path: Option<Value>,
}

fn act(scope: &Scope<'_>, fields: &Fields<'_>, matched: &Matched, level: &Level) -> Option<Act> {
    if let Some(forward) = fields.message("route") {
        let Some(read) = action::read(scope, &forward, matched, &level.inherited) else {
            // As Envoy does, until the cluster comes.
            let is_live = scope.setting == Setting::Live && forward.has("cluster");
            let answer = entry("status", output::number(503));
            return is_live.then_some(Act {
                key: "respond",
                value: answer,
                rewrite: None,
                path: None,
            });
        };
        return Some(Act {
            key: "forward",
            value: read.forward,
            rewrite: read.rewrite,
            path: None,
        });
    }
    if let Some(redirect) = fields.message("redirect") {
        let read = redirect::read(&redirect, matched)?;
        return Some(Act { key: "redirect", value: read.written, rewrite: None, path: read.path });
    }
    if let Some(respond) = fields.message("direct_response") {
        let value = redirect::respond(scope, &respond)?;
        return Some(Act { key: "respond", value, rewrite: None, path: None });
    }
    for name in ["filter_action", "non_forwarding_action"] {
        fields.refuse(name, "a route forwards, redirects or answers");
    }
    None
}
