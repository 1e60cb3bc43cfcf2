//! Gateways: which listeners there are, which of them can be served, and where.
//!
//! Listeners of all Gateways that are served at one address and port are one listener here. What
//! decides between two that want the same is their Gateway's age.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use sallyport_config::delivery::Part;
use sallyport_config::spec::scalar::Address;
use sallyport_config::spec::{Certificate, ListenerTls, Passthrough};
use serde_json::json;

use super::Draft;
use super::grants::{From, GROUP};
use super::ingress::{listener, terminating};
use super::tls::Found;
use crate::objects::{
    CertificateRef, Gateway, GatewayClass, GatewayListener, Key, Kind as _, Object, RouteKind,
    Secret,
};
use crate::status::{ObjectStatus, StatusOf, condition};

/// A listener of a Gateway, and what was found of it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) gateway: Arc<Object<Gateway>>,
    pub(super) spec: GatewayListener,
    /// Where it is served.
    pub(super) address: SocketAddr,
    /// The kinds of routes that it takes.
    pub(super) kinds: Vec<RouteKind>,
    /// Whether it is served.
    pub(super) is_served: bool,
    /// Routes that it takes.
    pub(super) attached: BTreeSet<(RouteKind, Key)>,
    /// Why it is not accepted: a reason and a message.
    refused: Option<(&'static str, String)>,
    /// Why others have what it wants.
    conflict: Option<(&'static str, String)>,
    /// Why what it refers to cannot be had.
    unresolved: Option<(&'static str, String)>,
    certificates: Vec<Certificate>,
}

impl Slot {
    /// The hostname, in lower case; none is all.
    pub(super) fn hostname(&self) -> Option<String> {
        let named = self.spec.hostname.as_deref().filter(|name| !name.is_empty());
        named.map(str::to_ascii_lowercase)
    }

    /// Whether its connections are terminated.
    fn terminates(&self) -> bool {
        self.spec.protocol == "HTTPS"
    }

    /// Whether its connections are passed on by the name that they ask for.
    pub(super) fn passes_on(&self) -> bool {
        self.spec.protocol == "TLS"
    }

    fn is_encrypted(&self) -> bool {
        self.terminates() || self.passes_on()
    }
}

impl Draft<'_> {
    pub(super) fn gateways(&mut self) {
        let classes = self.gateway_classes();
        let mut ours: Vec<Arc<Object<Gateway>>> = self
            .objects
            .gateways
            .values()
            .filter(|gateway| classes.contains(&gateway.body.gateway_class_name))
            .cloned()
            .collect();
        ours.sort_by(|one, other| one.age().cmp(&other.age()));
        let addresses = self.gateway_addresses(&ours);
        let mut slots = Vec::new();
        for gateway in &ours {
            for spec in &gateway.body.listeners {
                if let Some(address) = addresses.get(&gateway.key) {
                    slots.push(self.slot(gateway, spec, address.ip));
                }
            }
        }
        find_conflicts(&mut slots);
        for slot in &mut slots {
            let is_without = slot.terminates() && slot.certificates.is_empty();
            slot.is_served = slot.refused.is_none() && slot.conflict.is_none() && !is_without;
        }
        let hosts = self.routes(&ours, &mut slots);
        let passthrough = self.tls_routes(&ours, &mut slots);
        self.gateway_listeners(&slots, hosts, passthrough);
        for gateway in &ours {
            if let Some(address) = addresses.get(&gateway.key) {
                let status = gateway_status(gateway, address, &slots, self.published());
                self.out.statuses.push(status);
            }
        }
    }

    fn published(&self) -> Vec<String> {
        let addresses = self.config.publish_addresses.iter().flatten();
        addresses.map(|address| address.to_string()).collect()
    }

    /// The names of the classes that are this gateway's, each told so.
    fn gateway_classes(&mut self) -> BTreeSet<String> {
        let controller = &*self.config.gateway_controller;
        let classes = self.objects.gateway_classes.values();
        let ours: Vec<_> = classes.filter(|it| it.body.controller_name == controller).collect();
        for class in &ours {
            self.out.statuses.push(ObjectStatus {
                of: StatusOf::GatewayClass,
                key: class.key.clone(),
                origin: format!("{} {}", GatewayClass::KIND, class.key).into(),
                wanted: json!({ "conditions": [
                    condition("Accepted", true, "Accepted", "served by Sallyport", class.generation)
                ] }),
                made_of: BTreeSet::new(),
            });
        }
        ours.iter().map(|class| class.key.name.to_string()).collect()
    }

    /// Where each Gateway is served: where it asks to be, else at an address of the pool, which the
    /// oldest takes first.
    fn gateway_addresses(&self, ours: &[Arc<Object<Gateway>>]) -> BTreeMap<Key, Served> {
        let pool = self.config.gateway_addresses.iter().flatten().map(|address| address.0);
        let mut pool: Vec<_> = pool.collect();
        let is_pooled = !pool.is_empty();
        let mut served = BTreeMap::new();
        let asked = |gateway: &Object<Gateway>| {
            let mut addresses = gateway.body.addresses.iter();
            let value = |value: &Option<String>| value.clone().unwrap_or_default();
            addresses.find(|it| !value(&it.value).is_empty()).map(|it| {
                (it.kind.clone().unwrap_or_else(|| "IPAddress".to_owned()), value(&it.value))
            })
        };
        for gateway in ours {
            if let Some((_, value)) = asked(gateway)
                && let Ok(address) = value.parse::<IpAddr>()
            {
                pool.retain(|free| *free != address);
            }
        }
        pool.reverse();
        for gateway in ours {
            let (ip, problem) = match asked(gateway) {
                Some((kind, value)) if kind == "IPAddress" => match value.parse() {
                    Ok(ip) => (Some(ip), None),
                    Err(_) => {
                        (None, Some(("AddressNotUsable", format!("{value:?} is no address"))))
                    }
                },
                Some((kind, _)) => {
                    let what = format!("addresses of the type {kind:?} are not supported");
                    (None, Some(("UnsupportedAddress", what)))
                }
                None if is_pooled => match pool.pop() {
                    Some(ip) => (Some(ip), None),
                    None => {
                        let what = "no address of `gateway_addresses` is left".to_owned();
                        (None, Some(("AddressNotAssigned", what)))
                    }
                },
                None => (Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), None),
            };
            served.insert(gateway.key.clone(), Served { ip, problem });
        }
        served
    }

    /// Looks at one listener by itself.
    fn slot(
        &mut self,
        gateway: &Arc<Object<Gateway>>,
        spec: &GatewayListener,
        ip: Option<IpAddr>,
    ) -> Slot {
        let offset = u16::try_from(self.config.port_offset.0).unwrap_or(0);
        let port = spec.port.checked_add(offset);
        let address = ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let mut slot = Slot {
            gateway: gateway.clone(),
            spec: spec.clone(),
            address: SocketAddr::new(address, port.unwrap_or(0)),
            kinds: Vec::new(),
            is_served: false,
            attached: BTreeSet::new(),
            refused: None,
            conflict: None,
            unresolved: None,
            certificates: Vec::new(),
        };
        if ip.is_none() {
            slot.refused = Some(("Invalid", "its Gateway has no address".to_owned()));
        }
        if port.is_none() || spec.port == 0 {
            let what = format!("port {} cannot be used", spec.port);
            slot.refused = Some(("PortUnavailable", what));
        }
        if !matches!(&*spec.protocol, "HTTP" | "HTTPS" | "TLS") {
            let what = format!("the protocol {:?} is not supported", spec.protocol);
            slot.refused = Some(("UnsupportedProtocol", what));
            return slot;
        }
        let tls = spec.tls.as_ref();
        if gateway.body.tls.is_some() || tls.is_some_and(|it| it.frontend_validation.is_some()) {
            // To serve without asking would let everybody in.
            let what = "certificates of clients and towards backends are not supported".to_owned();
            slot.refused = Some(("Invalid", what));
        }
        kinds(&mut slot);
        if slot.terminates() {
            self.slot_certificates(&mut slot);
        }
        let mode = tls.and_then(|tls| tls.mode.as_deref());
        if slot.passes_on() && mode != Some("Passthrough") {
            let what =
                "TLS is passed on: write `mode: Passthrough`, or `protocol: HTTPS`".to_owned();
            slot.refused = Some(("UnsupportedProtocol", what));
        }
        slot
    }

    fn slot_certificates(&mut self, slot: &mut Slot) {
        let tls = slot.spec.tls.clone().unwrap_or_default();
        if tls.mode.as_deref().is_some_and(|mode| mode != "Terminate") {
            let what = "HTTPS is terminated: write `mode: Terminate`".to_owned();
            slot.refused = Some(("UnsupportedProtocol", what));
            return;
        }
        if tls.certificate_refs.is_empty() {
            let what = "names no certificate in `tls.certificateRefs`".to_owned();
            slot.unresolved = Some(("InvalidCertificateRef", what));
        }
        for reference in &tls.certificate_refs {
            match self.referenced(&slot.gateway, reference) {
                Ok(found) => {
                    slot.certificates.extend(found.certificate);
                    if let Some(what) = found.problem {
                        slot.unresolved.get_or_insert(("InvalidCertificateRef", what));
                    }
                }
                Err(problem) => drop(slot.unresolved.get_or_insert(problem)),
            }
        }
    }

    fn referenced(
        &mut self,
        gateway: &Object<Gateway>,
        reference: &CertificateRef,
    ) -> Result<Found, (&'static str, String)> {
        let kind = reference.kind.as_deref().unwrap_or(Secret::KIND);
        if kind != Secret::KIND || reference.group.as_deref().is_some_and(|it| !it.is_empty()) {
            let what = format!("{kind} {} is no Secret", reference.name);
            return Err(("InvalidCertificateRef", what));
        }
        let namespace = reference.namespace.as_deref().unwrap_or(&gateway.key.namespace);
        let from = From { group: GROUP, kind: Gateway::KIND, namespace: &gateway.key.namespace };
        if !self.is_granted(from, kind, namespace, &reference.name) {
            let what = format!(
                "no ReferenceGrant of namespace {namespace} lets Gateways of namespace {} name Secret {}",
                gateway.key.namespace, reference.name
            );
            return Err(("RefNotPermitted", what));
        }
        let key = Key::new(namespace, &reference.name);
        Ok(self.certificate(&key, &gateway.origin()))
    }

    /// One listener for each address and port, with the virtual hosts of its routes.
    fn gateway_listeners(
        &mut self,
        slots: &[Slot],
        mut hosts: BTreeMap<SocketAddr, Vec<String>>,
        mut passthrough: BTreeMap<SocketAddr, Vec<Passthrough>>,
    ) {
        let mut binds: BTreeMap<SocketAddr, Vec<&Slot>> = BTreeMap::new();
        for slot in slots.iter().filter(|slot| slot.is_served) {
            binds.entry(slot.address).or_default().push(slot);
        }
        for (address, slots) in binds {
            let name = format!("kubernetes/{address}");
            let mut seen = BTreeSet::new();
            let certificates = slots.iter().flat_map(|slot| &slot.certificates);
            let certificates: Vec<_> =
                certificates.filter(|it| seen.insert(it.cert.clone())).cloned().collect();
            let passthrough = passthrough.remove(&address).unwrap_or_default();
            let terminates = !certificates.is_empty();
            let is_encrypted = slots[0].is_encrypted();
            if is_encrypted && !terminates && passthrough.is_empty() {
                // There is nobody to answer a client.
                continue;
            }
            let passthrough = (!passthrough.is_empty()).then_some(passthrough);
            let tls =
                is_encrypted.then(|| ListenerTls { passthrough, ..terminating(certificates) });
            let hosts = hosts.remove(&address).unwrap_or_default();
            let hosts = hosts.iter().map(|host| host.as_str().into()).collect();
            self.out
                .origins
                .insert(Part::Listener(name.as_str().into()), slots[0].gateway.origin());
            let mut listener = listener(&name, Address(address), hosts, tls);
            let gateways: BTreeSet<_> = slots.iter().map(|slot| &slot.gateway.key).collect();
            for gateway in gateways {
                let (filters, clients) = self.asked_of_gateway(gateway);
                if is_encrypted && !terminates {
                    continue;
                }
                listener.filters.extend(filters);
                if let Some(tls) = &mut listener.tls {
                    tls.client_certificates = tls.client_certificates.take().or(clients);
                }
            }
            if is_encrypted && !terminates {
                // What only connections have that are terminated.
                (listener.virtual_hosts, listener.protocols) = (None, None);
            }
            self.out.fragment.listeners.push(listener);
        }
    }
}

