//! Questions to DNS servers, `/etc/hosts` and search domains included.
//!
//! A and AAAA are asked for and kept apart: a server that fails for one family takes nothing away of
//! the other, nor of what that family had before.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant, SystemTime};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};
use sallyport_stats::DiscoveryFailure;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::config::{self, Endpoint, Location, Resolver};

/// Questions under way at once: a server that is slow must not gather thousands of sockets here.
const QUESTIONS_MAX: usize = 64;

/// How often the system's files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Whose contents say how names are resolved.
const SYSTEM_FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// Priorities that an upstream's endpoints may have.
const PRIORITIES_MAX: u8 = 127;

/// The addresses of a name, by family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::upstream) struct Addresses {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
    /// Failures since the last good answer.
    pub(super) failures: u32,
}

impl Addresses {
    /// All of them.
    pub(in crate::upstream) fn iter(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.v4.iter().chain(&self.v6).copied()
    }
}

/// Asks DNS servers.
#[derive(Debug)]
pub(super) struct Dns {
    settings: Resolver,
    /// `None` while there is no server to ask.
    system: Arc<RwLock<System>>,
    changed: watch::Receiver<()>,
    questions: Semaphore,
}

/// What the system's files say.
struct System {
    resolver: Option<TokioResolver>,
    hosts: Hosts,
}

impl std::fmt::Debug for System {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("System").finish_non_exhaustive()
    }
}

impl Dns {
    /// Reads the system's files. Must be called within a runtime, on which they are followed for as
    /// long as this lives.
    pub(super) fn new(settings: &Resolver) -> Self {
        let system = Arc::new(RwLock::new(System::read(settings)));
        let (told, changed) = watch::channel(());
        tokio::spawn(follow_system(Arc::downgrade(&system), settings.clone(), told));
        let questions = Semaphore::new(QUESTIONS_MAX);
        Self { settings: settings.clone(), system, changed, questions }
    }

    /// Waits for `time`, or until the system's files say something else.
    pub(super) async fn wait(&self, time: Duration) {
        let mut changed = self.changed.clone();
        changed.mark_unchanged();
        let changed = async {
            if changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = sleep(time) => {}
            () = changed => {}
        }
    }

    /// The addresses of `host`; `known` are those it had. With them, why some of them are not new, and
    /// for how long they hold.
    pub(super) async fn addresses(
        &self,
        host: &str,
        known: Addresses,
    ) -> (Addresses, Option<DiscoveryFailure>, Duration) {
        let (v4, v6) =
            tokio::join!(self.ask(host, RecordType::A), self.ask(host, RecordType::AAAA));
        self.judge(v4, v6, known)
    }

    fn judge(
        &self,
        v4: Result<Found, DiscoveryFailure>,
        v6: Result<Found, DiscoveryFailure>,
        mut known: Addresses,
    ) -> (Addresses, Option<DiscoveryFailure>, Duration) {
        use DiscoveryFailure::{NoAddress, NoName};
        let ttl = [&v4, &v6].into_iter().flatten().map(|found| found.ttl).min();
        let ttl = self.within_bounds(ttl.unwrap_or(self.settings.max_ttl));
        let mut failure = None;
        let any = v4.is_ok() || v6.is_ok();
        for (answer, addresses) in [(v4, &mut known.v4), (v6, &mut known.v6)] {
            match answer {
                Ok(found) => *addresses = found.addresses,
                // There are none of this family: the other one's answer says that the name is there.
                Err(NoAddress | NoName) if any => addresses.clear(),
                // What a server could not say is told before what it said there is none of.
                Err(why) if matches!(failure, None | Some(NoAddress | NoName)) => {
                    failure = Some(why)
                }
                Err(_) => {}
            }
        }
        known.failures = if failure.is_some() { known.failures.saturating_add(1) } else { 0 };
        (known, failure, ttl)
    }

