//! From what was written to what holds: names become indices, limits are applied, and whatever only
//! shows when everything is seen together is found here.

mod aimless;
mod reached;
mod tls;
mod unused;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::SocketAddr;
use std::sync::Arc;

use sallyport_balance::{Address, BuildError, Policy};
use sallyport_config::{File, Found, Severity};
use sallyport_plugin::{Entry as FilterEntry, UpstreamUse};
use sallyport_route::Domain;
use sallyport_tls::AcmeChallenge;

use self::reached::Reached;
use super::acme;
use super::error_pages::ErrorPages;
use super::limits::Limits;
use super::model::{
    Action, Challenges, Config, Forward, Listener, Route, Target, Upstream, VirtualHost,
};
use super::origins::{Endpoint, Location, Transport};
use super::process::{EngineChoice, LogSettings, Shutdown};
use super::raw::{
    RawAction, RawFile, RawForward, RawListener, RawRoute, RawTarget, RawUpstream, RawVirtualHost,
};
use super::sticky::Mirror;

/// The label of virtual host and route that requests are counted under which none takes.
const NONE: &str = "none";

/// Turns the files, the main one first, into one configuration. It may be used only if nothing was
/// added to `problems`. `filter_upstreams` are those that filters name.
pub(super) fn resolve(
    files: Vec<RawFile>,
    sources: &[File],
    filter_upstreams: &[UpstreamUse],
    problems: &mut Vec<Found>,
) -> Config {
    let mut resolver = Resolver { problems, sources, limits: Limits::default() };
    let mut config = Config {
        listeners: Vec::new(),
        admin: None,
        limits: Limits::default(),
        shutdown: Shutdown::default(),
        engine: EngineChoice::default(),
        log: LogSettings::default(),
        challenges: Challenges::default(),
        // In a name it does no harm, and every key and variable that asks has it.
        asks_ja4: sources.iter().any(|file| file.text.contains("ja4")),
        classifier: None,
        verdicts: None,
        push: None,
        error_pages: ErrorPages::default(),
        resolver: super::origins::Resolver::default(),
        upstreams: Vec::new(),
        virtual_hosts: Vec::new(),
    };
    let mut listeners = Vec::new();
    let mut accounts = Vec::new();
    let mut upstreams = Vec::new();
    let mut hosts: Vec<(usize, RawVirtualHost)> = Vec::new();
    for raw in files {
        let file = raw.file;
        if file == 0 {
            resolver.limits = raw.limits.clone();
            config.limits = raw.limits;
            config.admin = raw.admin;
            config.shutdown = raw.shutdown;
            config.engine = raw.engine;
            config.log = raw.log;
            config.challenges.http = acme::storages(&raw.acme, AcmeChallenge::Http01);
            config.challenges.tls = acme::storages(&raw.acme, AcmeChallenge::TlsAlpn01);
            accounts = raw.acme;
            config.classifier = raw.classifier;
            config.verdicts = raw.verdicts;
            config.push = raw.push;
            config.resolver = raw.resolver.unwrap_or_default();
            config.error_pages = raw.error_pages;
            listeners = raw.listeners;
        }
        upstreams.extend(raw.upstreams.into_iter().map(|raw| (file, raw)));
        hosts.extend(raw.virtual_hosts.into_iter().map(|raw| (file, raw)));
    }
    let places = Places {
        upstreams: upstreams.iter().map(|(file, raw)| (*file, raw.place.clone())).collect(),
        virtual_hosts: hosts.iter().map(|(file, raw)| (*file, raw.place.clone())).collect(),
        domains: hosts.iter().map(|(_, raw)| readable(&raw.domains)).collect(),
    };
    config.upstreams = resolver.upstreams(upstreams);
    let upstream_index = index_of(config.upstreams.iter().map(|upstream| &upstream.name));
    resolver.filter_upstreams(filter_upstreams, &upstream_index);
    let shared: HashSet<&str> =
        listeners.iter().flat_map(|raw| &raw.filters).map(|entry| &**entry.name()).collect();
    config.virtual_hosts = resolver.virtual_hosts(hosts, &upstream_index, &shared);
    let host_index = index_of(config.virtual_hosts.iter().map(|host| &host.name));
    config.listeners = resolver.listeners(listeners, config.admin.as_ref(), &host_index);
    resolver.domains(&config.listeners, &config.virtual_hosts, &places);
    resolver.accounts(&config.listeners, &accounts);
    resolver.client_certificates(&config.listeners, &config.virtual_hosts, &places);
    // What errors have left out might be what makes the rest useful.
    if !resolver.problems.iter().any(Found::is_error) {
        unused::warn(&config, &places, filter_upstreams, resolver.problems);
        for aimless in aimless::find(&config.virtual_hosts) {
            let (file, host) = &places.virtual_hosts[aimless.host];
            let place = format!("{host}.{}", aimless.place);
            resolver.warn(*file, place, aimless.what, aimless.fix);
        }
    }
    config
}

