//! `RouteAction` as `forward`, with the filter that rewrites what is asked for.

use std::time::Duration;

use sallyport_config::Value;

use super::fraction::runtime_fractional;
use super::matching::{Matched, PathRule};
use super::redirect::behind_prefix;
use super::{HashWish, Scope, regex, retry};
use crate::fields::Fields;
use crate::output::{self, Map, entry, list, number, text};
use crate::resources::ResourceKind;

/// How long a route takes at most where it says nothing.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(15);

/// The largest weight of an upstream.
const WEIGHT_MAX: u64 = 65_535;

/// What the levels around a route say of retries and mirrors, where the route says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Inherited {
    pub(super) retry: Option<Value>,
    pub(super) mirror: Option<Value>,
}

/// What becomes of a forwarded request.
pub(super) struct Forwarded {
    pub(super) forward: Value,
    /// Settings of a filter `rewrite`.
    pub(super) rewrite: Option<Value>,
}

/// Reads the action of a route that matches `matched`.
pub(super) fn read(
    scope: &Scope<'_>,
    fields: &Fields<'_>,
    matched: &Matched,
    inherited: &Inherited,
) -> Option<Forwarded> {
    let targets = targets(scope, fields);
    let rewrite = rewrite(scope, fields, matched, targets.as_ref().map(|it| &*it.clusters));
    let timeout = fields.time("timeout").unwrap_or(TIMEOUT_DEFAULT);
    let longest = fields
        .message("max_stream_duration")
        .and_then(|longest| longest.time("max_stream_duration"));
    let timeout = match (timeout, longest.filter(|time| !time.is_zero())) {
        (timeout, Some(longest)) if timeout.is_zero() => longest,
        (timeout, Some(longest)) => timeout.min(longest),
        (timeout, None) => timeout,
    };
    let hedge = fields.message("hedge_policy");
    let own_retry =
        fields.message("retry_policy").map(|policy| retry::read(&policy, hedge.as_ref()));
    drop(hedge);
    let retry = own_retry.unwrap_or_else(|| inherited.retry.clone());
    let mirror = mirror(scope, fields, "request_mirror_policies");
    if let Some(targets) = &targets {
        hash_policies(scope, fields, &targets.clusters);
    }
    ignored(fields);
    let Targets { key, value, .. } = targets?;
    let has_retry = retry
        .as_ref()
        .is_some_and(|retry| matches!(retry, Value::Mapping(retry) if retry.contains_key("on")));
    let mut out = Map::new().with(key, value);
    out.put_some("timeout", output::time(timeout));
    match retry.filter(|_| has_retry) {
        Some(retry) => out.put("retry", retry),
        None => out.put("retries", number(0)),
    }
    out.put_some("mirror", mirror.or_else(|| inherited.mirror.clone()));
    Some(Forwarded { forward: out.done(), rewrite })
}

/// What nobody needs here, or what cannot be done.
fn ignored(fields: &Fields<'_>) {
    fields.ignore("idle_timeout", "the upstream's timeouts bound every read and write");
    fields.ignore("flush_timeout", "the listener's timeouts bound every write");
    fields.ignore("append_x_forwarded_host", "X-Forwarded-Host is always sent");
    fields.ignore("priority", "an upstream has one set of limits");
    fields.ignore("max_grpc_timeout", "the route's timeout bounds gRPC as well");
    fields.ignore("grpc_timeout_offset", "the route's timeout bounds gRPC as well");
    fields.ignore(
        "cluster_not_found_response_code",
        "an upstream that is not there is a problem of the configuration",
    );
    let metadata = "endpoints have no metadata to choose by";
    fields.refuse("metadata_match", metadata);
    fields.refuse("internal_redirect_policy", "redirects of origins go to the client");
    fields.refuse("internal_redirect_action", "redirects of origins go to the client");
    fields.refuse("rate_limits", "descriptors for a rate limit service are not made here");
    fields
        .refuse("cors", "is deprecated, write typed_per_filter_config for envoy.filters.http.cors");
    for upgrade in fields.messages("upgrade_configs") {
        let kind = upgrade.text("upgrade_type").unwrap_or_default();
        upgrade.refuse("connect_config", "CONNECT is not routed");
        match (upgrade.flag("enabled"), kind.to_ascii_lowercase()) {
            (Some(false), _) => upgrade.remark(
                crate::Outcome::Ignored,
                "upgrades are passed on to origins, which may refuse them",
            ),
            (_, kind) if kind == "connect" => {
                upgrade.reject::<()>("CONNECT is not routed, it is answered with 501");
            }
            _ => {}
        }
    }
}

