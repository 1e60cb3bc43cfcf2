//! Where a cluster's endpoints are.

use sallyport_config::Value;

use super::super::listener::{config_source, socket_address};
use super::super::{Scope, Setting};
use crate::fields::Fields;
use crate::findings::Findings;
use crate::output::{self, Map, entry, number, text};
use crate::resources::{Resource, ResourceKind};

/// The largest weight of an endpoint.
const WEIGHT_MAX: u64 = 65_535;

/// The highest priority, by number.
const PRIORITY_MAX: u64 = 127;

/// `endpoints` of an upstream, or `discovery` that finds them.
pub(super) fn of_cluster(
    scope: &Scope<'_>,
    fields: &Fields<'_>,
    name: &str,
) -> Option<(&'static str, Value)> {
    let kind = fields.choice("type");
    if let Some(custom) = fields.message("cluster_type") {
        custom.text("name");
        let config = custom.any("typed_config")?;
        match config.type_name().rsplit('.').next() {
            Some("DnsCluster") => dns(&config),
            _ => {
                return config.reject("finds endpoints in a way that is not known here");
            }
        }
    }
    match kind.as_deref() {
        None | Some("STRICT_DNS" | "LOGICAL_DNS") => {
            fields.ignore("eds_cluster_config", "its endpoints stand in the cluster");
            let assignment = fields.message("load_assignment");
            match assignment {
                Some(assignment) => match of_assignment(&assignment)? {
                    endpoints if endpoints.is_empty() => {
                        assignment.reject("has no endpoint that may be used")
                    }
                    endpoints => Some(listed(endpoints)),
                },
                None => fields.reject("has no endpoints, write load_assignment"),
            }
        }
        Some("EDS") => {
            fields.ignore("load_assignment", "its endpoints come by EDS");
            let service = discovered(fields);
            let service = service.as_deref().unwrap_or(name);
            if scope.setting == Setting::Live {
                return Some(("discovery", entry("xds", text(service))));
            }
            match scope.find(ResourceKind::ClusterLoadAssignment, service) {
                Some(assignment) => match of_assignment(&assignment)? {
                    endpoints if endpoints.is_empty() => {
                        assignment.reject("has no endpoint that may be used")
                    }
                    endpoints => Some(listed(endpoints)),
                },
                None => fields.miss(ResourceKind::ClusterLoadAssignment, service),
            }
        }
        Some(other) => {
            fields.reject(format!("type is {other}, write STATIC, STRICT_DNS, LOGICAL_DNS or EDS"))
        }
    }
}

fn listed(endpoints: Vec<Value>) -> (&'static str, Value) {
    ("endpoints", output::list(endpoints))
}

/// The endpoints of a `ClusterLoadAssignment`; there may be none.
pub(crate) fn of_resource(resource: &Resource, findings: &Findings) -> Option<Value> {
    let fields = Fields::new(&resource.message, resource.place.clone(), findings);
    of_assignment(&fields).map(output::list)
}

/// The name that the endpoints are found by.
fn discovered(fields: &Fields<'_>) -> Option<String> {
    let eds = fields.message("eds_cluster_config")?;
    config_source(&eds, "eds_config");
    eds.text("service_name")
}

fn dns(config: &Fields<'_>) {
    config.ignore_all(
        &[
            "dns_refresh_rate",
            "dns_failure_refresh_rate",
            "respect_dns_ttl",
            "dns_jitter",
            "typed_dns_resolver_config",
            "dns_lookup_family",
            "all_addresses_in_single_endpoint",
            "dns_min_refresh_rate",
        ],
        "names are resolved as `resolver` says: A and AAAA, followed by their TTL",
    );
}