/// Where what is resolved was written: the index of its file, and the place in it.
struct Places {
    upstreams: Vec<(usize, String)>,
    virtual_hosts: Vec<(usize, String)>,
    /// The index of each domain of each virtual host, among those that could not be read too.
    domains: Vec<Vec<usize>>,
}

fn index_of<'n>(names: impl Iterator<Item = &'n Arc<str>>) -> HashMap<Arc<str>, usize> {
    names.enumerate().map(|(index, name)| (name.clone(), index)).collect()
}

fn readable<T>(items: &[Option<T>]) -> Vec<usize> {
    let items = items.iter().enumerate();
    items.filter_map(|(index, item)| item.is_some().then_some(index)).collect()
}

struct Resolver<'p> {
    problems: &'p mut Vec<Found>,
    sources: &'p [File],
    limits: Limits,
}

impl Resolver<'_> {
    fn refuse(&mut self, file: usize, place: String, what: String, fix: impl Into<String>) {
        self.problems.push(Found::error(file, place, what, fix));
    }

    fn warn(&mut self, file: usize, place: String, what: String, fix: impl Into<String>) {
        self.problems
            .push(Found { severity: Severity::Warning, ..Found::error(file, place, what, fix) });
    }

    /// Notes a second use of what may be used once.
    fn refuse_repeated<K: Hash + Eq>(
        &mut self,
        seen: &mut HashMap<K, (usize, String)>,
        key: K,
        file: usize,
        place: String,
        what: String,
    ) {
        match seen.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert((file, place));
            }
            Entry::Occupied(first) => {
                let first = self.named(first.get(), file);
                let fix = format!("it is taken by {first}: choose another or merge the two");
                self.refuse(file, place, what, fix);
            }
        }
    }

    /// A place, with its file where that is another one than `file`.
    fn named(&self, (of, place): &(usize, String), file: usize) -> String {
        match self.sources.get(*of) {
            Some(source) if *of != file => format!("{place} of {}", source.path.display()),
            _ => place.clone(),
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

    fn upstreams(&mut self, raws: Vec<(usize, RawUpstream)>) -> Vec<Upstream> {
        self.refuse_over("upstreams", "upstreams", raws.len(), self.limits.upstreams);
        let mut names = HashMap::new();
        let mut slots = 0;
        let upstreams = raws.into_iter().map(|(file, raw)| {
            let place = format!("{}.name", raw.place);
            if let Some(name) = &raw.name {
                let what = format!("duplicate upstream {name:?}");
                self.refuse_repeated(&mut names, name.clone(), file, place, what);
            }
            slots += hash_table_slots(&raw);
            self.upstream(file, raw)
        });
        let upstreams = upstreams.collect();
        if slots > self.limits.hash_table_slots {
            self.refuse(
                0,
                "upstreams".into(),
                format!(
                    "{slots} slots of hashing tables, over the limit of {}",
                    self.limits.hash_table_slots
                ),
                "use smaller tables or raise `limits.hash_table_slots`",
            );
        }
        upstreams
    }

    fn upstream(&mut self, file: usize, raw: RawUpstream) -> Upstream {
        let place = &raw.place;
        let most = self.limits.endpoints;
        if raw.endpoints.len() as u64 > most {
            let what = format!("{} endpoints, over the limit of {most}", raw.endpoints.len());
            self.refuse(
                file,
                format!("{place}.endpoints"),
                what,
                "split the upstream or raise `limits.endpoints`",
            );
        }
        let mut addresses = HashMap::new();
        for (index, endpoint) in raw.endpoints.iter().enumerate() {
            let Some(endpoint) = endpoint else { continue };
            let at = format!("{place}.endpoints[{index}].address");
            let what = format!("duplicate address {}", endpoint.location);
            self.refuse_repeated(&mut addresses, endpoint.location.clone(), file, at, what);
            self.refuse_nameless(file, place, index, endpoint, &raw.transport);
        }
        if let Err(error) = raw.policy.check(raw.endpoints.len()) {
            let fix = match error {
                BuildError::TableSizeNotPrime(_) => "use a prime, such as 65537 or 655373",
                _ => "use a larger table",
            };
            self.refuse(file, format!("{place}.load_balancing.table_size"), error.to_string(), fix);
        }
        let RawUpstream { name, policy, hash_on, endpoints, timeouts, health_check, .. } = raw;
        let (discovery, transport) = (raw.discovery, raw.transport);
        let panic_below_percent = raw.panic_below_percent;
        let name = name.unwrap_or_default().into();
        let endpoints = endpoints.into_iter().flatten().collect();
        let resilience = raw.resilience;
        Upstream {
            name,
            policy,
            hash_on,
            endpoints,
            discovery,
            transport,
            timeouts,
            health_check,
            panic_below_percent,
            resilience,
        }
    }

    /// A certificate is for a name, and a Unix socket has none.
    fn refuse_nameless(
        &mut self,
        file: usize,
        place: &str,
        index: usize,
        endpoint: &Endpoint,
        transport: &Transport,
    ) {
        let Some(tls) = &transport.tls else { return };
        if tls.server_name.is_none() && matches!(endpoint.location, Location::At(Address::Unix(_)))
        {
            let at = format!("{place}.endpoints[{index}].address");
            let what = "is a Unix socket, which has no name that a certificate could be for";
            self.refuse(file, at, what.to_owned(), "add `server_name: app.internal` to `tls`");
        }
    }

    fn virtual_hosts(
        &mut self,
        raws: Vec<(usize, RawVirtualHost)>,
        upstreams: &HashMap<Arc<str>, usize>,
        shared_filters: &HashSet<&str>,
    ) -> Vec<VirtualHost> {
        let count =
            |each: fn(&RawVirtualHost) -> usize| raws.iter().map(|(_, raw)| each(raw)).sum();
        let (routes, domains): (usize, usize) =
            (count(|raw| raw.routes.len()), count(|raw| raw.domains.len()));
        self.refuse_over("virtual_hosts", "virtual_hosts", raws.len(), self.limits.virtual_hosts);
        self.refuse_over("virtual_hosts", "routes", routes, self.limits.routes);
        self.refuse_over("virtual_hosts", "domains", domains, self.limits.domains);
        let mut names = HashMap::new();
        raws.into_iter()
            .map(|(file, raw)| {
                if let Some(name) = &raw.name {
                    let what = format!("duplicate virtual host {name:?}");
                    let place = format!("{}.name", raw.place);
                    self.refuse_repeated(&mut names, name.clone(), file, place, what);
                }
                self.filters_turned_off(file, &raw, shared_filters);
                self.virtual_host(file, raw, upstreams)
            })
            .collect()
    }

    /// A domain leads to one virtual host on each listener; two listeners may route it differently.
    /// `places` are those of the virtual hosts, each with its file. Where no listener could be read,
    /// all virtual hosts are taken to be served by one; one that no listener serves is looked at
    /// alone.
    fn domains(&mut self, listeners: &[Listener], hosts: &[VirtualHost], places: &Places) {
        let all = || (0..hosts.len()).collect::<Vec<_>>();
        let mut served: Vec<_> = listeners
            .iter()
            .map(|listener| listener.virtual_hosts.clone().unwrap_or_else(all))
            .collect();
        // Listeners that serve the same would only repeat what is found.
        served.sort();
        served.dedup();
        if served.is_empty() {
            served.push(all());
        }
        let covered: HashSet<usize> = served.iter().flatten().copied().collect();
        served
            .extend((0..hosts.len()).filter(|host| !covered.contains(host)).map(|host| vec![host]));
        let mut told = HashSet::new();
        for hosts_served in served {
            let mut seen: HashMap<&Domain, (usize, String)> = HashMap::new();
            for host in hosts_served {
                let (file, place) = &places.virtual_hosts[host];
                let written = hosts[host].domains.iter().zip(&places.domains[host]);
                for (domain, index) in written {
                    let at = format!("{place}.domains[{index}]");
                    match seen.entry(domain) {
                        Entry::Vacant(entry) => {
                            entry.insert((*file, at));
                        }
                        Entry::Occupied(first) if told.insert((*file, at.clone())) => {
                            let first = self.named(first.get(), *file);
                            let fix = format!(
                                "it is taken by {first}: choose another, merge the two, or let \
                                 each be served by a listener of its own (`virtual_hosts`)"
                            );
                            self.refuse(*file, at, format!("duplicate domain \"{domain}\""), fix);
                        }
                        Entry::Occupied(_) => {}
                    }
                }
            }
        }
    }

    /// To turn off what nobody has turned on is a slip of the name.
    fn filters_turned_off(&mut self, file: usize, raw: &RawVirtualHost, shared: &HashSet<&str>) {
        let mut check = |place: String, entries: &[FilterEntry], known: &dyn Fn(&str) -> bool| {
            for entry in entries {
                if let FilterEntry::Off(name) = entry
                    && !known(name)
                {
                    let what = format!("turns off {name:?}, which no less specific place sets up");
                    let fix = "correct the name or remove the entry";
                    self.refuse(file, format!("{place}.filters"), what, fix);
                }
            }
        };
        check(raw.place.clone(), &raw.filters, &|name| shared.contains(name));
        let of_host: HashSet<&str> = raw.filters.iter().map(|entry| &**entry.name()).collect();
        let known = |name: &str| shared.contains(name) || of_host.contains(name);
        for route in &raw.routes {
            check(format!("{}.routes[{}]", raw.place, route.index), &route.filters, &known);
        }
    }

    fn filter_upstreams(&mut self, used: &[UpstreamUse], known: &HashMap<Arc<str>, usize>) {
        for used in used.iter().filter(|used| !known.contains_key(&*used.upstream)) {
            self.refuse_unknown_upstream(used.file, used.place.clone(), &used.upstream);
        }
    }

    fn refuse_unknown_upstream(&mut self, file: usize, place: String, name: &str) {
        let what = format!("unknown upstream {name:?}");
        self.refuse(file, place, what, "define it under `upstreams` or correct the name");
    }

    fn virtual_host(
        &mut self,
        file: usize,
        mut raw: RawVirtualHost,
        upstreams: &HashMap<Arc<str>, usize>,
    ) -> VirtualHost {
        let mut names = HashMap::new();
        let mut routes = Vec::with_capacity(raw.routes.len());
        let mut reached = Reached::default();
        for route in std::mem::take(&mut raw.routes) {
            let place = format!("{}.routes[{}]", raw.place, route.index);
            if let Some(name) = &route.name {
                let what = format!("duplicate route {name:?}");
                let at = format!("{place}.name");
                self.refuse_repeated(&mut names, name.clone(), file, at, what);
                let is_none = raw.name.as_deref() == Some(NONE) && **name == *NONE;
                if is_none {
                    let what = format!("is {NONE:?} in a virtual host {NONE:?}");
                    let fix =
                        "choose another name: these are the labels of requests that no route takes";
                    self.refuse(file, format!("{place}.name"), what, fix);
                }
            }
            if let Some(matches) = &route.matches
                && let Some(by) = reached.by(route.index, matches)
            {
                let what =
                    format!("is never reached: {}.routes[{by}] takes what it would", raw.place);
                self.warn(file, place, what, "move it before that one or remove it");
            }
            routes.extend(self.route(file, route, upstreams));
        }
        let RawVirtualHost { name, domains, filters, error_pages, clients, .. } = raw;
        let domains = domains.into_iter().flatten().collect();
        let name = name.unwrap_or_default().into();
        VirtualHost { name, domains, filters, error_pages, clients, routes }
    }

    fn route(
        &mut self,
        file: usize,
        raw: RawRoute,
        upstreams: &HashMap<Arc<str>, usize>,
    ) -> Option<Route> {
        let action = match raw.action? {
            RawAction::Forward(forward) => {
                Action::Forward(self.forward(file, *forward, upstreams)?)
            }
            RawAction::Redirect(redirect) => Action::Redirect(redirect),
            RawAction::Respond(respond) => Action::Respond(respond),
        };
        let RawRoute { name, matches, filters, .. } = raw;
        Some(Route { name: name?.into(), matches: matches?, filters, action })
    }

    fn forward(
        &mut self,
        file: usize,
        raw: RawForward,
        upstreams: &HashMap<Arc<str>, usize>,
    ) -> Option<Forward> {
        let targets: Vec<Target> =
            raw.targets.iter().filter_map(|target| self.target(file, target, upstreams)).collect();
        let mirror = match &raw.mirror {
            Some((target, percent)) => {
                let upstream = self.target(file, target, upstreams)?.upstream;
                Some(Mirror { upstream, percent: *percent })
            }
            None => None,
        };
        (targets.len() == raw.targets.len()).then(|| Forward {
            targets,
            timeout: raw.timeout,
            retry: raw.retry.unwrap_or_default(),
            failover: raw.failover,
            sticky: raw.sticky,
            mirror,
        })
    }

    fn target(
        &mut self,
        file: usize,
        raw: &RawTarget,
        upstreams: &HashMap<Arc<str>, usize>,
    ) -> Option<Target> {
        let Some(&upstream) = upstreams.get(&*raw.upstream) else {
            self.refuse_unknown_upstream(file, raw.place.clone(), &raw.upstream);
            return None;
        };
        Some(Target { upstream, weight: raw.weight })
    }

    fn listeners(
        &mut self,
        raws: Vec<RawListener>,
        admin: Option<&super::admin::Admin>,
        hosts: &HashMap<Arc<str>, usize>,
    ) -> Vec<Listener> {
        if raws.is_empty() && !self.problems.iter().any(Found::is_error) {
            self.refuse(0, "listeners".into(), "is empty".into(), "add a listener");
        }
        let mut names = HashMap::new();
        let mut addresses = HashMap::new();
        let admin = admin.and_then(|admin| admin.address.ip());
        if let Some(address) = admin.filter(|address| address.port() != 0) {
            addresses.insert(address, (0, "admin.address".to_owned()));
        }
        let listeners = raws.into_iter().map(|raw| {
            let place = raw.place.clone();
            if raw.filters.iter().any(|entry| matches!(entry, FilterEntry::Off(_))) {
                let what = "turns a filter off, and no place is less specific".to_owned();
                self.refuse(0, format!("{place}.filters"), what, "remove the entry");
            }
            if let Some(name) = &raw.name {
                let what = format!("duplicate listener {name:?}");
                let at = format!("{place}.name");
                self.refuse_repeated(&mut names, name.clone(), 0, at, what);
            }
            if let Some(address) = raw.address.filter(|address| address.port() != 0) {
                let what = format!("duplicate address {address}");
                let at = format!("{place}.address");
                self.refuse_repeated(&mut addresses, address, 0, at, what);
            }
            self.listener(&place, raw, hosts)
        });
        listeners.collect()
    }

    fn listener(
        &mut self,
        place: &str,
        raw: RawListener,
        hosts: &HashMap<Arc<str>, usize>,
    ) -> Listener {
        if raw.redirect.is_some() && raw.has_tls {
            let what = "has no effect: all that comes by this listener is HTTPS".to_owned();
            let fix = "write it on the listener in clear text, such as that of port 80";
            self.refuse(0, format!("{place}.redirect"), what, fix);
        }
        let protocols = self.protocols(place, &raw);
        let virtual_hosts = raw.virtual_hosts.map(|names| {
            let mut served = Vec::with_capacity(names.len());
            for (index, name) in names.iter().enumerate() {
                let Some(name) = name else { continue };
                let Some(host) = self.served_host(place, index, name, hosts) else { continue };
                if served.contains(&host) {
                    let at = format!("{place}.virtual_hosts[{index}]");
                    let what = format!("names virtual host {name:?} again");
                    self.refuse(0, at, what, "remove one of the two");
                } else {
                    served.push(host);
                }
            }
            served
        });
        Listener {
            name: raw.name.unwrap_or_default().into(),
            address: raw.address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0))),
            virtual_hosts,
            protocols,
            h2c: protocols.http2 && !raw.has_tls,
            tls: raw.tls.map(Arc::new),
            http2: raw.http2.unwrap_or_default(),
            trusted_proxies: raw.trusted_proxies,
            redirect: raw.redirect,
            proxy_protocol: raw.proxy_protocol,
            max_connections: raw.max_connections.unwrap_or(Listener::MAX_CONNECTIONS),
            max_connections_per_source: raw
                .max_connections_per_source
                .unwrap_or(Listener::MAX_CONNECTIONS_PER_SOURCE),
            timeouts: raw.timeouts,
            filters: raw.filters,
        }
    }

    fn served_host(
        &mut self,
        place: &str,
        index: usize,
        name: &str,
        hosts: &HashMap<Arc<str>, usize>,
    ) -> Option<usize> {
        let host = hosts.get(name).copied();
        if host.is_none() {
            let at = format!("{place}.virtual_hosts[{index}]");
            let what = format!("unknown virtual host {name:?}");
            self.refuse(0, at, what, "define it under `virtual_hosts` or correct the name");
        }
        host
    }
}

/// Whether there may be more endpoints than are written.
fn is_found(raw: &RawUpstream) -> bool {
    let mut endpoints = raw.endpoints.iter().flatten();
    raw.discovery.is_some()
        || endpoints.any(|endpoint| matches!(endpoint.location, Location::Name(_)))
}

/// What an upstream's table adds to the total; one endpoint needs none.
fn hash_table_slots(raw: &RawUpstream) -> u64 {
    match raw.policy {
        Policy::Maglev { table_size } if raw.endpoints.len() > 1 || is_found(raw) => {
            table_size.into()
        }
        // A point of the ring is a hash and an index: 16 bytes to a table's 2.
        Policy::RingHash => 160 * 8 * raw.endpoints.len() as u64,
        _ => 0,
    }
}
