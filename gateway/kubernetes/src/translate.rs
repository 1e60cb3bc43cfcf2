//! From the objects of a cluster to a fragment of configuration, and the status of each. Pure.

mod backend;
mod extension;
mod gateway;
mod grants;
mod hostname;
mod ingress;
mod matching;
mod policy;
mod route;
mod rule;
mod tls;
mod tls_route;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use sallyport_config::delivery::{DeliveredFile, Part, Rejection};
use sallyport_config::spec::scalar::Int;
use sallyport_config::spec::{Fragment, Kubernetes, Match, Respond, Route, Upstream, VirtualHost};

use self::policy::Policies;
use crate::objects::{Key, Pair};
use crate::status::ObjectStatus;
use crate::store::Objects;

/// What was made of the objects.
#[derive(Debug, Default)]
pub(crate) struct Translation {
    pub(crate) fragment: Fragment,
    pub(crate) origins: HashMap<Part, Box<str>>,
    pub(crate) problems: Vec<Rejection>,
    pub(crate) files: Vec<DeliveredFile>,
    pub(crate) statuses: Vec<ObjectStatus>,
    /// The certificates that are served, by their Secret.
    pub(crate) pairs: Pairs,
}

/// Certificates by the Secret that they are from.
pub(crate) type Pairs = BTreeMap<Key, Arc<Pair>>;

/// Translates all objects. `storage` is the folder that certificates will be in, `pairs` those that
/// are served now.
pub(crate) fn translate(
    objects: &Objects,
    config: &Kubernetes,
    storage: &Path,
    pairs: &Pairs,
) -> Translation {
    let (out, upstreams) = (Translation::default(), BTreeMap::new());
    let (told_filters, attached) = (BTreeSet::new(), Policies::new());
    let mut draft =
        Draft { objects, config, storage, pairs, out, upstreams, told_filters, attached };
    draft.policies();
    draft.ingresses();
    draft.gateways();
    draft.filter_statuses();
    let mut out = draft.out;
    out.fragment.upstreams = draft.upstreams.into_values().collect();
    out.files.sort_by(|one, other| one.name.cmp(&other.name));
    out.files.dedup_by(|one, other| one.name == other.name);
    out
}

/// A translation that is being made.
struct Draft<'o> {
    objects: &'o Objects,
    config: &'o Kubernetes,
    storage: &'o Path,
    pairs: &'o Pairs,
    out: Translation,
    upstreams: BTreeMap<String, Upstream>,
    /// The filters that rules name.
    told_filters: BTreeSet<Key>,
    /// The policies that hold.
    attached: Policies,
}

impl Draft<'_> {
    fn problem(&mut self, origin: Box<str>, what: impl Into<String>, fix: impl Into<String>) {
        self.out.problems.push(Rejection { origin, what: what.into(), fix: fix.into() });
    }

    /// Adds a virtual host with these routes, each with the object that it comes from.
    fn virtual_host(&mut self, name: &str, domain: &str, routes: Vec<(Route, Box<str>)>) {
        let mut kept = Vec::with_capacity(routes.len());
        for (route, origin) in routes {
            self.out.origins.insert(Part::Route(name.into(), route.name.0.clone()), origin.clone());
            self.out.origins.entry(Part::VirtualHost(name.into())).or_insert(origin);
            self.note_filters(name, &route);
            kept.push(route);
        }
        self.out.fragment.virtual_hosts.push(VirtualHost {
            name: name.into(),
            domains: vec![domain.into()],
            filters: Vec::new(),
            client_certificates: None,
            error_pages: None,
            tracing: None,
            routes: kept,
        });
    }
}

/// A route that answers with this status.
fn responding(name: &str, matches: Match, status: u64) -> Route {
    let respond = Respond { status: Int(status), body: "".into(), headers: Default::default() };
    Route {
        name: name.into(),
        matches,
        filters: Vec::new(),
        forward: None,
        redirect: None,
        respond: Some(respond),
        tracing: None,
        bandwidth: None,
    }
}

#[cfg(test)]
mod tests;
