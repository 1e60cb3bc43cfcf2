//! Routes: which listeners take them, and their rules as virtual hosts and routes.
//!
//! A request belongs to the listener whose hostname says most of its host, and there to the routes
//! whose hostname says most. So each hostname that occurs at an address is a virtual host of its
//! own, with the rules of all routes for it, in the order that the Gateway API gives them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use sallyport_config::spec::{self, Match};
use serde_json::{Value, json};

use super::gateway::Slot;
use super::grants::GROUP;
use super::hostname::{covers, intersection, specificity};
use super::matching::{self, Rank};
use super::rule::{Action, Of, Unresolved};
use super::{Draft, responding};
use crate::objects::{Gateway, Key, Kind as _, Object, ParentRef, Route, RouteKind, RouteMatch};
use crate::status::{ObjectStatus, StatusOf, condition};

/// A route of any kind.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) kind: RouteKind,
    pub(super) of: StatusOf,
    pub(super) key: Key,
    pub(super) generation: i64,
    pub(super) created_s: i64,
    pub(super) body: Arc<Route>,
}

impl Item {
    /// The route that `object` is.
    pub(super) fn new<T: crate::objects::Kind>(
        (kind, of): (RouteKind, StatusOf),
        object: &Object<T>,
        body: &Route,
    ) -> Self {
        let Object { key, generation, created_s, .. } = object;
        let (key, body) = (key.clone(), Arc::new(body.clone()));
        Self { kind, of, key, generation: *generation, created_s: *created_s, body }
    }

    /// As messages name it.
    pub(super) fn origin(&self) -> Box<str> {
        format!("{} {}", self.kind.kind(), self.key).into()
    }
}

/// A rule's match, as far as it can be ordered.
#[derive(Debug)]
struct Entry {
    rank: Rank,
    age: (i64, RouteKind, Key),
    place: (usize, usize),
    route: spec::Route,
    origin: Box<str>,
}

/// The rules of one hostname at one address.
type Hosts = BTreeMap<(SocketAddr, String), Vec<Arc<Entry>>>;

/// What a parent says of a route.
pub(super) struct Verdict {
    pub(super) accepted: Result<(), (&'static str, String)>,
    pub(super) slots: Vec<usize>,
}

/// What was found of the rules of a route.
#[derive(Default)]
pub(super) struct Told {
    /// The first reference that cannot be followed.
    pub(super) unresolved: Option<Unresolved>,
    /// What is asked for and not supported.
    pub(super) unsupported: Option<String>,
    /// The objects that the rules are made of besides the route.
    pub(super) made_of: BTreeSet<Box<str>>,
}

impl Draft<'_> {
    /// Adds the virtual hosts of all routes; returns their names for each address.
    pub(super) fn routes(
        &mut self,
        ours: &[Arc<Object<Gateway>>],
        slots: &mut [Slot],
    ) -> BTreeMap<SocketAddr, Vec<String>> {
        let mut hosts = Hosts::new();
        // A listener's hostname is its own, whether there are routes for it or not.
        for slot in slots.iter().filter(|slot| slot.is_served && !slot.passes_on()) {
            let hostname = slot.hostname().unwrap_or_else(|| "*".to_owned());
            hosts.entry((slot.address, hostname)).or_default();
        }
        for item in self.items() {
            self.route(&item, ours, slots, &mut hosts);
        }
        let mut names: BTreeMap<SocketAddr, Vec<String>> = BTreeMap::new();
        for ((address, hostname), mut entries) in hosts {
            entries.sort_by(|one, other| {
                (one.rank, &one.age, one.place).cmp(&(other.rank, &other.age, other.place))
            });
            let name = format!("kubernetes/{address}/{hostname}");
            let routes =
                entries.iter().map(|entry| (entry.route.clone(), entry.origin.clone())).collect();
            self.virtual_host(&name, &hostname, routes);
            names.entry(address).or_default().push(name);
        }
        names
    }

    fn items(&self) -> Vec<Item> {
        let (http, grpc) =
            ((RouteKind::Http, StatusOf::HttpRoute), (RouteKind::Grpc, StatusOf::GrpcRoute));
        let of_http = self.objects.http_routes.values();
        let of_http = of_http.map(|it| Item::new(http, it, &it.body.0));
        let of_grpc = self.objects.grpc_routes.values();
        of_http.chain(of_grpc.map(|it| Item::new(grpc, it, &it.body.0))).collect()
    }

    fn route(
        &mut self,
        item: &Item,
        ours: &[Arc<Object<Gateway>>],
        slots: &mut [Slot],
        hosts: &mut Hosts,
    ) {
        let parents = self.parents(item, ours, slots);
        if parents.is_empty() {
            return;
        }
        let is_taken = parents.iter().any(|(_, verdict)| verdict.accepted.is_ok());
        let rules = if is_taken { self.rules(item, &item.origin()) } else { Rules::default() };
        for (_, verdict) in parents.iter().filter(|(_, verdict)| verdict.accepted.is_ok()) {
            for index in &verdict.slots {
                slots[*index].attached.insert((item.kind, item.key.clone()));
                let slot = &slots[*index];
                if !slot.is_served {
                    continue;
                }
                for hostname in self.hostnames(item, slot, slots) {
                    let entries = hosts.entry((slot.address, hostname)).or_default();
                    for entry in &rules.entries {
                        // By several ways to one host it is one route all the same.
                        if !entries.iter().any(|known| Arc::ptr_eq(known, entry)) {
                            entries.push(entry.clone());
                        }
                    }
                }
            }
        }
        self.conclude(item, &parents, &rules.told);
    }

