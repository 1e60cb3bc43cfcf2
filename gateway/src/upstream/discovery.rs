//! Finding endpoints: names that are resolved, SRV records, files of endpoints, and other sources of
//! configuration.
//!
//! Each upstream that has something to find has a task, which asks for each of its names when the TTL
//! of the last answer is over, follows its file, and replaces the upstream's set when the outcome is
//! another. A failure changes nothing but the time of the next question: endpoints found once stay
//! until there is another answer. The configuration is not compiled for any of this.

mod dns;
mod file;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use sallyport_stats::{DiscoveryFailure, Registry};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use self::dns::{Addresses, Dns};
use self::file::Files;
use super::Upstream;
use crate::config::{Discovery, Endpoint, Location, Name, Resolver};
use crate::sources::{Group, Groups};

/// How long changes are gathered before a set is built: a hundred names whose answers change at the
/// same time cost one set, and an endpoint is used at most so much later.
const GATHER: Duration = Duration::from_millis(20);

/// The wait after the first failure; it doubles with each further one.
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// The longest wait after a failure: an operator who mended a zone does not wait for minutes.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// What an upstream's task found last.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    /// The endpoints that SRV records or a file list.
    pub(super) listed: Option<Vec<Endpoint>>,
    /// The addresses of each name.
    pub(super) names: HashMap<Name, Addresses>,
    /// Whether there was an outcome for everything that is to be found.
    pub(super) settled: bool,
}

/// The tasks of the upstreams in force.
#[derive(Debug)]
pub struct Discoverer {
    runtime: Handle,
    registry: Arc<Registry>,
    resolver: Resolver,
    dns: Option<Arc<Dns>>,
    files: Files,
    groups: Groups,
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    upstream: Arc<Upstream>,
    task: AbortHandle,
}

impl Discoverer {
    /// Without tasks yet; they will run on `runtime`.
    #[must_use]
    pub fn new(runtime: Handle, registry: Arc<Registry>, groups: Groups) -> Self {
        let (resolver, files) = (Resolver::default(), Files::default());
        Self { runtime, registry, resolver, dns: None, files, groups, running: Vec::new() }
    }

    /// Finds the endpoints of `upstreams` from now on, and of no others. Tasks of upstreams that were
    /// in force before go on, unless names are resolved in another way now.
    pub fn follow(&mut self, upstreams: &[Arc<Upstream>], resolver: &Resolver) {
        let resolves_anew = self.resolver != *resolver;
        if resolves_anew {
            self.resolver = resolver.clone();
            self.dns = None;
        }
        let in_force: HashSet<_> = upstreams.iter().map(Arc::as_ptr).collect();
        let mut gone = HashSet::new();
        self.running.retain(|running| {
            let stays = in_force.contains(&Arc::as_ptr(&running.upstream));
            if !stays || resolves_anew {
                running.task.abort();
            }
            if !stays {
                running.upstream.retire();
                gone.insert(running.upstream.spec.name.clone());
            }
            stays && !resolves_anew
        });
        let running: HashSet<_> =
            self.running.iter().map(|running| Arc::as_ptr(&running.upstream)).collect();
        for upstream in upstreams {
            // Counters may have been installed for endpoints that were replaced in between.
            if upstream.is_dynamic() || gone.contains(&upstream.spec.name) {
                upstream.expose(&self.registry);
            }
            if upstream.is_dynamic() && !running.contains(&Arc::as_ptr(upstream)) {
                self.start(upstream);
            }
        }
        let dynamic = upstreams.iter().filter(|upstream| upstream.is_dynamic());
        self.registry
            .discovery()
            .keep(dynamic.map(|upstream| upstream.spec.name.clone()).collect());
        self.files.forget_unused();
    }

    fn start(&mut self, upstream: &Arc<Upstream>) {
        let _entered = self.runtime.enter();
        let dns = self.dns.get_or_insert_with(|| Arc::new(Dns::new(&self.resolver))).clone();
        let list = match &upstream.spec.discovery {
            None => None,
            Some(Discovery::Srv(name)) => Some(List::Srv(name.clone())),
            Some(Discovery::File(path)) => Some(List::File(self.files.follow(path))),
            Some(Discovery::Source(source, group)) => {
                Some(List::Source(self.groups.follow(source, group)))
            }
        };
        let finding = Finding {
            upstream: upstream.clone(),
            dns,
            registry: self.registry.clone(),
            asking: FuturesUnordered::new(),
            asked: HashSet::new(),
            seen: HashSet::new(),
            is_listed: list.is_none(),
            answers: upstream.answers(),
        };
        let task = self.runtime.spawn(finding.run(list)).abort_handle();
        self.running.push(Running { upstream: upstream.clone(), task });
    }
}

/// Where a list of endpoints comes from.
enum List {
    Srv(Arc<str>),
    File(file::Followed),
    Source(Group),
}

/// What became of one question.
enum Outcome {
    Name { name: Name, addresses: Addresses, failure: Option<DiscoveryFailure>, next: Duration },
    List { list: List, listed: Result<Vec<Endpoint>, DiscoveryFailure>, next: Duration },
}