/// The upstreams of a route: the key of `forward` and its value.
struct Targets {
    key: &'static str,
    value: Value,
    clusters: Vec<String>,
}

fn targets(scope: &Scope<'_>, fields: &Fields<'_>) -> Option<Targets> {
    if let Some(cluster) = fields.text("cluster") {
        known(scope, fields, &cluster)?;
        let value = text(&*cluster);
        return Some(Targets { key: "upstream", value, clusters: vec![cluster] });
    }
    if let Some(weighted) = fields.message("weighted_clusters") {
        return split(scope, &weighted);
    }
    for name in ["cluster_header", "cluster_specifier_plugin", "inline_cluster_specifier_plugin"] {
        fields.refuse(name, "upstreams are named, and not chosen by the request");
    }
    None
}

/// A route to a cluster that is not there is told where it stands.
fn known(scope: &Scope<'_>, fields: &Fields<'_>, cluster: &str) -> Option<()> {
    match scope.resource(ResourceKind::Cluster, cluster) {
        Some(_) => Some(()),
        None => {
            scope.findings.miss(fields.place(), ResourceKind::Cluster, cluster);
            None
        }
    }
}

fn split(scope: &Scope<'_>, fields: &Fields<'_>) -> Option<Targets> {
    fields.ignore("total_weight", "weights are shares of their sum");
    fields.ignore("runtime_key_prefix", "weights are those of the configuration");
    fields.refuse("header_name", "shares are drawn for each request");
    fields.refuse("use_hash_policy", "shares are drawn for each request");
    let (mut targets, mut clusters) = (Vec::new(), Vec::new());
    for one in fields.messages("clusters") {
        one.refuse("cluster_header", "upstreams are named, and not chosen by the request");
        one.refuse("metadata_match", "endpoints have no metadata to choose by");
        one.refuse("host_rewrite_literal", "the host is rewritten for the whole route");
        for name in [
            "request_headers_to_add",
            "request_headers_to_remove",
            "response_headers_to_add",
            "response_headers_to_remove",
            "typed_per_filter_config",
        ] {
            one.refuse(name, "filters are the route's; write one route for each cluster");
        }
        let cluster = one.text("name").unwrap_or_default();
        let weight = one.uint("weight").unwrap_or(0);
        if known(scope, &one, &cluster).is_none() {
            continue;
        }
        targets.push((cluster.clone(), weight));
        clusters.push(cluster);
    }
    let most = targets.iter().map(|(_, weight)| *weight).max().unwrap_or(0);
    if most == 0 {
        return fields.reject("has no cluster with a weight above 0");
    }
    // As close as the largest number allows, and never 0 for a share that there is.
    let scaled = |weight: u64| match most > WEIGHT_MAX {
        true => (weight * WEIGHT_MAX / most).max(u64::from(weight > 0)),
        false => weight,
    };
    let target = |(cluster, weight): (String, u64)| {
        Map::new().with("upstream", text(cluster)).with("weight", number(scaled(weight))).done()
    };
    let value = list(targets.into_iter().map(target));
    Some(Targets { key: "split", value, clusters })
}

/// The first mirror of a list; there may be one.
pub(super) fn mirror(scope: &Scope<'_>, fields: &Fields<'_>, name: &str) -> Option<Value> {
    let mut mirror = None;
    for policy in fields.messages(name) {
        if mirror.is_some() {
            return policy.reject("a route has one mirror");
        }
        policy.ignore("trace_sampled", "copies are not traced");
        policy.ignore("disable_shadow_host_suffix_append", "copies are for the same host");
        policy.refuse("cluster_header", "upstreams are named, and not chosen by the request");
        policy.refuse("request_headers_mutations", "copies are sent as the request is");
        policy.refuse("host_rewrite_literal", "copies are sent as the request is");
        let percent = policy
            .message("runtime_fraction")
            .map_or(100.0, |fraction| runtime_fractional(&fraction, &scope.runtime));
        let cluster = policy.text("cluster").unwrap_or_default();
        known(scope, &policy, &cluster)?;
        let whole = percent.round().max(f64::from(u8::from(percent > 0.0)));
        if whole == 0.0 {
            continue;
        }
        if (whole - percent).abs() > f64::EPSILON {
            policy.remark(
                crate::Outcome::Ignored,
                format!(
                    "{percent} % of the requests become {whole} %: shares of a mirror are whole"
                ),
            );
        }
        let percent = (whole < 100.0).then(|| number(whole as u8));
        let out = Map::new().with("upstream", text(cluster)).with_some("percent", percent);
        mirror = Some(out.done());
    }
    mirror
}

