//! Reads a Kubernetes cluster as a source of the gateway's declared configuration.
//!
//! Watches keep what is used of the cluster's objects (`store`); a pure function translates all of
//! it into a fragment of configuration and the status that each object deserves (`translate`); the
//! fragment is delivered to the gateway, which resolves it as it resolves a file, and the status is
//! written back. Endpoints take a short way of their own. This crate knows nothing of requests, and
//! traffic never waits for the API server.

mod definitions;
mod endpoints;
mod objects;
mod status;
mod store;
mod translate;
mod watch;

pub use self::definitions::definitions;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use sallyport_config::delivery::{Delivery, Outcome, Outlet, Rejection, Unit};
use sallyport_config::spec::{Endpoint, Kubernetes};
use tokio::sync::{mpsc, watch as channel};
use tokio::time::{Instant, sleep, sleep_until};

use crate::objects::Key;
use crate::status::Statuses;
use crate::store::{Objects, Touched};
use crate::watch::{Update, Watched};

/// How long it must be quiet before a change is translated: tools apply many objects in a row.
const SETTLED: Duration = Duration::from_millis(20);

/// The longest wait under changes that never cease.
const LONGEST: Duration = Duration::from_millis(200);

/// Updates that wait to be taken; watches wait beyond.
const UPDATES: usize = 1_024;

/// Follows the cluster for as long as the gateway runs.
pub async fn run(
    config: Kubernetes,
    outlet: Arc<dyn Outlet>,
    outcomes: channel::Receiver<Outcome>,
) {
    let client = loop {
        match connect(&config).await {
            Ok(client) => break client,
            Err(why) => outlet.set_state(Err(why)),
        }
        sleep(watch::RECONNECT).await;
    };
    let (sender, updates) = mpsc::channel(UPDATES);
    let unsynced = watch::start(&client, &config, &sender).into_iter().collect();
    let controller = config.gateway_controller.to_string();
    let statuses = config.write_status.then(|| Statuses::start(client.clone(), controller));
    let cluster = Cluster {
        config,
        outlet,
        statuses,
        objects: Objects::default(),
        groups: BTreeMap::new(),
        unsynced,
        failing: BTreeMap::new(),
        stale: BTreeSet::new(),
        dirty: None,
        deliveries: 0,
        pairs: translate::Pairs::new(),
    };
    cluster.run(updates, outcomes).await;
}

/// # Errors
/// Why there is no way to the cluster, in one line.
async fn connect(config: &Kubernetes) -> Result<Client, String> {
    let found = match &config.kubeconfig {
        Some(path) => {
            let read = Kubeconfig::read_from(Path::new(&**path)).map_err(|it| it.to_string())?;
            let context = config.context.as_ref().map(ToString::to_string);
            let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
            Config::from_custom_kubeconfig(read, &options).await.map_err(|it| it.to_string())?
        }
        None => Config::incluster().map_err(|error| {
            format!("{error}: outside of a pod, write `kubeconfig: /path/to/kubeconfig`")
        })?,
    };
    Client::try_from(found).map_err(|error| error.to_string())
}

/// What is known of the cluster, and what was made of it.
struct Cluster {
    config: Kubernetes,
    outlet: Arc<dyn Outlet>,
    statuses: Option<Statuses>,
    objects: Objects,
    /// The groups that were told, of each Service.
    groups: BTreeMap<Key, BTreeMap<String, Vec<Endpoint>>>,
    /// Watches that have not listed all yet: until then nothing is delivered.
    unsynced: BTreeSet<Watched>,
    failing: BTreeMap<Watched, String>,
    /// Services whose endpoints are to be told.
    stale: BTreeSet<Key>,
    /// Since when there is something to translate, and since when it is quiet.
    dirty: Option<(Instant, Instant)>,
    deliveries: u64,
    /// The certificates that are served.
    pairs: translate::Pairs,
}