    /// The references of a route to Gateways of ours, and what each of those says of it.
    pub(super) fn parents<'i>(
        &self,
        item: &'i Item,
        ours: &[Arc<Object<Gateway>>],
        slots: &[Slot],
    ) -> Vec<(&'i ParentRef, Verdict)> {
        let parents = item.body.parent_refs.iter().filter_map(|parent| {
            let gateway = gateway_of(item, parent, ours)?;
            Some((parent, self.verdict(item, parent, gateway, slots)))
        });
        parents.collect()
    }

    /// Tells what became of a route.
    pub(super) fn conclude(&mut self, item: &Item, parents: &[(&ParentRef, Verdict)], told: &Told) {
        let origin = item.origin();
        if let Some(what) = &told.unsupported {
            self.problem(origin.clone(), what.clone(), "use what is supported");
        }
        if let Some((_, what)) = &told.unresolved {
            self.problem(origin.clone(), what.clone(), "correct the reference");
        }
        for (parent, verdict) in parents {
            if let Err((_, what)) = &verdict.accepted {
                let what = format!("is not taken by {}: {what}", parent.name);
                self.problem(origin.clone(), what, "correct the reference to the Gateway");
            }
        }
        let controller = &*self.config.gateway_controller;
        let entries = parents.iter().map(|(parent, verdict)| {
            parent_status(item, parent, &verdict.accepted, told, controller)
        });
        let wanted =
            json!({ "controllerName": controller, "parents": entries.collect::<Vec<_>>() });
        let (of, key) = (item.of, item.key.clone());
        let made_of = told.made_of.clone();
        self.out.statuses.push(ObjectStatus { of, key, origin, wanted, made_of });
    }

    /// Whether a Gateway takes a route, and by which of its listeners.
    fn verdict(
        &self,
        item: &Item,
        parent: &ParentRef,
        gateway: &Object<Gateway>,
        slots: &[Slot],
    ) -> Verdict {
        let refused = |reason, what: &str| Verdict {
            accepted: Err((reason, what.to_owned())),
            slots: Vec::new(),
        };
        let named = slots.iter().enumerate().filter(|(_, slot)| {
            slot.gateway.key == gateway.key
                && parent.section_name.as_ref().is_none_or(|name| *name == slot.spec.name)
                && parent.port.is_none_or(|port| port == slot.spec.port)
        });
        let named: Vec<_> = named.collect();
        if named.is_empty() {
            return refused("NoMatchingParent", "no listener has this name and port");
        }
        let allowed = named.into_iter().filter(|(_, slot)| self.allows(slot, item));
        let allowed: Vec<_> = allowed.collect();
        if allowed.is_empty() {
            let what = "no listener takes routes of this kind from this namespace";
            return refused("NotAllowedByListeners", what);
        }
        let fitting = allowed.into_iter().filter(|(_, slot)| {
            let hostname = slot.hostname();
            item.body.hostnames.is_empty()
                || item
                    .body
                    .hostnames
                    .iter()
                    .any(|name| intersection(hostname.as_deref(), name).is_some())
        });
        let slots: Vec<_> = fitting.map(|(index, _)| index).collect();
        if slots.is_empty() {
            let what = "no listener is for one of its hostnames";
            return refused("NoMatchingListenerHostname", what);
        }
        Verdict { accepted: Ok(()), slots }
    }

    fn allows(&self, slot: &Slot, item: &Item) -> bool {
        let namespaces = &slot.spec.allowed_routes.namespaces;
        let is_from = match namespaces.from.as_deref().unwrap_or("Same") {
            "All" => true,
            "Same" => item.key.namespace == slot.gateway.key.namespace,
            "Selector" => namespaces.selector.as_ref().is_some_and(|selector| {
                let namespace = self.objects.namespaces.get(&Key::new("", &item.key.namespace));
                namespace.is_some_and(|namespace| selector.selects(&namespace.labels))
            }),
            _ => false,
        };
        is_from && slot.kinds.contains(&item.kind)
    }

    /// The hostnames of a route at a listener, but for those that another listener there says more
    /// of.
    pub(super) fn hostnames(&self, item: &Item, slot: &Slot, slots: &[Slot]) -> BTreeSet<String> {
        let own = slot.hostname();
        let all = ["*".to_owned()];
        let named = if item.body.hostnames.is_empty() { &all[..] } else { &item.body.hostnames };
        let names = named.iter().filter_map(|name| intersection(own.as_deref(), name));
        let own = own.as_deref().unwrap_or("*");
        let others: Vec<_> = slots
            .iter()
            .filter(|other| other.is_served && other.address == slot.address)
            .map(|other| other.hostname().unwrap_or_else(|| "*".to_owned()))
            .filter(|other| specificity(other) > specificity(own))
            .collect();
        names.filter(|name| !others.iter().any(|other| covers(other, name))).collect()
    }

    /// The rules of a route, each match by itself.
    fn rules(&mut self, item: &Item, origin: &str) -> Rules {
        let mut rules = Rules::default();
        let body = item.body.clone();
        let (filters, retry, policies) = self.asked_of_route(item.kind.kind(), &item.key);
        rules.told.made_of = policies;
        for (rule_index, rule) in body.rules.iter().enumerate() {
            let all = [RouteMatch::default()];
            let matches = if rule.matches.is_empty() { &all[..] } else { &rule.matches };
            for (index, from) in matches.iter().enumerate() {
                let name = format!("{}/{}/{rule_index}/{index}", item.kind.kind(), item.key);
                let (matched, rank) = match matching::translate(item.kind, from) {
                    Ok(translated) => translated,
                    Err(what) => {
                        rules.told.unsupported.get_or_insert(what);
                        continue;
                    }
                };
                let of = Of { kind: item.kind, namespace: &item.key.namespace, rule };
                let mut action = self.action(of, matched.path.as_ref());
                action.filters.splice(..0, filters.iter().cloned());
                if let Some(forward) = &mut action.forward {
                    forward.retry = forward.retry.take().or_else(|| retry.clone());
                }
                let route = rules.take(&name, matched, action);
                rules.entries.push(Arc::new(Entry {
                    rank,
                    age: (item.created_s, item.kind, item.key.clone()),
                    place: (rule_index, index),
                    route,
                    origin: origin.into(),
                }));
            }
        }
        rules
    }
}