/// Settings of a filter `rewrite`.
fn rewrite(
    scope: &Scope<'_>,
    fields: &Fields<'_>,
    matched: &Matched,
    clusters: Option<&[String]>,
) -> Option<Value> {
    let path = if let Some(prefix) = fields.text("prefix_rewrite") {
        behind_prefix(fields, matched, &prefix)
    } else if let Some(rewrite) = fields.message("regex_rewrite") {
        regex::substitution(&rewrite)
    } else {
        None
    };
    fields.refuse("path_rewrite_policy", "paths are rewritten by prefix_rewrite or regex_rewrite");
    fields.refuse("path_rewrite", "paths are rewritten by prefix_rewrite or regex_rewrite");
    let mut host = fields.text("host_rewrite_literal");
    if fields.flag("auto_host_rewrite").unwrap_or(false) {
        host = clusters.and_then(|clusters| host_of(scope, clusters));
        if host.is_none() {
            fields.remark(
                crate::Outcome::Refused,
                "auto_host_rewrite: the cluster's endpoints do not share one host name, write \
                 host_rewrite_literal",
            );
        }
    }
    for name in ["host_rewrite_header", "host_rewrite_path_regex", "host_rewrite"] {
        fields.refuse(name, "hosts are rewritten by host_rewrite_literal");
    }
    let path = path.map(|(regex, with)| {
        // A prefix of whole segments is said as one; the meaning is the same and it is the faster
        // way.
        match (&matched.path, regex.strip_suffix("(?P<rest>(?:/.*)?)")) {
            (PathRule::Segments(prefix), Some(_)) if !with.contains("$$") => Map::new()
                .with("prefix", text(&**prefix))
                .with("with", text(with.strip_suffix("${rest}").unwrap_or(&with).to_owned()))
                .done(),
            _ => Map::new().with("regex", text(regex)).with("with", text(with)).done(),
        }
    });
    Map::new().with_some("path", path).with_some("host", host.map(text)).filled()
}

/// The host name that all endpoints of all these clusters have.
fn host_of(scope: &Scope<'_>, clusters: &[String]) -> Option<String> {
    let mut hosts = Vec::new();
    for cluster in clusters {
        let resource = scope.resource(ResourceKind::Cluster, cluster)?;
        // Looked at, not read: what is wrong with the cluster is told where it is translated.
        let findings = crate::Findings::default();
        let fields = Fields::new(&resource.message, "", &findings);
        hosts.extend(super::cluster::host_names(&fields));
    }
    hosts.dedup();
    match &hosts[..] {
        [host] => Some(host.clone()),
        _ => None,
    }
}

/// Notes what a route asks its clusters to hash on.
fn hash_policies(scope: &Scope<'_>, fields: &Fields<'_>, clusters: &[String]) {
    let policies = fields.messages("hash_policy");
    let mut kept: Option<Value> = None;
    let mut is_over = false;
    for policy in policies {
        let on = hash_on(&policy);
        let is_terminal = policy.flag("terminal").unwrap_or(false);
        let is_client = on.as_ref().and_then(Value::as_str) == Some("source_ip");
        match (&kept, on) {
            (_, None) => {}
            // Where a key is missing, the client's address takes its place in any case.
            (Some(_), Some(_)) if is_over && is_client => {}
            (Some(_), Some(_)) => {
                policy
                    .reject::<()>("one thing is hashed on, and the client's address in its place");
            }
            (None, Some(on)) => {
                kept = Some(on);
                is_over = is_terminal;
            }
        }
    }
    let Some(on) = kept else { return };
    for cluster in clusters {
        scope.wish(cluster, HashWish { place: fields.place_of("hash_policy"), on: on.clone() });
    }
}

fn hash_on(policy: &Fields<'_>) -> Option<Value> {
    if let Some(header) = policy.message("header") {
        header.refuse("regex_rewrite", "the whole value is hashed");
        return header
            .text("header_name")
            .map(|name| entry("header", text(name.to_ascii_lowercase())));
    }
    if let Some(cookie) = policy.message("cookie") {
        cookie.refuse("ttl", "cookies are not made for hashing; an upstream's `sticky` makes one");
        cookie.ignore("path", "no cookie is made");
        cookie.ignore("attributes", "no cookie is made");
        return cookie.text("name").map(|name| entry("cookie", text(name)));
    }
    if let Some(query) = policy.message("query_parameter") {
        return query.text("name").map(|name| entry("query", text(name)));
    }
    if let Some(connection) = policy.message("connection_properties") {
        return connection.flag("source_ip").unwrap_or(false).then(|| text("source_ip"));
    }
    policy.refuse("filter_state", "there is no state of filters to hash on");
    None
}