/// The task of one upstream.
struct Finding {
    upstream: Arc<Upstream>,
    dns: Arc<Dns>,
    registry: Arc<Registry>,
    asking: FuturesUnordered<BoxFuture<'static, Outcome>>,
    /// The names that are asked for.
    asked: HashSet<Name>,
    /// The names for which there was an outcome.
    seen: HashSet<Name>,
    /// Whether there was an outcome for the list, or there is none.
    is_listed: bool,
    answers: Answers,
}

impl Finding {
    async fn run(mut self, list: Option<List>) {
        if let Some(list) = list {
            self.ask_for_list(list, Duration::ZERO, 0);
        }
        self.ask_for_names();
        while let Some(outcome) = self.asking.next().await {
            self.take(outcome);
            sleep(GATHER).await;
            while let Some(Some(outcome)) = self.asking.next().now_or_never() {
                self.take(outcome);
            }
            self.ask_for_names();
            self.answers.settled = self.is_listed && self.asked.is_subset(&self.seen);
            self.upstream.found(self.answers.clone(), &self.registry);
        }
    }

    /// Asks for each name that is wanted and not asked for yet.
    fn ask_for_names(&mut self) {
        let wanted = self.wanted();
        let fresh: Vec<_> = wanted.difference(&self.asked).cloned().collect();
        for name in fresh {
            let known = self.answers.names.get(&name).cloned().unwrap_or_default();
            self.asked.insert(name.clone());
            self.ask_for(name, known, Duration::ZERO);
        }
    }

    fn wanted(&self) -> HashSet<Name> {
        let listed = self.answers.listed.iter().flatten();
        let all = self.upstream.spec.endpoints.iter().chain(listed);
        let name = |endpoint: &Endpoint| match &endpoint.location {
            Location::Name(name) => Some(name.clone()),
            Location::At(_) => None,
        };
        all.filter_map(name).collect()
    }

    fn ask_for(&self, name: Name, known: Addresses, after: Duration) {
        let dns = self.dns.clone();
        self.asking.push(
            async move {
                dns.wait(after).await;
                let (addresses, failure, ttl) = dns.addresses(&name.host, known).await;
                let next = match failure {
                    Some(_) => ttl.min(back_off(addresses.failures)),
                    None => ttl,
                };
                Outcome::Name { name, addresses, failure, next }
            }
            .boxed(),
        );
    }

    fn ask_for_list(&self, list: List, after: Duration, failures: u32) {
        let dns = self.dns.clone();
        self.asking.push(
            async move {
                match list {
                    List::Srv(name) => {
                        dns.wait(after).await;
                        let (listed, next) = match dns.services(&name).await {
                            Ok((listed, ttl)) => (Ok(listed), ttl),
                            Err(failure) => (Err(failure), back_off(failures + 1)),
                        };
                        Outcome::List { list: List::Srv(name), listed, next }
                    }
                    List::Source(mut group) => {
                        let listed = Ok(group.next().await);
                        Outcome::List { list: List::Source(group), listed, next: Duration::ZERO }
                    }
                    List::File(mut followed) => {
                        let listed = followed.next().await;
                        let list = List::File(followed);
                        Outcome::List { list, listed, next: Duration::ZERO }
                    }
                }
            }
            .boxed(),
        );
    }

    fn take(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Name { name, addresses, failure, next } => {
                self.report(&name.host, failure, addresses.failures);
                if !self.wanted().contains(&name) {
                    self.asked.remove(&name);
                    self.seen.remove(&name);
                    self.answers.names.remove(&name);
                    return;
                }
                self.seen.insert(name.clone());
                self.answers.names.insert(name.clone(), addresses.clone());
                self.ask_for(name, addresses, next);
            }
            Outcome::List { list, listed, next } => {
                let failed = listed.is_err();
                let name = match &list {
                    List::Srv(name) => name.clone(),
                    List::File(followed) => followed.name(),
                    List::Source(group) => group.name().clone(),
                };
                let failures = self.upstream.list_failures(failed);
                self.report(&name, listed.as_ref().err().copied(), failures);
                if let Ok(listed) = listed {
                    self.answers.listed = Some(listed);
                }
                self.is_listed = true;
                self.ask_for_list(list, next, failures);
            }
        }
    }

    /// Counts a failure and says the first one in a row; the end of a row is said too.
    fn report(&self, name: &str, failure: Option<DiscoveryFailure>, failures: u32) {
        let upstream = &*self.upstream.spec.name;
        let Some(failure) = failure else { return };
        self.registry.discovery().failed(&self.upstream.spec.name, failure);
        if failures <= 1 {
            let reason = failure.label();
            tracing::warn!(
                upstream,
                name,
                reason,
                "endpoints could not be looked up: those found last stay"
            );
        }
    }
}

/// The wait after this many failures in a row, jittered so that names do not fail in step.
fn back_off(failures: u32) -> Duration {
    let doubled = RETRY_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(10));
    doubled.min(RETRY_MAX).mul_f64(0.75 + 0.25 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_backed_off_within_bounds() {
        for failures in 0..100 {
            let wait = back_off(failures);
            assert!(wait >= RETRY_FIRST.mul_f64(0.75) && wait <= RETRY_MAX, "{failures}: {wait:?}");
        }
        assert!(back_off(50) > back_off(1));
    }
}
