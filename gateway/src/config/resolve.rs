//! From what is declared to what holds: names become indices, limits are applied, patterns are compiled,
//! and whatever only shows when everything is seen together is found here.
//!
//! What is declared comes in parts: the main file, the files that it includes, and what other sources
//! declare. Of a part only its number is known here: problems name it with a place in it.

mod acme;
mod action;
mod admin;
mod aimless;
mod bandwidth;
mod hosts;
mod listener;
mod matching;
mod origin_tls;
mod origins;
mod passthrough;
mod process;
mod push;
mod reached;
mod redirect;
mod resilience;
mod routes;
mod sections;
mod sticky;
mod tls;
mod tracing;
mod unused;
mod upstream;
mod upstreams;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use sallyport_config::decode::Replaced;
use sallyport_config::spec::{self, FilterEntry};
use sallyport_config::{Found, Place, Sink};
use sallyport_plugin::{Entry as Filter, Reader};
use sallyport_route::Patterns;
use sallyport_tls::AcmeAccount;

use super::declared::{Declared, Spot};
use super::error_pages;
use super::model::Config;
use super::origins::Discovery;

pub(super) use matching::{known_protocol, known_screen};
pub(super) use origins::endpoint;

/// Turns what is declared into one configuration. It may be used only if no problem is an error.
pub(super) fn resolve(
    declared: &Declared<'_>,
    patterns: &mut Patterns,
    filters: &mut Reader<'_>,
    problems: &mut Sink,
) -> Config {
    let main = declared.main();
    let (upstreams, hosts) = (declared.upstreams(), declared.virtual_hosts());
    let listeners = declared.listeners();
    let mut resolver = Resolver {
        problems,
        declared,
        limits: (&main.limits).into(),
        patterns,
        filters,
        upstreams: index_of(upstreams.iter().map(|(_, spec)| &*spec.name)),
        accounts: Vec::new(),
    };
    resolver.accounts = resolver.acme_accounts(&main.acme);
    // Listeners' filters first: hosts and routes may turn off what they set up.
    let listener_filters = resolver.listener_filters(&listeners, main.access_log.as_ref());
    let shared: HashSet<&str> =
        listener_filters.iter().flatten().map(|entry| &**entry.name()).collect();
    let mut config = resolver.sections(main);
    config.upstreams = resolver.all_upstreams(&upstreams);
    let mut domains = Vec::new();
    config.virtual_hosts = resolver.all_hosts(&hosts, &shared, &mut domains);
    drop(shared);
    let host_index = index_of(hosts.iter().map(|(_, spec)| &*spec.name));
    let known = listener::Known { hosts: &host_index, upstreams: &config.upstreams };
    config.listeners =
        resolver.all_listeners(&listeners, listener_filters, config.admin.as_ref(), &known);
    resolver.filter_upstreams();
    let places = Places {
        listeners: spots_of(&listeners),
        upstreams: spots_of(&upstreams),
        virtual_hosts: spots_of(&hosts),
        domains,
    };
    resolver.refuse_endpoints_of_nobody(&config, &places);
    resolver.domains(&config.listeners, &config.virtual_hosts, &places);
    resolver.warn_of_the_whole(&config, &places);
    config
}

fn spots_of<S>(entries: &[(Spot, &S)]) -> Vec<Spot> {
    entries.iter().map(|(spot, _)| *spot).collect()
}

/// Where what is resolved was written.
struct Places {
    listeners: Vec<Spot>,
    upstreams: Vec<Spot>,
    virtual_hosts: Vec<Spot>,
    /// The index of each domain of each virtual host, among those that could not be read too.
    domains: Vec<Vec<usize>>,
}

fn index_of<'n>(names: impl Iterator<Item = &'n str>) -> HashMap<&'n str, usize> {
    names.enumerate().map(|(index, name)| (name, index)).collect()
}

struct Resolver<'p, 'f, 's> {
    problems: &'p mut Sink,
    declared: &'s Declared<'s>,
    limits: super::limits::Limits,
    patterns: &'p mut Patterns,
    filters: &'p mut Reader<'f>,
    /// The upstreams by name.
    upstreams: HashMap<&'s str, usize>,
    accounts: Vec<Arc<AcmeAccount>>,
}