/// Where a Gateway is served, or why it is not.
#[derive(Debug)]
struct Served {
    ip: Option<IpAddr>,
    problem: Option<(&'static str, String)>,
}

/// The kinds of routes that a listener takes: those that it names, as far as its protocol has them.
fn kinds(slot: &mut Slot) {
    let supported = match slot.passes_on() {
        true => &[RouteKind::Tls][..],
        false => &[RouteKind::Http, RouteKind::Grpc],
    };
    let Some(named) = &slot.spec.allowed_routes.kinds else {
        slot.kinds = supported.to_vec();
        return;
    };
    for kind in named {
        let is_ours = kind.group.as_deref().is_none_or(|group| group == GROUP);
        match supported.iter().find(|known| is_ours && known.kind() == kind.kind) {
            Some(known) => slot.kinds.push(*known),
            None => {
                let what = format!("routes of the kind {:?} are not supported", kind.kind);
                slot.unresolved = Some(("InvalidRouteKinds", what));
            }
        }
    }
}

/// Of two listeners at one address and port, the one that came first stays: they must speak the
/// same protocol and be for different names.
fn find_conflicts(slots: &mut [Slot]) {
    let mut first: BTreeMap<SocketAddr, bool> = BTreeMap::new();
    let mut names: BTreeMap<(SocketAddr, Option<String>), String> = BTreeMap::new();
    for slot in slots.iter_mut().filter(|slot| slot.refused.is_none()) {
        let is_encrypted = slot.is_encrypted();
        if *first.entry(slot.address).or_insert(is_encrypted) != is_encrypted {
            let what = format!("port {} has another protocol already", slot.spec.port);
            slot.conflict = Some(("ProtocolConflict", what));
            continue;
        }
        let owner = format!("listener {} of Gateway {}", slot.spec.name, slot.gateway.key);
        match names.entry((slot.address, slot.hostname())) {
            std::collections::btree_map::Entry::Vacant(entry) => drop(entry.insert(owner)),
            std::collections::btree_map::Entry::Occupied(entry) => {
                let what = format!("{} has this port and hostname already", entry.get());
                slot.conflict = Some(("HostnameConflict", what));
            }
        }
    }
}

fn gateway_status(
    gateway: &Object<Gateway>,
    served: &Served,
    slots: &[Slot],
    published: Vec<String>,
) -> ObjectStatus {
    let own: Vec<_> = slots.iter().filter(|slot| slot.gateway.key == gateway.key).collect();
    let generation = gateway.generation;
    let are_valid = own.iter().all(|slot| slot.is_served && slot.unresolved.is_none());
    let is_any_served = own.iter().any(|slot| slot.is_served);
    let (accepted, programmed) = match &served.problem {
        Some((reason @ "UnsupportedAddress", what)) => (
            condition("Accepted", false, reason, what, generation),
            condition("Programmed", false, "Invalid", what, generation),
        ),
        Some((reason, what)) => (
            condition("Accepted", true, "Accepted", "", generation),
            condition("Programmed", false, reason, what, generation),
        ),
        None => {
            let what = if are_valid { "" } else { "some listeners are not valid" };
            let reason = if are_valid { "Accepted" } else { "ListenersNotValid" };
            let programmed = if is_any_served { "Programmed" } else { "Invalid" };
            (
                condition("Accepted", is_any_served || own.is_empty(), reason, what, generation),
                condition("Programmed", is_any_served, programmed, what, generation),
            )
        }
    };
    let specific = served.ip.filter(|ip| !ip.is_unspecified()).map(|ip| vec![ip.to_string()]);
    let addresses = specific.unwrap_or(published).into_iter().map(|address| {
        let is_ip = address.parse::<IpAddr>().is_ok();
        json!({ "type": if is_ip { "IPAddress" } else { "Hostname" }, "value": address })
    });
    let addresses: Vec<_> = addresses.collect();
    let listeners: Vec<_> = own.iter().map(|slot| slot_status(slot, generation)).collect();
    ObjectStatus {
        of: StatusOf::Gateway,
        key: gateway.key.clone(),
        origin: gateway.origin(),
        wanted: json!({
            "addresses": addresses,
            "conditions": [accepted, programmed],
            "listeners": listeners,
        }),
        made_of: BTreeSet::new(),
    }
}

fn slot_status(slot: &Slot, generation: i64) -> serde_json::Value {
    let told = |problem: &Option<(&'static str, String)>, good: &'static str| {
        problem.clone().unwrap_or((good, String::new()))
    };
    let accepted = match (&slot.refused, &slot.conflict) {
        (None, Some(conflict)) => Some(conflict.clone()),
        (refused, _) => refused.clone(),
    };
    let is_accepted = accepted.is_none();
    let (reason, what) = told(&accepted, "Accepted");
    let accepted = condition("Accepted", is_accepted, reason, &what, generation);
    let (reason, what) = told(&slot.conflict, "NoConflicts");
    let conflicted = condition("Conflicted", slot.conflict.is_some(), reason, &what, generation);
    let (reason, what) = told(&slot.unresolved, "ResolvedRefs");
    let resolved = condition("ResolvedRefs", slot.unresolved.is_none(), reason, &what, generation);
    let programmed = match slot.is_served {
        true => condition("Programmed", true, "Programmed", "", generation),
        false => condition("Programmed", false, "Invalid", "the listener is not valid", generation),
    };
    let kinds: Vec<_> =
        slot.kinds.iter().map(|kind| json!({ "group": GROUP, "kind": kind.kind() })).collect();
    json!({
        "name": slot.spec.name,
        "supportedKinds": kinds,
        "attachedRoutes": slot.attached.len(),
        "conditions": [accepted, conflicted, resolved, programmed],
    })
}
