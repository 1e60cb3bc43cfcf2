//! Everything that is counted, under one roof: what the gateway makes once, feeds names at every
//! reload, and renders at every scrape.
//!
//! It only puts the parts together. What is counted is with the parts, how it reads is with the
//! exposition.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use prometheus::proto::MetricFamily;

use crate::{
    attempts::{self, AttemptStats},
    bandwidth::{self, BandwidthOf, BandwidthStats, Direction},
    classifier::ClassifierStats,
    config::ConfigStats,
    connection::{ConnectionStats, ConnectionTable},
    discovery::DiscoveryStats,
    engine::{EngineStats, ServedBy},
    exemplar::Exemplars,
    exposition::{self, Format},
    http2::Http2Stats,
    passthrough::{self, PassthroughName, PassthroughStats},
    queue::{self, QueueStats},
    route::{self, RouteName, RouteStats},
    status_codes::{self, StatusCodes},
    table::Table,
    tls::{CertificateExpiry, Issuance, TlsStats, TlsTable},
    trailers::TrailerStats,
    upstream::{self, EndpointName, EndpointStats},
    verdict::VerdictStats,
};

/// Takes the name of an upstream, the address of an endpoint and whether the endpoint is healthy.
pub type HealthSink<'s> = dyn FnMut(&str, &str, bool) + 's;

/// Upstream, endpoint and whether it is healthy.
pub(crate) type EndpointHealth = (String, String, bool);

