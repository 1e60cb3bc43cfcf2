//! A configuration compiled for serving: immutable, complete, swapped as one.
//!
//! Compiling happens off the request path and reuses what a reload did not touch: upstreams that
//! are the same keep their balancer and counters, endpoints keep their state wherever they appear.

mod bandwidth;
mod chains;
mod passthrough;
mod tls;

use std::collections::HashMap;
use std::sync::Arc;

use sallyport_plugin::{Chain, Instances, Metrics};
use sallyport_route::{HostTable, Match, PathMatch, PathRegex, RouteTable};
use sallyport_stats::{CertificateExpiry, Registry, RouteStats};
use sallyport_tls::{ClientMode, Tickets};

use crate::config::{
    Action, Admin, Challenges, Config, Discovery, EngineChoice, ErrorPages, HintField, Limits,
    Listener, Loaded, LogSettings, Push, Resolver, Shutdown, Tracing, Verdicts, VirtualHost,
};
use crate::sources::Groups;
use crate::trace::context::Sample;
use crate::upstream::{self, Account, Found, Upstream};

use self::bandwidth::Bandwidths;
pub use self::bandwidth::RouteBandwidth;
pub use chains::Chains;
pub use passthrough::{PassedOn, Passthrough};
pub use tls::ListenerTls;

/// The name under which requests that match nothing are counted, host and route alike.
pub const NONE: &str = "none";

/// Everything a request needs to be decided.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts up from 1 with every configuration put in force.
    pub version: u64,
    /// The SHA-256 of its files.
    pub sha256: String,
    /// The listeners as configured; what they serve is in `tables`.
    pub listeners: Vec<Listener>,
    /// The admin listener as configured.
    pub admin: Option<Admin>,
    /// The limits.
    pub limits: Limits,
    /// How the process ends.
    pub shutdown: Shutdown,
    /// What serves ordinary exchanges with origins of HTTP/1.1.
    pub engine: EngineChoice,
    /// What it logs.
    pub log: LogSettings,
    /// Where answers to challenges of authorities are looked for.
    pub challenges: Challenges,
    /// Whether anything asks for the JA4 fingerprint of clients.
    pub asks_ja4: bool,
    /// The hints that are sent upstream.
    pub upstream_hints: Vec<HintField>,
    /// Which sources are to be shut out.
    pub verdicts: Option<Verdicts>,
    /// Where statistics are pushed.
    pub push: Option<Push>,
    /// Where traces are sent.
    pub tracing: Option<Tracing>,
    /// The share of requests of no virtual host that are recorded.
    pub sample: Sample,
    /// What clients read in place of the gateway's own errors.
    pub error_pages: ErrorPages,
    /// How names of endpoints are resolved.
    pub resolver: Resolver,
    /// The upstreams, indexed by [`Target::upstream`](crate::config::Target::upstream).
    pub upstreams: Vec<Arc<Upstream>>,
    /// Whether all of them are spoken to in HTTP/1.
    pub are_upstreams_http1: bool,
    /// The virtual hosts.
    pub hosts: Vec<Host>,
    /// Where requests that match no route are counted.
    pub unmatched: RouteStats,
    /// The filters of requests that match no route.
    unmatched_filters: Chains,
    tables: Vec<HostTable>,
    /// The TLS of each listener, where it speaks TLS.
    tls: Vec<Option<Arc<ListenerTls>>>,
    /// What each listener passes on without terminating it.
    passthrough: Vec<Option<Passthrough>>,
    /// The TLS of the admin listener, if it speaks TLS.
    admin_tls: Option<Arc<ListenerTls>>,
    tickets: Tickets,
    filters: Instances,
}

/// A virtual host, compiled.
#[derive(Debug)]
pub struct Host {
    /// Its name.
    pub name: Arc<str>,
    /// Its domains as configured.
    pub domains: Vec<sallyport_route::Domain>,
    /// Its own error pages.
    pub error_pages: ErrorPages,
    /// Whether its clients must have shown a certificate.
    pub needs_client_certificate: bool,
    /// The share of its requests that are recorded where no route says another.
    pub sample: Sample,
    /// The matching of its routes.
    pub table: Arc<RouteTable>,
    /// Its routes, in order.
    pub routes: Vec<Route>,
}

/// A route, without the matching that [`Host::table`] does for it.
#[derive(Debug)]
pub struct Route {
    /// Its name.
    pub name: Arc<str>,
    /// What becomes of a request.
    pub action: Action,
    /// Its counters.
    pub stats: RouteStats,
    /// The share of its requests that are recorded.
    pub sample: Sample,
    /// How much of their bodies passes.
    pub bandwidth: Option<RouteBandwidth>,
    /// Its filters and those of the places it belongs to.
    filters: Chains,
}