/// What was made of the rules of one route.
#[derive(Default)]
struct Rules {
    entries: Vec<Arc<Entry>>,
    told: Told,
}

impl Rules {
    /// The route of one match; what cannot be done as it is written is answered with 500.
    fn take(&mut self, name: &str, matches: Match, action: Action) -> spec::Route {
        let is_unsupported = action.unsupported.is_some();
        let told = &mut self.told;
        told.unsupported = told.unsupported.take().or(action.unsupported);
        told.unresolved = told.unresolved.take().or(action.unresolved);
        told.made_of.extend(action.made_of);
        if is_unsupported
            || action.lacks_filter
            || (action.forward.is_none() && action.redirect.is_none())
        {
            return responding(name, matches, 500);
        }
        let (filters, forward, redirect) = (action.filters, action.forward, action.redirect);
        let name = name.into();
        let (respond, tracing, bandwidth) = (None, None, None);
        spec::Route { name, matches, filters, forward, redirect, respond, tracing, bandwidth }
    }
}

/// The Gateway that a reference is to, if it is one of ours.
fn gateway_of<'g>(
    item: &Item,
    parent: &ParentRef,
    ours: &'g [Arc<Object<Gateway>>],
) -> Option<&'g Object<Gateway>> {
    let is_gateway = parent.kind.as_deref().is_none_or(|kind| kind == Gateway::KIND)
        && parent.group.as_deref().is_none_or(|group| group == GROUP);
    let namespace = parent.namespace.as_deref().unwrap_or(&item.key.namespace);
    let mut ours = ours.iter().filter(|_| is_gateway);
    let found = ours.find(|it| *it.key.namespace == *namespace && *it.key.name == *parent.name);
    found.map(|gateway| &**gateway)
}

fn parent_status(
    item: &Item,
    parent: &ParentRef,
    accepted: &Result<(), (&'static str, String)>,
    told: &Told,
    controller: &str,
) -> Value {
    let generation = item.generation;
    let accepted = match (accepted, &told.unsupported) {
        (Err((reason, what)), _) => condition("Accepted", false, reason, what, generation),
        (Ok(()), Some(what)) => condition("Accepted", false, "UnsupportedValue", what, generation),
        (Ok(()), None) => condition("Accepted", true, "Accepted", "", generation),
    };
    let resolved = match &told.unresolved {
        Some((reason, what)) => condition("ResolvedRefs", false, reason, what, generation),
        None => condition("ResolvedRefs", true, "ResolvedRefs", "", generation),
    };
    let mut reference = serde_json::Map::new();
    let mut add = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            reference.insert(key.to_owned(), value);
        }
    };
    add("group", Some(parent.group.as_deref().unwrap_or(GROUP).into()));
    add("kind", Some(parent.kind.as_deref().unwrap_or(Gateway::KIND).into()));
    add("namespace", parent.namespace.as_deref().map(Into::into));
    add("name", Some(parent.name.as_str().into()));
    add("sectionName", parent.section_name.as_deref().map(Into::into));
    add("port", parent.port.map(Into::into));
    json!({
        "parentRef": reference,
        "controllerName": controller,
        "conditions": [accepted, resolved],
    })
}