type HealthSource = dyn Fn(&mut HealthSink<'_>) + Send + Sync;

/// All statistics of one gateway.
pub struct Registry {
    pub(crate) routes: Table<RouteName>,
    /// The same routes, where their responses are counted by exact code; else none.
    pub(crate) status_codes: Table<RouteName>,
    counts_status_codes: AtomicBool,
    pub(crate) endpoints: Table<EndpointName>,
    pub(crate) upstreams: Table<Arc<str>>,
    pub(crate) attempts: Table<Arc<str>>,
    pub(crate) queues: Table<Arc<str>>,
    pub(crate) bandwidths: Table<BandwidthOf>,
    pub(crate) passthroughs: Table<PassthroughName>,
    health: OnceLock<Box<HealthSource>>,
    pub(crate) config: ConfigStats,
    pub(crate) classifier: ClassifierStats,
    pub(crate) verdicts: VerdictStats,
    pub(crate) http2: Http2Stats,
    pub(crate) engine: EngineStats,
    pub(crate) trailers: TrailerStats,
    pub(crate) connections: ConnectionTable,
    pub(crate) tls: TlsTable,
    pub(crate) discovery: DiscoveryStats,
    exemplars: Exemplars,
    /// With how many routes, or endpoints, those without traffic are exposed as well.
    idle_max: AtomicUsize,
}

impl fmt::Debug for Registry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl Registry {
    /// An empty registry whose cells are divided into `shards`: one for each worker thread and one
    /// for whoever else records. Fewer are as exact and contended; 0 is taken as 1.
    pub fn new(shards: usize) -> Self {
        Self {
            routes: route::table(shards),
            status_codes: status_codes::table(shards),
            counts_status_codes: AtomicBool::new(false),
            endpoints: upstream::endpoint_table(shards),
            upstreams: upstream::upstream_table(shards),
            attempts: attempts::table(shards),
            queues: queue::table(shards),
            bandwidths: bandwidth::table(shards),
            passthroughs: passthrough::table(shards),
            health: OnceLock::new(),
            config: ConfigStats::default(),
            classifier: ClassifierStats::new(shards),
            verdicts: VerdictStats::default(),
            http2: Http2Stats::default(),
            engine: EngineStats::new(shards),
            trailers: TrailerStats::default(),
            connections: ConnectionTable::default(),
            tls: TlsTable::default(),
            discovery: DiscoveryStats::default(),
            exemplars: Exemplars::default(),
            idle_max: AtomicUsize::new(0),
        }
    }

    /// Installs the routes of a new configuration, each as (virtual host, route), and returns a
    /// handle for each in the same order.
    ///
    /// Routes that were there keep their counts, new ones start at zero, and those no longer
    /// given are no longer exposed. A route that returns resumes its counts if its memory was
    /// still held, by a request under way or by a neighbour installed along with it. A new route
    /// takes some hundred bytes for its name, and 3.7 KiB of address space for each shard that
    /// become memory with its first request.
    pub fn routes(&self, names: &[(Arc<str>, Arc<str>)]) -> Vec<RouteStats> {
        self.exemplars.keep(names);
        let rows = self.routes.install(names);
        if !self.counts_status_codes.load(Ordering::Relaxed) {
            self.status_codes.install(&[]);
            return rows.into_iter().map(|row| RouteStats::new(row, None)).collect();
        }
        let codes = self.status_codes.install(names).into_iter().map(StatusCodes::new);
        rows.into_iter().zip(codes).map(|(row, codes)| RouteStats::new(row, Some(codes))).collect()
    }

    /// Says whether routes that are installed from now on count their responses by exact status code,
    /// beside its class. A visited route then holds 4 KiB more for each shard.
    pub fn count_status_codes(&self, counts: bool) {
        self.counts_status_codes.store(counts, Ordering::Relaxed);
    }

    /// Installs the endpoints of a new configuration, each as (upstream, address), by the rules of
    /// [`routes`](Self::routes).
    pub fn endpoints(&self, names: &[(Arc<str>, Arc<str>)]) -> Vec<EndpointStats> {
        let upstreams: Vec<_> = names.iter().map(|(upstream, _)| Arc::clone(upstream)).collect();
        let upstreams = self.upstreams.install(&upstreams);
        let endpoints = self.endpoints.install(names);
        let pairs = endpoints.into_iter().zip(upstreams);
        pairs.map(|(endpoint, upstream)| EndpointStats::new(endpoint, upstream)).collect()
    }

    /// As [`endpoints`](Self::endpoints), for one upstream: those of the others stay.
    pub fn endpoints_of(&self, upstream: &Arc<str>, addresses: &[Arc<str>]) -> Vec<EndpointStats> {
        let names: Vec<_> =
            addresses.iter().map(|address| (Arc::clone(upstream), Arc::clone(address))).collect();
        let row = self.upstreams.install_among(&[Arc::clone(upstream)], |name| name == upstream);
        let endpoints = self.endpoints.install_among(&names, |(name, _)| name == upstream);
        let stats = |endpoint| EndpointStats::new(endpoint, row[0].clone());
        endpoints.into_iter().map(stats).collect()
    }

    /// Installs the upstreams of a new configuration for what is counted of attempts at them, by the
    /// rules of [`routes`](Self::routes).
    pub fn attempts(&self, upstreams: &[Arc<str>]) -> Vec<AttemptStats> {
        self.attempts.install(upstreams).into_iter().map(AttemptStats::new).collect()
    }

    /// Installs the upstreams of a new configuration that have queues, by the rules of
    /// [`routes`](Self::routes).
    pub fn queues(&self, upstreams: &[Arc<str>]) -> Vec<QueueStats> {
        self.queues.install(upstreams).into_iter().map(QueueStats::new).collect()
    }

    /// Installs what of a new configuration has a bandwidth, by the rules of [`routes`](Self::routes).
    pub fn bandwidths(&self, names: &[BandwidthOf]) -> Vec<BandwidthStats> {
        self.bandwidths.install(names).into_iter().map(BandwidthStats::new).collect()
    }

    /// Installs the listeners of a new configuration that pass connections on, each with an upstream
    /// that they are passed on to, by the rules of [`routes`](Self::routes).
    pub fn passthroughs(&self, names: &[(Arc<str>, Arc<str>)]) -> Vec<PassthroughStats> {
        self.passthroughs.install(names).into_iter().map(PassthroughStats::new).collect()
    }

    /// Asks `source` for the health of endpoints with every reading from now on. It is nothing that is counted, and
    /// an endpoint that nothing is known of is left out. Only the first source is asked.
    pub fn read_health_from(
        &self,
        source: impl Fn(&mut HealthSink<'_>) + Send + Sync + 'static,
    ) -> bool {
        self.health.set(Box::new(source)).is_ok()
    }

    /// Upstream, endpoint and whether it is healthy, of all that are known.
    pub(crate) fn health(&self) -> Vec<EndpointHealth> {
        let mut health = Vec::new();
        if let Some(source) = self.health.get() {
            source(&mut |upstream, endpoint, healthy| {
                health.push((upstream.to_owned(), endpoint.to_owned(), healthy));
            });
        }
        health
    }

    /// Exposes routes and endpoints without traffic, as zeros, where there are no more than `most` of
    /// them: a rate then has something to start from before the first request. 0 exposes none.
    pub fn expose_idle(&self, most: usize) {
        self.idle_max.store(most, Ordering::Relaxed);
    }

    /// See [`expose_idle`](Self::expose_idle).
    pub(crate) fn idle_max(&self) -> usize {
        self.idle_max.load(Ordering::Relaxed)
    }

    /// Requests begun and not over, by worker thread in the order of their first request. Below zero
    /// where one worker began a request and another finished it.
    #[must_use]
    pub fn active_by_worker(&self) -> Vec<i64> {
        route::active_by_worker(self.routes.installed().iter().map(|(_, row)| row))
    }

    /// The first configuration serves. Until this is said no version is exposed.
    pub fn config_loaded(&self, version: u64, sha256: &str) {
        self.config.loaded(version, sha256);
    }

    /// A reload has replaced the configuration.
    pub fn config_applied(&self, version: u64, sha256: &str) {
        self.config.applied(version, sha256);
    }

    /// A reload has failed, and what served serves on.
    pub fn config_rejected(&self) {
        self.config.rejected();
    }

    /// The files are as the configuration that serves again, after a reload that failed.
    pub fn config_restored(&self) {
        self.config.restored();
    }

    /// What is counted of the classifier's hints.
    pub fn classifier(&self) -> &ClassifierStats {
        &self.classifier
    }

    /// What is counted of verdicts.
    pub fn verdicts(&self) -> &VerdictStats {
        &self.verdicts
    }

    /// What is counted of clients' HTTP/2 connections.
    pub fn http2(&self) -> &Http2Stats {
        &self.http2
    }

    /// Counts a request that `engine` serves.
    #[inline]
    pub fn count_engine(&self, engine: ServedBy) {
        self.engine.count(engine);
    }

    /// Counts a message whose trailers went no further.
    pub fn count_dropped_trailers(&self, direction: Direction) {
        self.trailers.dropped(direction);
    }

    /// What is counted of the connections of the listener called `name`. It is exposed for as long
    /// as somebody holds it.
    pub fn connections(&self, name: &Arc<str>) -> Arc<ConnectionStats> {
        self.connections.install(name)
    }

    /// What is counted of the TLS handshakes of the listener called `name`, which may fail in these
    /// ways. It is exposed for as long as somebody holds it.
    pub fn tls(
        &self,
        name: &Arc<str>,
        failures: impl IntoIterator<Item = &'static str>,
    ) -> Arc<TlsStats> {
        self.tls.install(name, failures)
    }

    /// Exposes when these certificates expire, and no others.
    pub fn certificates(&self, certificates: Vec<CertificateExpiry>) {
        self.tls.certificates(certificates);
    }

    /// Exposes what became of these certificates that authorities issue, and of no others.
    pub fn issuances(&self, issuances: Vec<Issuance>) {
        self.tls.issuances(issuances);
    }

    /// What is counted of looking endpoints up.
    pub fn discovery(&self) -> &DiscoveryStats {
        &self.discovery
    }

    /// Requests that can be looked up, for each bucket of each route's durations.
    pub fn exemplars(&self) -> &Exemplars {
        &self.exemplars
    }

    /// Everything counted, in the Prometheus text format 0.0.4.
    ///
    /// Routes, endpoints and upstreams without any traffic are left out unless there are few
    /// ([`expose_idle`](Self::expose_idle)): a hundred thousand idle routes would be hundreds of
    /// megabytes. Those with traffic are given whole, zeros included. A route that is gone is given
    /// until its last request is over. A
    /// visited route takes some tens of microseconds and 4 KiB of text: with thousands of them,
    /// this is nothing for a worker's thread.
    pub fn render(&self) -> String {
        self.render_with(Vec::new())
    }

    /// Calls `take` with each family that [`render`](Self::render) writes, and with those it leaves
    /// out for being empty.
    pub fn each(&self, take: impl FnMut(MetricFamily)) {
        // Nothing is sent of what is zero, so idle series would only be looked at.
        exposition::each(self, |_| true, 0, take);
    }

    /// Calls `take` with virtual host, route and counts of every visited route's durations, in the
    /// buckets of [`histogram`](crate::histogram).
    pub fn durations(&self, mut take: impl FnMut(&str, &str, &[u64])) {
        for ((host, route), row) in self.routes.installed().iter() {
            if row.is_visited() {
                take(host, route, route::RouteSnapshot::of(row).buckets());
            }
        }
    }

    /// As [`render`](Self::render), with `extra` families behind its own. One without a name or
    /// without metrics is left out, as is an untyped one, which the encoder does not know.
    pub fn render_with(&self, extra: Vec<MetricFamily>) -> String {
        self.render_wanted(extra, |_| true)
    }

    /// As [`render_with`](Self::render_with), only the families whose names are `wanted`. What is not
    /// wanted of routes and endpoints is not even read.
    pub fn render_wanted(&self, extra: Vec<MetricFamily>, wanted: impl Fn(&str) -> bool) -> String {
        self.render_as(Format::Text, extra, wanted)
    }

    /// As [`render_wanted`](Self::render_wanted), in another format.
    pub fn render_as(
        &self,
        format: Format,
        extra: Vec<MetricFamily>,
        wanted: impl Fn(&str) -> bool,
    ) -> String {
        exposition::render(self, format, extra, wanted)
    }
}