impl Host {
    /// The regex that the route with this index matches paths with, if it does.
    #[must_use]
    pub fn path_regex(&self, route: usize) -> Option<&PathRegex> {
        match &self.table.matches().get(route)?.path {
            PathMatch::Regex(regex) => Some(regex),
            _ => None,
        }
    }
}

impl Snapshot {
    /// Compiles `loaded`, keeping from `previous` whatever did not change.
    ///
    /// # Errors
    /// If a table cannot be built; a resolved configuration does not cause that.
    pub fn compile(
        loaded: Loaded,
        version: u64,
        previous: Option<&Self>,
        registry: &Registry,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        let Config {
            listeners,
            admin,
            limits,
            shutdown,
            engine,
            log,
            classifier,
            asks_ja4,
            challenges,
            verdicts,
            counts_status_codes,
            push,
            tracing,
            error_pages,
            resolver,
            upstreams,
            virtual_hosts,
            providers: _,
        } = loaded.config;
        let upstream_hints = classifier.map(|classifier| classifier.upstream_headers);
        let upstream_hints = upstream_hints.unwrap_or_default();
        let tables = listeners
            .iter()
            .map(|listener| host_table(listener, &virtual_hosts))
            .collect::<Result<_, _>>()?;
        let tickets = previous.map_or_else(Tickets::default, |previous| previous.tickets.clone());
        let before = previous.map_or(&[][..], |previous| &previous.tls);
        let tls = compile_tls(&listeners, &virtual_hosts, before, &tickets, registry)?;
        let compile_admin = |tls| {
            let before = previous.and_then(|previous| previous.admin_tls.as_ref());
            ListenerTls::compile_admin(tls, before, &tickets, registry).map(Arc::new)
        };
        let admin_tls = admin.as_ref().and_then(|admin| admin.tls.as_ref());
        let admin_tls = admin_tls.map(compile_admin).transpose()?;
        let bandwidths = Bandwidths::new(&virtual_hosts, &upstreams, previous, registry);
        let passthrough = passthrough::compile(&listeners, &upstreams, registry);
        let upstreams = compile_upstreams(upstreams, previous, registry)?;
        bandwidths.hand_to(&upstreams);
        let are_upstreams_http1 =
            upstreams.iter().all(|upstream| upstream.spec.transport.is_http1());
        let sample = tracing.as_ref().map_or(Sample::NONE, |tracing| tracing.sample);
        let before = previous.map_or(&[][..], |previous| &previous.hosts);
        registry.count_status_codes(counts_status_codes);
        let (hosts, unmatched) = compile_hosts(
            virtual_hosts,
            before,
            sample,
            &listeners,
            &bandwidths,
            registry,
            metrics,
        )?;
        expect_retries(&hosts, &upstreams);
        count_queues(&upstreams, registry);
        let unmatched_filters = Chains::new(&listeners, &[], metrics);
        let sha256 = loaded.sha256;
        Ok(Self {
            version,
            sha256,
            listeners,
            admin,
            limits,
            shutdown,
            engine,
            log,
            challenges,
            asks_ja4,
            upstream_hints,
            verdicts,
            push,
            tracing,
            sample,
            error_pages,
            resolver,
            upstreams,
            are_upstreams_http1,
            hosts,
            unmatched,
            unmatched_filters,
            tables,
            tls,
            passthrough,
            admin_tls,
            tickets,
            filters: loaded.filters,
        })
    }

    /// Gives upstreams the endpoints that other sources have told of already, so that the first request
    /// finds them.
    pub fn introduce(&self, groups: &Groups, registry: &Registry) {
        for upstream in &self.upstreams {
            if let Some(Discovery::Source(source, group)) = &upstream.spec.discovery
                && let Some(endpoints) = groups.known(source, group)
            {
                upstream.introduce(&endpoints, registry);
            }
        }
    }

    /// The index of the listener called `name`, or of the first one.
    ///
    /// # Errors
    /// If there is no listener of that name.
    pub fn listener(&self, name: Option<&str>) -> Result<usize, String> {
        let Some(name) = name else { return Ok(0) };
        let mut listeners = self.listeners.iter();
        let found = listeners.position(|listener| *listener.name == *name);
        found.ok_or_else(|| format!("there is no listener {name:?}"))
    }

    /// The keys of session tickets.
    #[must_use]
    pub fn tickets(&self) -> &Tickets {
        &self.tickets
    }