impl Resolver<'_, '_, '_> {
    fn refuse(&mut self, file: usize, place: String, what: String, fix: impl Into<String>) {
        self.problems.push(Found::error(file, place, what, fix));
    }

    /// Endpoints come from a source only where the source is.
    fn refuse_endpoints_of_nobody(&mut self, config: &Config, places: &Places) {
        let providers = config.providers.as_ref();
        let has_kubernetes = providers.is_some_and(|providers| providers.kubernetes.is_some());
        let has_xds = providers.is_some_and(|providers| providers.xds.is_some());
        for (upstream, spot) in config.upstreams.iter().zip(&places.upstreams) {
            let (key, what, fix) = match upstream.discovery {
                Some(Discovery::Source(crate::sources::KUBERNETES, _)) if !has_kubernetes => (
                    crate::sources::KUBERNETES,
                    "there is no cluster to ask",
                    "add `providers: { kubernetes: {} }`",
                ),
                Some(Discovery::Source(crate::sources::XDS, _)) if !has_xds => (
                    crate::sources::XDS,
                    "there is no control plane to ask",
                    "add `providers: { xds: { server: http://HOST:PORT, node: { id: NAME } } }`",
                ),
                _ => continue,
            };
            let at = format!("{spot}.discovery.{key}");
            self.refuse(spot.file, at, what.to_owned(), fix);
        }
    }

    fn has_errors(&self) -> bool {
        self.problems.iter().any(Found::is_error)
    }

    fn replaced(&self, file: usize) -> Option<&Replaced> {
        let part = self.declared.parts.iter().find(|part| part.file == file)?;
        (!part.replaced.is_empty()).then_some(&part.replaced)
    }

    /// Whether what stands at `place`, or a part of it, is not what was written.
    fn is_replaced(&self, place: &Place<'_>) -> bool {
        self.replaced(place.file()).is_some_and(|replaced| replaced.within(place))
    }

    /// Notes a second use of what may be used once. `place` says where one of the uses is. What stands in
    /// for something that could not be read is no use.
    fn refuse_repeated<K: Hash + Eq, U: Copy>(
        &mut self,
        seen: &mut HashMap<K, U>,
        key: K,
        use_: U,
        place: impl Fn(U) -> (usize, String),
        what: impl FnOnce() -> String,
    ) {
        if self.declared.has_replaced() {
            let (file, place) = place(use_);
            if self.replaced(file).is_some_and(|replaced| replaced.holds(&place)) {
                return;
            }
        }
        match seen.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(use_);
            }
            Entry::Occupied(first) => {
                let (file, at) = place(use_);
                let first = self.named(place(*first.get()), file);
                let fix = format!("it is taken by {first}: choose another or merge the two");
                self.refuse(file, at, what(), fix);
            }
        }
    }

    /// A place, with its file where that is another one than `file`.
    fn named(&self, (of, place): (usize, String), file: usize) -> String {
        match self.declared.origins.get(of) {
            Some(origin) if of != file => format!("{place} of {}", origin.path.display()),
            _ => place,
        }
    }

    fn refuse_over(&mut self, section: &str, limit: &str, count: usize, most: u64) {
        if count as u64 > most {
            let of = if section == limit { String::new() } else { format!("{limit} ") };
            self.refuse(
                0,
                section.to_owned(),
                format!("{count} {of}in all, over the limit of {most}"),
                format!("use fewer or raise `limits.{limit}`"),
            );
        }
    }

    fn error_pages(
        &mut self,
        spec: Option<&spec::ErrorPages>,
        around: &Place<'_>,
    ) -> error_pages::ErrorPages {
        let place = Place::Key(around, "error_pages");
        let pages = spec.map(|spec| error_pages::read(spec, &place, self.filters, self.problems));
        pages.unwrap_or_default()
    }

    fn filter_list(
        &mut self,
        scope: &str,
        entries: &[FilterEntry],
        around: &Place<'_>,
    ) -> Vec<Filter> {
        if entries.is_empty() {
            return Vec::new();
        }
        let place = Place::Key(around, "filters");
        self.filters.list(scope, entries, &place, self.problems).unwrap_or_default()
    }

    /// Refuses what filters name and nobody defines.
    fn filter_upstreams(&mut self) {
        let used = self.filters.upstreams().iter();
        let unknown = used.filter(|used| !self.upstreams.contains_key(&*used.upstream)).cloned();
        for used in unknown.collect::<Vec<_>>() {
            self.refuse_unknown_upstream(used.file, used.place, &used.upstream);
        }
    }

    fn refuse_unknown_upstream(&mut self, file: usize, place: String, name: &str) {
        let what = format!("unknown upstream {name:?}");
        self.refuse(file, place, what, "define it under `upstreams` or correct the name");
    }

    /// Tells what only shows of a configuration without errors: what errors have left out might be what
    /// gives the rest its effect.
    fn warn_of_the_whole(&mut self, config: &Config, places: &Places) {
        if self.has_errors() {
            return;
        }
        self.refuse_unanswered_challenges(&config.listeners);
        self.refuse_unasked_certificates(&config.listeners, &config.virtual_hosts, places);
        self.refuse_tenants_of_nobody(config, places);
        if self.has_errors() {
            return;
        }
        unused::warn(config, places, self.filters.upstreams(), self.problems);
        for aimless in aimless::find(&config.virtual_hosts) {
            let spot = places.virtual_hosts[aimless.host];
            let place = format!("{spot}.{}", aimless.place);
            self.problems.push(Found::warning(spot.file, place, aimless.what, aimless.fix));
        }
    }
}
