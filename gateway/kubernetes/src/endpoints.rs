//! From Services and their slices to groups of endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use sallyport_config::spec::Endpoint;
use sallyport_config::spec::scalar::Int;

use crate::objects::{EndpointSlice, Key, Object, Service, ServicePort};
use crate::store::Objects;

/// How many groups one Service has at most: each port has two, by its number and by its name.
/// Kubernetes has no bound of its own.
const PORTS_MAX: usize = 1_000;

/// The groups of a Service, by name; none if there is no such Service.
pub(crate) fn groups(
    objects: &Objects,
    key: &Key,
    zone: Option<&str>,
) -> BTreeMap<String, Vec<Endpoint>> {
    let Some(service) = objects.services.get(key) else { return BTreeMap::new() };
    let slices: Vec<_> = objects
        .slices_of
        .get(key)
        .into_iter()
        .flatten()
        .filter_map(|slice| objects.slices.get(slice))
        .map(|slice| &**slice)
        .collect();
    let mut groups = BTreeMap::new();
    for port in service.body.ports.iter().take(PORTS_MAX) {
        let endpoints = match external_name(&service.body) {
            Some(host) => vec![endpoint(format!("{host}:{}", port.port), 0)],
            None => of_port(&slices, port, zone),
        };
        if let Some(name) = &port.name {
            groups.insert(format!("{key}:{name}"), endpoints.clone());
        }
        groups.insert(format!("{key}:{}", port.port), endpoints);
    }
    groups
}

/// The host that a Service of the type `ExternalName` stands for.
pub(crate) fn external_name(service: &Service) -> Option<&str> {
    match service.kind.as_deref() {
        Some("ExternalName") => service.external_name.as_deref(),
        _ => None,
    }
}

/// Endpoints that are ready; where there are none, those that still serve while they end.
fn of_port(
    slices: &[&Object<EndpointSlice>],
    port: &ServicePort,
    zone: Option<&str>,
) -> Vec<Endpoint> {
    let (mut ready, mut ending) = (BTreeSet::new(), BTreeSet::new());
    for slice in slices.iter().map(|slice| &slice.body) {
        if slice.address_type == "FQDN" {
            continue;
        }
        let name = port.name.as_deref().unwrap_or_default();
        let is_named = |of: &Option<String>| of.as_deref().unwrap_or_default() == name;
        let ports = slice.ports.iter().flatten();
        let numbers = ports.filter(|port| is_named(&port.name)).filter_map(|port| port.port);
        let numbers: Vec<_> = numbers.filter(|number| *number > 0).collect();
        for endpoint in slice.endpoints.iter().flatten() {
            let conditions = &endpoint.conditions;
            let is_ready = conditions.ready.unwrap_or(true);
            let is_ending = conditions.terminating.unwrap_or(false)
                && conditions.serving.unwrap_or(conditions.ready.unwrap_or(true));
            let hinted = endpoint.hints.as_ref().and_then(|hints| hints.for_zones.as_ref());
            let is_far = zone.is_some_and(|zone| {
                hinted.is_some_and(|zones| zones.iter().all(|hint| hint.name != zone))
            });
            for address in &endpoint.addresses {
                let Ok(address) = address.parse::<IpAddr>() else { continue };
                for number in &numbers {
                    let endpoint = (u64::from(is_far), address, *number);
                    if is_ready {
                        ready.insert(endpoint);
                    } else if is_ending {
                        ending.insert(endpoint);
                    }
                }
            }
        }
    }
    let used = if ready.is_empty() { ending } else { ready };
    let text = |address: IpAddr, port: u16| std::net::SocketAddr::new(address, port).to_string();
    used.into_iter().map(|(far, ip, port)| endpoint(text(ip, port), far)).collect()
}

fn endpoint(address: String, priority: u64) -> Endpoint {
    Endpoint { address: address.as_str().into(), weight: Int(1), priority: Int(priority) }
}

#[cfg(test)]
mod tests;