    /// The filters, wherever they are set up.
    #[must_use]
    pub fn filters(&self) -> &Instances {
        &self.filters
    }

    /// The TLS of the listener with this index, if it speaks TLS.
    #[must_use]
    pub fn tls(&self, listener: usize) -> Option<&ListenerTls> {
        self.tls.get(listener)?.as_deref()
    }

    /// Where a connection goes that comes by the listener with this index and asks for `name`, if it
    /// is not terminated.
    #[must_use]
    pub fn passed_on(&self, listener: usize, name: Option<&str>) -> Option<&PassedOn> {
        let passthrough = self.passthrough.get(listener)?.as_ref()?;
        passthrough.find(name, self.tls(listener)?.server.certificates())
    }

    /// Whether the listener with this index passes any connection on without terminating it.
    #[must_use]
    pub fn passes_on(&self, listener: usize) -> bool {
        self.passthrough.get(listener).is_some_and(Option::is_some)
    }

    /// The TLS of the admin listener, if it speaks TLS.
    #[must_use]
    pub fn admin_tls(&self) -> Option<&Arc<ListenerTls>> {
        self.admin_tls.as_ref()
    }

    /// What the routes match, of all virtual hosts.
    pub fn matches(&self) -> impl Iterator<Item = &Match> {
        self.hosts.iter().flat_map(|host| host.table.matches())
    }

    /// When each certificate expires, by listener and name.
    #[must_use]
    pub fn certificate_expiries(&self) -> Vec<CertificateExpiry> {
        let listeners = self.listeners.iter().zip(&self.tls);
        let with_tls = listeners.filter_map(|(listener, tls)| Some((listener, tls.as_ref()?)));
        let with_tls = with_tls.map(|(listener, tls)| (listener.name.clone(), tls));
        let admin = self.admin_tls.iter().map(|tls| ("admin".into(), tls));
        let all = with_tls.chain(admin);
        all.flat_map(|(name, tls)| tls.expiries(&name).collect::<Vec<_>>()).collect()
    }

    /// Requests that began under this configuration's routes and have not ended.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        let routes = self.hosts.iter().flat_map(|host| &host.routes).map(|route| &route.stats);
        routes.chain([&self.unmatched]).map(RouteStats::active).sum()
    }

    /// The filters of requests that come by the listener with this index to `route`, given as indices
    /// of virtual host and route; `None` is no match.
    #[must_use]
    pub fn chain(&self, listener: usize, route: Option<(usize, usize)>) -> Option<&Chain> {
        let filters = match route {
            Some((host, route)) => &self.hosts[host].routes[route].filters,
            None => &self.unmatched_filters,
        };
        filters.of(listener)
    }

    /// The virtual host that answers for `host`, normalised, on the listener with this index.
    #[must_use]
    pub fn host(&self, listener: usize, host: &str) -> Option<usize> {
        self.tables.get(listener)?.lookup(host).map(|index| index as usize)
    }
}

fn compile_tls(
    listeners: &[Listener],
    hosts: &[VirtualHost],
    previous: &[Option<Arc<ListenerTls>>],
    tickets: &Tickets,
    registry: &Registry,
) -> anyhow::Result<Vec<Option<Arc<ListenerTls>>>> {
    let compile = |listener: &Listener| {
        let tls = listener.tls.as_ref().map(|tls| {
            ListenerTls::compile(listener, tls, hosts, previous, tickets, registry).map(Arc::new)
        });
        tls.transpose()
    };
    listeners.iter().map(compile).collect()
}

fn host_table(listener: &Listener, hosts: &[VirtualHost]) -> anyhow::Result<HostTable> {
    let all = 0..hosts.len();
    let served: Vec<usize> = listener.virtual_hosts.clone().unwrap_or_else(|| all.collect());
    let domains = served.iter().flat_map(|&index| {
        hosts[index].domains.iter().map(move |domain| (domain.clone(), index as u32))
    });
    Ok(HostTable::new(domains)?)
}