    /// The endpoints that the SRV records of `name` list, and for how long they hold. Of the records'
    /// priorities, the lowest becomes 0, the next 1, and so on.
    pub(super) async fn services(
        &self,
        name: &str,
    ) -> Result<(Vec<Endpoint>, Duration), DiscoveryFailure> {
        let lookup = self.look_up(name, RecordType::SRV).await?;
        let ttl = self.within_bounds(time_left(&lookup));
        let mut services: Vec<_> = lookup
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::SRV(service) => Some(service),
                _ => None,
            })
            // A lone "." means that the service is decidedly not there (RFC 2782).
            .filter(|service| !service.target.is_root() && service.port != 0)
            .collect();
        services
            .sort_by_key(|service| (service.priority, service.target.to_string(), service.port));
        let mut priorities: Vec<_> = services.iter().map(|service| service.priority).collect();
        priorities.dedup();
        let endpoint = |service: &&hickory_resolver::proto::rr::rdata::SRV| {
            let host = service.target.to_string().to_ascii_lowercase();
            let host = host.strip_suffix('.').unwrap_or(&host).into();
            let level = priorities.iter().position(|priority| *priority == service.priority);
            Endpoint {
                location: Location::Name(config::Name { host, port: service.port }),
                weight: service.weight.max(1),
                priority: level.map_or(0, |level| level.min(PRIORITIES_MAX.into()) as u8),
            }
        };
        Ok((services.iter().map(endpoint).collect(), ttl))
    }

    async fn ask(&self, host: &str, kind: RecordType) -> Result<Found, DiscoveryFailure> {
        let lookup = self.look_up(host, kind).await?;
        let ttl = time_left(&lookup);
        let mut addresses: Vec<IpAddr> =
            lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect();
        // Servers rotate them.
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.is_empty() {
            return Err(DiscoveryFailure::NoAddress);
        }
        Ok(Found { addresses, ttl })
    }

    async fn look_up(&self, name: &str, kind: RecordType) -> Result<Lookup, DiscoveryFailure> {
        let (resolver, known) = {
            let system = self.system.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            (system.resolver.clone(), system.known(name, kind))
        };
        if let Some(known) = known {
            return known;
        }
        let resolver = resolver.ok_or(DiscoveryFailure::NoServer)?;
        let _permit = self.questions.acquire().await.map_err(|_| DiscoveryFailure::Other)?;
        // All attempts at all servers, and some; the library has its own, shorter, bounds.
        let patience = self.settings.timeout * (4 * (self.settings.attempts as u32 + 1));
        match timeout(patience, resolver.lookup(name, kind)).await {
            Ok(found) => found.map_err(|error| reason(&error)),
            Err(_) => Err(DiscoveryFailure::Timeout),
        }
    }

    fn within_bounds(&self, ttl: Duration) -> Duration {
        ttl.clamp(self.settings.min_ttl, self.settings.max_ttl)
    }
}

/// An answer to one question.
struct Found {
    addresses: Vec<IpAddr>,
    ttl: Duration,
}

impl System {
    fn read(settings: &Resolver) -> Self {
        let hosts = Hosts::from_system().unwrap_or_default();
        let system = system_conf::read_system_conf();
        let (config, mut options) = match system {
            Ok(read) => read,
            Err(_) if settings.servers.is_empty() => return Self { resolver: None, hosts },
            Err(_) => (ResolverConfig::default(), ResolverOpts::default()),
        };
        let builder = TokioResolver::builder_with_config(
            configured(config, settings),
            TokioRuntimeProvider::default(),
        );
        (options.timeout, options.attempts) = (settings.timeout, settings.attempts);
        // Every name has a clock of its own here.
        options.cache_size = 0;
        Self { resolver: builder.with_options(options).build().ok(), hosts }
    }

    /// What `/etc/hosts` says of a name: a name that stands there has no other address.
    fn known(&self, name: &str, kind: RecordType) -> Option<Result<Lookup, DiscoveryFailure>> {
        let name = Name::from_utf8(name).ok()?;
        let of = |kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind));
        match (kind, of(RecordType::A), of(RecordType::AAAA)) {
            (_, None, None) => None,
            (RecordType::A, found, _) | (RecordType::AAAA, _, found) => {
                Some(found.ok_or(DiscoveryFailure::NoAddress))
            }
            _ => None,
        }
    }
}

/// The system's configuration with what the file says in its place.
fn configured(system: ResolverConfig, settings: &Resolver) -> ResolverConfig {
    let (domain, search, servers) = system.into_parts();
    let servers = match settings.servers.as_slice() {
        [] => servers,
        written => written.iter().map(|address| server(*address)).collect(),
    };
    match &settings.search {
        None => ResolverConfig::from_parts(domain, search, servers),
        Some(written) => {
            let search = written.iter().filter_map(|name| Name::from_utf8(&**name).ok()).collect();
            ResolverConfig::from_parts(None, search, servers)
        }
    }
}