fn of_assignment(fields: &Fields<'_>) -> Option<Vec<Value>> {
    fields.text("cluster_name");
    fields.refuse("named_endpoints", "endpoints stand in their locality");
    if let Some(policy) = fields.message("policy") {
        policy.ignore("overprovisioning_factor", "a priority spills over by a factor of 1.4");
        policy.ignore("weighted_priority_health", "endpoints of a priority count alike");
        policy.ignore("endpoint_stale_after", "endpoints stay until others come");
        policy.refuse("drop_overloads", "requests are not dropped by chance");
    }
    let mut endpoints = Vec::new();
    let mut is_good = true;
    for locality in fields.messages("endpoints") {
        locality.ignore_all(
            &["locality", "proximity", "load_balancing_weight", "metadata"],
            "endpoints are chosen by weight and priority, wherever they are",
        );
        locality
            .refuse("leds_cluster_locality_config", "endpoints come with their cluster's others");
        let priority = locality.uint("priority").unwrap_or(0);
        if priority > PRIORITY_MAX {
            return locality.reject(format!("priority is {priority}, write up to {PRIORITY_MAX}"));
        }
        let listed = locality.message("load_balancer_endpoints");
        let mut all = locality.messages("lb_endpoints");
        if let Some(listed) = &listed {
            all.extend(listed.messages("lb_endpoints"));
        }
        for one in all {
            match endpoint(&one, priority) {
                Some(one) => endpoints.extend(one),
                None => is_good = false,
            }
        }
    }
    if !is_good {
        return None;
    }
    Some(endpoints)
}

/// An endpoint; `None` within where it takes no requests.
fn endpoint(fields: &Fields<'_>, priority: u64) -> Option<Option<Value>> {
    fields.ignore("metadata", "endpoints have no metadata to choose by");
    fields.refuse("endpoint_name", "endpoints stand in their locality");
    let weight = fields.uint("load_balancing_weight").unwrap_or(1);
    let status = fields.choice("health_status");
    let inner = fields.message("endpoint")?;
    inner.ignore("observability_name", "statistics are by address");
    inner.refuse("additional_addresses", "an endpoint has one address");
    inner.text("hostname");
    if let Some(health) = inner.message("health_check_config") {
        for name in ["port_value", "address"] {
            health.refuse(name, "an endpoint is probed where it serves");
        }
        health.refuse("hostname", "all endpoints are probed for one host");
        health.refuse("disable_active_health_check", "all endpoints of an upstream are probed");
    }
    let address = address(&inner.message("address")?)?;
    if matches!(status.as_deref(), Some("UNHEALTHY" | "DRAINING" | "TIMEOUT")) {
        fields.remark(crate::Outcome::Ignored, "is not healthy, so that it takes no requests");
        return Some(None);
    }
    let out = Map::new().with("address", text(address));
    // Weights are shares; those over the bound are told rather than bent.
    if weight > WEIGHT_MAX {
        return fields.reject(format!("weight is {weight}, write up to {WEIGHT_MAX}"));
    }
    let out = out.with_some("weight", (weight > 1).then(|| number(weight)));
    Some(Some(out.with_some("priority", (priority > 0).then(|| number(priority))).done()))
}

/// An `Address` to connect to.
fn address(fields: &Fields<'_>) -> Option<String> {
    if let Some(pipe) = fields.message("pipe") {
        pipe.ignore("mode", "the socket is the origin's");
        return Some(format!("unix:{}", pipe.text("path").unwrap_or_default()));
    }
    let Some(socket) = fields.message("socket_address") else {
        fields.pass_over();
        return fields
            .reject("is no address that can be connected to, write `socket_address` or `pipe`");
    };
    socket.ignore("ipv4_compat", "addresses are used as they are");
    let (host, port) = socket_address(&socket)?;
    if port == 0 {
        return socket.reject("has no port, write port_value");
    }
    Some(match host.parse::<std::net::Ipv6Addr>() {
        Ok(_) => format!("[{host}]:{port}"),
        Err(_) => format!("{host}:{port}"),
    })
}

/// The host names of a cluster's endpoints, by which `auto_host_rewrite` goes.
pub(in super::super) fn host_names(fields: &Fields<'_>) -> Vec<String> {
    let mut names = Vec::new();
    let Some(assignment) = fields.message("load_assignment") else { return names };
    for locality in assignment.messages("endpoints") {
        for endpoint in locality.messages("lb_endpoints") {
            let Some(endpoint) = endpoint.message("endpoint") else { continue };
            let named = endpoint.text("hostname");
            let address = endpoint.message("address");
            let host = address
                .and_then(|address| address.message("socket_address")?.text("address"))
                .filter(|host| host.parse::<std::net::IpAddr>().is_err());
            names.extend(named.or(host));
        }
    }
    names
}