fn compile_hosts(
    hosts: Vec<VirtualHost>,
    previous: &[Host],
    sample: Sample,
    listeners: &[Listener],
    bandwidths: &Bandwidths,
    registry: &Registry,
    metrics: &Metrics,
) -> anyhow::Result<(Vec<Host>, RouteStats)> {
    let none: Arc<str> = NONE.into();
    let mut names = vec![(none.clone(), none)];
    for host in &hosts {
        names.extend(host.routes.iter().map(|route| (host.name.clone(), route.name.clone())));
    }
    let mut stats = registry.routes(&names).into_iter();
    let unmatched =
        stats.next().ok_or_else(|| anyhow::anyhow!("no counters for unmatched requests"))?;
    let filters = |host: &VirtualHost, route: &crate::config::Route| {
        Chains::new(listeners, &[&host.filters, &route.filters], metrics)
    };
    let before: HashMap<&str, &Host> = previous.iter().map(|host| (&*host.name, host)).collect();
    let compile = |host: VirtualHost| {
        let table = before.get(&*host.name).map(|host| &host.table);
        compile_host(host, table, sample, &mut stats, filters, bandwidths)
    };
    let hosts = hosts.into_iter().map(compile).collect();
    Ok((hosts, unmatched))
}

fn compile_host(
    mut host: VirtualHost,
    before: Option<&Arc<RouteTable>>,
    sample: Sample,
    stats: &mut impl Iterator<Item = RouteStats>,
    filters: impl Fn(&VirtualHost, &crate::config::Route) -> Chains,
    bandwidths: &Bandwidths,
) -> Host {
    let of_host = host.sample.unwrap_or(sample);
    let (matches, routes) = std::mem::take(&mut host.routes)
        .into_iter()
        .zip(stats)
        .map(|(route, stats)| {
            let filters = filters(&host, &route);
            let sample = route.sample.unwrap_or(of_host);
            let (name, action) = (route.name, route.action);
            let bandwidth = route.bandwidth;
            let bandwidth = bandwidth.and_then(|spec| bandwidths.of_route(spec, &host.name, &name));
            (route.matches, Route { name, action, stats, sample, bandwidth, filters })
        })
        .unzip();
    let needs_client_certificate =
        host.clients.as_ref().is_some_and(|rules| rules.mode() == ClientMode::Required);
    Host {
        needs_client_certificate,
        sample: of_host,
        name: host.name,
        domains: host.domains,
        error_pages: host.error_pages,
        table: RouteTable::following(matches, before),
        routes,
    }
}

/// Lets the statuses that routes retry show with their upstreams before there is a retry.
fn expect_retries(hosts: &[Host], upstreams: &[Arc<Upstream>]) {
    for route in hosts.iter().flat_map(|host| &host.routes) {
        let Action::Forward(forward) = &route.action else { continue };
        for status in &forward.retry.on.statuses {
            for target in &forward.targets {
                upstreams[target.upstream].account.stats.expect(*status);
            }
        }
    }
}

/// Counts what waits at the upstreams that have queues.
fn count_queues(upstreams: &[Arc<Upstream>], registry: &Registry) {
    let queues = upstreams.iter().filter(|upstream| upstream.spec.resilience.queue.is_some());
    let queues: Vec<_> = queues.collect();
    let names: Vec<_> = queues.iter().map(|upstream| upstream.spec.name.clone()).collect();
    for (upstream, stats) in queues.into_iter().zip(registry.queues(&names)) {
        upstream.account.count_queue(stats);
    }
}

fn compile_upstreams(
    specs: Vec<crate::config::Upstream>,
    previous: Option<&Snapshot>,
    registry: &Registry,
) -> anyhow::Result<Vec<Arc<Upstream>>> {
    let before: HashMap<&str, &Arc<Upstream>> = previous
        .iter()
        .flat_map(|snapshot| &snapshot.upstreams)
        .map(|upstream| (&*upstream.spec.name, upstream))
        .collect();
    let (mut names, mut found) = (Vec::new(), Vec::new());
    for spec in &specs {
        let before = before.get(&*spec.name).map(|before| &***before);
        let endpoints = upstream::known(spec, before);
        let name = |found: &Found| (spec.name.clone(), found.address.to_string().into());
        names.extend(endpoints.iter().map(name));
        found.push(endpoints);
    }
    let mut stats = registry.endpoints(&names).into_iter();
    let names: Vec<_> = specs.iter().map(|spec| spec.name.clone()).collect();
    let accounts = registry.attempts(&names);
    let upstreams = specs.into_iter().zip(found).zip(accounts).map(|((spec, found), stats_of)| {
        let found: Vec<_> = found.into_iter().zip(stats.by_ref()).collect();
        match before.get(&*spec.name) {
            Some(old) if old.spec == spec => Ok((*old).clone()),
            old => {
                let account = old.map(|old| old.account.clone());
                let account =
                    account.unwrap_or_else(|| Arc::new(Account::new(spec.name.clone(), stats_of)));
                Ok(Arc::new(Upstream::new(spec, found, account, old.map(|old| &***old))?))
            }
        }
    });
    upstreams.collect()
}
