//! TLSRoutes: which connections listeners pass on, by the name that clients ask for.
//!
//! What two routes want is the older one's. A wildcard stands for one label or several, as in the
//! other routes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use sallyport_config::delivery::Part;
use sallyport_config::spec::scalar::{Int, Name};
use sallyport_config::spec::{Passthrough, Target};

use super::Draft;
use super::gateway::Slot;
use super::route::{Item, Told};
use super::rule::Of;
use crate::objects::{Gateway, Object, RouteKind, Rule};
use crate::status::StatusOf;

/// What is passed on, by the routes so far.
#[derive(Default)]
struct PassedOn {
    /// The route that has a name at an address.
    taken: BTreeMap<(SocketAddr, String), Box<str>>,
    entries: BTreeMap<SocketAddr, Vec<Passthrough>>,
}

impl Draft<'_> {
    /// What is passed on at each address.
    pub(super) fn tls_routes(
        &mut self,
        ours: &[Arc<Object<Gateway>>],
        slots: &mut [Slot],
    ) -> BTreeMap<SocketAddr, Vec<Passthrough>> {
        let mut passed_on = PassedOn::default();
        for item in self.tls_items() {
            self.tls_route(&item, ours, slots, &mut passed_on);
        }
        passed_on.entries
    }

    /// All TLSRoutes, the oldest first. What a cluster has in both versions is one.
    fn tls_items(&self) -> Vec<Item> {
        let (known, alpha) = (&self.objects.tls_routes, &self.objects.tls_alpha_routes);
        let latest = (RouteKind::Tls, StatusOf::TlsRoute);
        let older = (RouteKind::Tls, StatusOf::TlsAlphaRoute);
        let of_latest = known.values().map(|it| Item::new(latest, it, &it.body.0));
        let only_older = alpha.values().filter(|it| !known.contains_key(&it.key));
        let of_older = only_older.map(|it| Item::new(older, it, &it.body.0));
        let mut items: Vec<_> = of_latest.chain(of_older).collect();
        items.sort_by(|one, other| (one.created_s, &one.key).cmp(&(other.created_s, &other.key)));
        items
    }

    fn tls_route(
        &mut self,
        item: &Item,
        ours: &[Arc<Object<Gateway>>],
        slots: &mut [Slot],
        passed_on: &mut PassedOn,
    ) {
        let parents = self.parents(item, ours, slots);
        if parents.is_empty() {
            return;
        }
        let mut told = Told::default();
        let mut names: BTreeMap<SocketAddr, BTreeSet<String>> = BTreeMap::new();
        for (_, verdict) in parents.iter().filter(|(_, verdict)| verdict.accepted.is_ok()) {
            for index in &verdict.slots {
                slots[*index].attached.insert((item.kind, item.key.clone()));
                let slot = &slots[*index];
                if slot.is_served {
                    let hostnames = self.hostnames(item, slot, slots);
                    names.entry(slot.address).or_default().extend(hostnames);
                }
            }
        }
        let targets = if names.is_empty() { Vec::new() } else { self.passed_to(item, &mut told) };
        for (address, hostnames) in names {
            let free = hostnames
                .into_iter()
                .filter(|name| self.is_free(&mut passed_on.taken, (address, name.clone()), item));
            let sni: Vec<_> = free.map(|name| pattern(&name).as_str().into()).collect();
            let Some(first) = sni.first() else { continue };
            let part =
                Part::Passthrough(format!("kubernetes/{address}").into(), Name::clone(first).0);
            self.out.origins.insert(part, item.origin());
            let entry = match &targets[..] {
                [only] => Passthrough { sni, upstream: Some(only.upstream.clone()), split: None },
                several => Passthrough { sni, upstream: None, split: Some(several.to_vec()) },
            };
            passed_on.entries.entry(address).or_default().push(entry);
        }
        self.conclude(item, &parents, &told);
    }

    /// Whether no older route has a name at an address; one that has is told to whoever comes later.
    fn is_free(
        &mut self,
        taken: &mut BTreeMap<(SocketAddr, String), Box<str>>,
        name: (SocketAddr, String),
        item: &Item,
    ) -> bool {
        if let Some(owner) = taken.get(&name) {
            let what = format!("{} is passed on by {owner} already", name.1);
            self.problem(item.origin(), what, "name other hostnames, or remove one of the two");
            return false;
        }
        taken.insert(name, item.origin());
        true
    }

    /// The upstreams of a route: those of its first rule, for others have nothing to be told apart by.
    fn passed_to(&mut self, item: &Item, told: &mut Told) -> Vec<Target> {
        let rules = &item.body.rules;
        if rules.len() > 1 {
            told.unsupported = Some("rules beyond the first have nothing to match by".to_owned());
        }
        let none = Rule::default();
        let rule = rules.first().unwrap_or(&none);
        let of = Of { kind: item.kind, namespace: &item.key.namespace, rule };
        let targets = self.targets(of, &mut told.unresolved);
        if !targets.is_empty() {
            return targets;
        }
        // Whoever asks is told that nobody can be reached.
        let upstream = self.nowhere().as_str().into();
        vec![Target { upstream, weight: Int(1) }]
    }
}

/// A hostname as names are written that are passed on.
fn pattern(hostname: &str) -> String {
    match hostname.strip_prefix("*.") {
        Some(domain) => format!("**.{domain}"),
        None => hostname.to_owned(),
    }
}