impl Cluster {
    async fn run(
        mut self,
        mut updates: mpsc::Receiver<Update>,
        mut outcomes: channel::Receiver<Outcome>,
    ) {
        loop {
            let due = self.due();
            tokio::select! {
                update = updates.recv() => {
                    let Some(update) = update else { return };
                    self.take(update);
                    while let Ok(update) = updates.try_recv() {
                        self.take(update);
                    }
                    self.tell_endpoints();
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.dirty = None;
                    self.deliver();
                }
                Ok(()) = outcomes.changed() => {
                    let outcome = outcomes.borrow_and_update().clone();
                    self.settle(&outcome);
                }
            }
        }
    }

    /// When to translate, if there is a reason to and all is known.
    fn due(&self) -> Option<Instant> {
        let (first, last) = self.dirty.filter(|_| self.unsynced.is_empty())?;
        Some((last + SETTLED).min(first + LONGEST))
    }

    fn touch(&mut self) {
        let now = Instant::now();
        self.dirty = Some((self.dirty.map_or(now, |(first, _)| first), now));
    }

    fn take(&mut self, update: Update) {
        match update {
            Update::Changed(change) => {
                for touched in change(&mut self.objects) {
                    match touched {
                        Touched::Nothing => {}
                        Touched::Endpoints(service) => drop(self.stale.insert(service)),
                        Touched::Service(service) => {
                            self.stale.insert(service);
                            self.touch();
                        }
                        Touched::Tables => self.touch(),
                    }
                }
            }
            Update::Synced(watched) => {
                if self.unsynced.remove(&watched) && self.unsynced.is_empty() {
                    self.touch();
                }
                self.failing.remove(&watched);
                self.tell_state();
            }
            Update::InTouch(watched) => {
                self.failing.remove(&watched);
                self.tell_state();
            }
            Update::Failed(watched, why) => {
                tracing::debug!(kind = watched.0, why, "objects cannot be watched");
                self.failing.insert(watched, why);
                self.tell_state();
            }
        }
    }

    fn tell_state(&self) {
        let state = match self.failing.iter().next() {
            Some(((kind, namespace, _), why)) => {
                let within = namespace.as_ref().map(|it| format!(" of namespace {it}"));
                Err(format!("{kind} objects{} cannot be read: {why}", within.unwrap_or_default()))
            }
            None if self.unsynced.is_empty() => Ok(()),
            None => return,
        };
        self.outlet.set_state(state);
    }

    /// Tells the endpoints that changed. Before all is known there may be fewer than there are, and
    /// what was known to an earlier process is better.
    fn tell_endpoints(&mut self) {
        if !self.unsynced.is_empty() {
            return;
        }
        for service in std::mem::take(&mut self.stale) {
            let zone = self.config.zone.as_deref();
            let now = endpoints::groups(&self.objects, &service, zone);
            let before = self.groups.remove(&service).unwrap_or_default();
            for (group, endpoints) in &now {
                if before.get(group) != Some(endpoints) {
                    self.outlet.set_endpoints(group, Some(endpoints.clone()));
                }
            }
            for group in before.keys().filter(|group| !now.contains_key(*group)) {
                self.outlet.set_endpoints(group, None);
            }
            if !now.is_empty() {
                self.groups.insert(service, now);
            }
        }
    }

    fn deliver(&mut self) {
        self.tell_endpoints();
        let storage = self.outlet.storage().to_path_buf();
        let translated = translate::translate(&self.objects, &self.config, &storage, &self.pairs);
        self.pairs = translated.pairs;
        self.deliveries += 1;
        let unreadable = self.objects.unreadable.iter().map(|((kind, key), why)| Rejection {
            origin: format!("{kind} {key}").into(),
            what: format!("cannot be read: {why}"),
            fix: "correct the object".to_owned(),
        });
        let delivery = Delivery {
            version: self.deliveries.to_string().into(),
            fragment: translated.fragment.into(),
            origins: translated.origins,
            problems: unreadable.chain(translated.problems).collect(),
            files: translated.files,
            unit: Unit::Part,
        };
        if let Some(statuses) = &mut self.statuses {
            statuses.prepare(self.deliveries, translated.statuses, delivery.problems.clone());
        }
        self.outlet.deliver(delivery);
    }

    /// Writes the status of what is in force now.
    fn settle(&mut self, outcome: &Outcome) {
        if let Some(statuses) = &mut self.statuses {
            statuses.settle(outcome, &self.objects);
        }
    }
}