fn server(address: std::net::SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    server.connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
        .map(|mut connection| {
            connection.port = address.port();
            connection
        })
        .into();
    server
}

/// Reads the system's files again when they change.
async fn follow_system(
    system: std::sync::Weak<RwLock<System>>,
    settings: Resolver,
    told: watch::Sender<()>,
) {
    let state = || SYSTEM_FILES.map(|path| changed_at(Path::new(path)));
    let mut seen = state();
    loop {
        sleep(LOOK_EVERY).await;
        let Some(system) = system.upgrade() else { return };
        let now = state();
        if now == seen {
            continue;
        }
        seen = now;
        let read = System::read(&settings);
        *system.write().unwrap_or_else(std::sync::PoisonError::into_inner) = read;
        tracing::info!("the system's resolver configuration changed: names are looked up again");
        told.send_replace(());
    }
}

fn changed_at(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn time_left(lookup: &Lookup) -> Duration {
    lookup.valid_until().saturating_duration_since(Instant::now())
}

fn reason(error: &NetError) -> DiscoveryFailure {
    match error {
        error if error.is_nx_domain() => DiscoveryFailure::NoName,
        NetError::Timeout => DiscoveryFailure::Timeout,
        NetError::Dns(DnsError::ResponseCode(ResponseCode::NXDomain)) => DiscoveryFailure::NoName,
        NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)) => {
            DiscoveryFailure::ServerFailure
        }
        NetError::Dns(DnsError::NoRecordsFound(found)) => match found.response_code {
            ResponseCode::NoError => DiscoveryFailure::NoAddress,
            ResponseCode::ServFail => DiscoveryFailure::ServerFailure,
            _ => DiscoveryFailure::Other,
        },
        NetError::NoConnections => DiscoveryFailure::NoServer,
        _ => DiscoveryFailure::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(addresses: &[&str], seconds: u64) -> Result<Found, DiscoveryFailure> {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Ok(Found { addresses, ttl: Duration::from_secs(seconds) })
    }

    fn text(addresses: &Addresses) -> Vec<String> {
        addresses.iter().map(|address| address.to_string()).collect()
    }

    #[tokio::test]
    async fn one_family_takes_nothing_from_the_other() {
        use DiscoveryFailure::{NoAddress, NoName, ServerFailure, Timeout};
        let dns = Dns::new(&Resolver::default());
        let (both, failure, ttl) =
            dns.judge(found(&["10.0.0.1"], 9), found(&["::1"], 4), Addresses::default());
        assert_eq!((text(&both), failure), (vec!["10.0.0.1".into(), "::1".into()], None));
        assert_eq!(ttl, Duration::from_secs(4));
        for (v4, v6, expected, failed) in [
            (
                found(&["10.0.0.2"], 1),
                Err(ServerFailure),
                &["10.0.0.2", "::1"][..],
                Some(ServerFailure),
            ),
            (found(&["10.0.0.2"], 1), Err(NoAddress), &["10.0.0.2"], None),
            (Err(NoName), found(&["::2"], 1), &["::2"], None),
            (Err(NoName), Err(NoName), &["10.0.0.1", "::1"], Some(NoName)),
            (Err(NoAddress), Err(NoAddress), &["10.0.0.1", "::1"], Some(NoAddress)),
            (Err(NoAddress), Err(Timeout), &["10.0.0.1", "::1"], Some(Timeout)),
            (Err(Timeout), Err(NoAddress), &["10.0.0.1", "::1"], Some(Timeout)),
        ] {
            let (now, failure, _) = dns.judge(v4, v6, both.clone());
            assert_eq!(
                (text(&now), failure),
                (expected.iter().map(|it| (*it).into()).collect(), failed)
            );
            assert_eq!(now.failures, u32::from(failed.is_some()));
        }
    }

    #[tokio::test]
    async fn a_ttl_has_bounds() {
        let dns = Dns::new(&Resolver::default());
        for (ttl, expected) in [(0, 1), (30, 30), (86_400, 300)] {
            let (_, _, next) =
                dns.judge(found(&["10.0.0.1"], ttl), found(&["::1"], ttl), Addresses::default());
            assert_eq!(next, Duration::from_secs(expected));
        }
    }
}
