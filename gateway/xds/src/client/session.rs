//! One stream after the other with a control plane, and what is known in between.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use futures::FutureExt as _;
use futures::stream::{BoxStream, Stream, StreamExt as _};
use sallyport_config::delivery::{Outcome, Outlet};
use sallyport_config::spec::{Xds, XdsVariant};
use tokio::sync::{mpsc, watch};
use tonic::Status;
use tonic::transport::Channel;

use super::connect::{connect, node};
use super::delivery::{self, Translator};
use super::figures::Figures;
use super::protocol::{self, Request, Subscription, Update};
use super::state::{Effective, State, Undo, Waiting};
use crate::resources::ResourceKind;

/// Requests that wait for the control plane to read them.
const REQUESTS_MAX: usize = 1_024;

/// The largest response: 100,000 routes are a third of it.
const RESPONSE_BYTES_MAX: usize = 256 << 20;

/// How long the gateway has for a delivery before its updates are acknowledged all the same.
const VERDICT_MAX: Duration = Duration::from_secs(30);

/// The wait before the same problem is told again: a control plane may answer each rejection with
/// what was rejected.
const NACK_FIRST: Duration = Duration::from_millis(50);
const NACK_MAX: Duration = Duration::from_secs(2);

/// The kinds that a control plane lists by itself.
const LISTED: [ResourceKind; 2] = [ResourceKind::Cluster, ResourceKind::Listener];

/// The kinds that are asked for by name, as far as other resources need them.
const NAMED: [ResourceKind; 4] = [
    ResourceKind::Secret,
    ResourceKind::ClusterLoadAssignment,
    ResourceKind::Extension,
    ResourceKind::RouteConfiguration,
];

/// An update whose outcome is not known.
#[derive(Debug)]
struct Pending {
    kind: ResourceKind,
    nonce: String,
    version: String,
    undo: Undo,
}

/// What the gateway was given and has not judged yet.
#[derive(Debug)]
struct Delivering {
    version: String,
    effective: Effective,
    pending: Vec<Pending>,
    since: Instant,
}

/// Rejections of one kind in a row.
#[derive(Debug, Default)]
struct Rejected {
    problem: String,
    times: u32,
    /// An answer that is held back, and until when.
    held: Option<(Instant, String, String)>,
}

/// A client across its streams.
pub(super) struct Session {
    config: Xds,
    outlet: Arc<dyn Outlet>,
    figures: Figures,
    state: State,
    translator: Translator,
    subscriptions: BTreeMap<ResourceKind, Subscription>,
    rejected: BTreeMap<ResourceKind, Rejected>,
    /// The way to the control plane, while there is one.
    requests: Option<mpsc::Sender<Request>>,
    pending: Vec<Pending>,
    delivering: Option<Delivering>,
    /// What was delivered last and is not in force.
    refused: Option<Effective>,
    /// Since when each resource waits.
    waiting: Vec<(Waiting, Instant)>,
    deliveries: u64,
    was_answered: bool,
    /// When the last stream was opened.
    opened: Instant,
}

impl Session {
    pub(super) fn new(config: Xds, outlet: Arc<dyn Outlet>, figures: Figures) -> Self {
        Self {
            config,
            outlet,
            figures,
            state: State::default(),
            translator: Translator::default(),
            subscriptions: BTreeMap::new(),
            rejected: BTreeMap::new(),
            requests: None,
            pending: Vec::new(),
            delivering: None,
            refused: None,
            waiting: Vec::new(),
            deliveries: 0,
            was_answered: false,
            opened: Instant::now(),
        }
    }

    /// Whether the control plane answered on the last stream.
    pub(super) fn was_answered(&self) -> bool {
        self.was_answered
    }

    /// Serves one stream to its end; returns why it has ended.
    pub(super) async fn serve(&mut self, outcomes: &mut watch::Receiver<Outcome>) -> String {
        self.was_answered = false;
        let mut updates = match self.open().await {
            Ok(updates) => updates,
            Err(why) => return why,
        };
        self.figures.connected.set(1);
        self.figures.connections.inc();
        let why = self.follow(&mut updates, outcomes).await;
        self.figures.connected.set(0);
        self.requests = None;
        // The next stream begins with what is known; nobody waits for these answers any more.
        self.pending.clear();
        self.rejected.clear();
        if let Some(delivering) = &mut self.delivering {
            delivering.pending.clear();
        }
        why
    }

    /// Opens a stream and asks for everything.
    async fn open(&mut self) -> Result<Updates, String> {
        let channel = connect(&self.config).await?;
        let (sender, receiver) = mpsc::channel(REQUESTS_MAX);
        self.requests = Some(sender);
        self.subscriptions.clear();
        self.opened = Instant::now();
        let mut node = Some(node(&self.config));
        for kind in LISTED.into_iter().chain(NAMED) {
            self.subscribe(kind, &mut node)?;
        }
        let opening = match self.config.variant {
            XdsVariant::Delta => open_delta(channel, receiver).boxed(),
            XdsVariant::StateOfTheWorld => open_whole(channel, receiver).boxed(),
        };
        opening
            .await
            .map_err(|status| format!("the control plane refuses the stream: {}", text(&status)))
    }

    async fn follow(
        &mut self,
        updates: &mut Updates,
        outcomes: &mut watch::Receiver<Outcome>,
    ) -> String {
        loop {
            let timer = self.next_timer();
            // Boxed, so that the compiler sees that any thread may wait for it.
            let changed = outcomes.changed().boxed();
            let mut next = tokio::select! {
                update = updates.next() => Some(update),
                changed = changed => {
                    if changed.is_err() {
                        return "the gateway ends".to_owned();
                    }
                    None
                }
                () = until(timer) => None,
            };
            // What has come by now is looked at as one.
            while let Some(update) = next {
                match update {
                    Some(Ok(Some(update))) => self.take(update),
                    Some(Ok(None)) => tracing::debug!("resources of a kind that nobody asked for"),
                    Some(Err(status)) => return text(&status),
                    None => return "the control plane has ended the stream".to_owned(),
                }
                next = updates.next().now_or_never();
            }
            let outcome = outcomes.borrow_and_update().clone();
            self.judge(&outcome);
            if let Err(why) = self.go_on() {
                return why;
            }
        }
    }

    /// Waits without a stream. Times to live go on.
    pub(super) async fn wait(&mut self, end: Instant, outcomes: &mut watch::Receiver<Outcome>) {
        while Instant::now() < end {
            let timer = self.next_timer().map_or(end, |timer| timer.min(end));
            let changed = outcomes.changed().boxed();
            tokio::select! {
                changed = changed => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = until(Some(timer)) => {}
            }
            let outcome = outcomes.borrow_and_update().clone();
            self.judge(&outcome);
            // Without a stream there is nobody to fail at.
            self.go_on().ok();
        }
    }

    fn next_timer(&self) -> Option<Instant> {
        let held = self.rejected.values().filter_map(|it| it.held.as_ref().map(|(at, ..)| *at));
        let verdict = self.delivering.as_ref().map(|it| it.since + VERDICT_MAX);
        let warm = self.config.warming_timeout.0;
        let waiting = self.waiting.iter().map(|(_, since)| *since + warm);
        let first = (self.deliveries == 0).then_some(self.opened + warm);
        let waiting = waiting.chain(first).filter(|at| *at > Instant::now());
        held.chain(verdict).chain(waiting).chain(self.state.next_expiry()).min()
    }

    /// Takes an update, as far as it can be used.
    fn take(&mut self, update: Update) {
        let Update { kind, nonce, version, resources, removed, is_whole, problems } = update;
        if !self.was_answered {
            self.was_answered = true;
            self.outlet.set_state(Ok(()));
        }
        self.subscriptions.entry(kind).or_default().nonce.clone_from(&nonce);
        let now = Instant::now();
        let mut undo = Undo::default();
        let there: BTreeSet<String> = resources.iter().map(|it| it.name.clone()).collect();
        let mut changed = Vec::new();
        for incoming in resources {
            let name = incoming.name.clone();
            if self.state.insert(kind, incoming, now, &mut undo) {
                changed.push(name);
            }
        }
        let mut gone = removed;
        if is_whole && problems.is_empty() {
            let all = self.state.names(kind).map(str::to_owned);
            gone.extend(all.filter(|name| !there.contains(name)));
        }
        for name in &gone {
            self.state.remove(kind, name, &mut undo);
        }
        let refused = match changed.is_empty() {
            true => Default::default(),
            false => {
                let folder = self.outlet.storage();
                self.translator.refused(&self.state, (kind, &changed), folder)
            }
        };
        let mut told = problems;
        for (name, problem) in refused {
            self.state.undo(undo.of(&name));
            changed.retain(|it| *it != name);
            told.push(problem);
        }
        told.sort();
        if kind == ResourceKind::ClusterLoadAssignment {
            for name in changed.iter().chain(&gone) {
                self.outlet.set_endpoints(name, delivery::endpoints(&self.state, name));
            }
        }
        self.figures
            .resources
            .with_label_values(&[kind.short_name()])
            .set(self.state.count(kind) as i64);
        match told.is_empty() {
            true => self.pending.push(Pending { kind, nonce, version, undo }),
            false => self.reject(kind, &nonce, told.join("; ")),
        }
    }

    /// Answers an update with a problem. The same problem in a row is held back for a while.
    fn reject(&mut self, kind: ResourceKind, nonce: &str, problem: String) {
        tracing::warn!(
            kind = kind.short_name(),
            problem,
            "an update of the control plane is rejected"
        );
        self.figures.updates.with_label_values(&[kind.short_name(), "rejected"]).inc();
        let rejected = self.rejected.entry(kind).or_default();
        rejected.times = if rejected.problem == problem { rejected.times + 1 } else { 0 };
        rejected.problem.clone_from(&problem);
        if rejected.times == 0 {
            self.answer(kind, nonce, Some(&problem));
            return;
        }
        let wait = NACK_FIRST.saturating_mul(1 << rejected.times.min(10)).min(NACK_MAX);
        rejected.held = Some((Instant::now() + wait, nonce.to_owned(), problem));
    }

    /// Acknowledges an update.
    fn accept(&mut self, pending: Pending) {
        let Pending { kind, nonce, version, .. } = pending;
        self.figures.updates.with_label_values(&[kind.short_name(), "accepted"]).inc();
        self.rejected.remove(&kind);
        self.subscriptions.entry(kind).or_default().version = version;
        self.answer(kind, &nonce, None);
    }

    fn answer(&mut self, kind: ResourceKind, nonce: &str, problem: Option<&str>) {
        let Some(subscription) = self.subscriptions.get(&kind) else { return };
        let request = match self.config.variant {
            XdsVariant::Delta => subscription.answer(kind, nonce, problem),
            XdsVariant::StateOfTheWorld => subscription.whole(kind, None, problem),
        };
        // A full queue shows at the next request for names, and ends the stream there.
        self.send(request).ok();
    }

    fn send(&self, request: Request) -> Result<(), String> {
        let Some(requests) = &self.requests else { return Ok(()) };
        let full = "the control plane does not read requests";
        requests.try_send(request).map_err(|_| full.to_owned())
    }

    /// Asks for the names of a kind that are needed, if those are others than before.
    fn subscribe(
        &mut self,
        kind: ResourceKind,
        node: &mut Option<envoy_types::pb::envoy::config::core::v3::Node>,
    ) -> Result<(), String> {
        if self.requests.is_none() {
            return Ok(());
        }
        let is_listed = LISTED.contains(&kind);
        let needed = if is_listed { BTreeSet::new() } else { self.state.needed(kind) };
        let asked = self.subscriptions.get(&kind).and_then(|it| it.names.clone());
        let is_first = asked.is_none();
        if asked.as_ref() == Some(&needed) || (is_first && needed.is_empty() && !is_listed) {
            return Ok(());
        }
        // An answer that is due would be taken for one to the new names.
        let (due, others) =
            std::mem::take(&mut self.pending).into_iter().partition(|it| it.kind == kind);
        self.pending = others;
        due.into_iter().for_each(|pending: Pending| self.accept(pending));
        let asked = asked.unwrap_or_default();
        let more: Vec<_> = needed.difference(&asked).cloned().collect();
        let fewer: Vec<_> = asked.difference(&needed).cloned().collect();
        let versions = if is_first { self.state.versions(kind) } else { Vec::new() };
        let subscription = self.subscriptions.entry(kind).or_default();
        subscription.names = Some(needed);
        let request = match self.config.variant {
            XdsVariant::Delta => subscription.changed(kind, node.take(), (more, fewer), versions),
            XdsVariant::StateOfTheWorld => subscription.whole(kind, node.take(), None),
        };
        self.send(request)
    }

    /// Does what is due: times to live, subscriptions, a delivery, answers.
    fn go_on(&mut self) -> Result<(), String> {
        let now = Instant::now();
        for (kind, name) in self.state.expire(now) {
            tracing::warn!(kind = kind.short_name(), name, "a resource's time to live is over");
            self.figures.expired.inc();
            self.figures
                .resources
                .with_label_values(&[kind.short_name()])
                .set(self.state.count(kind) as i64);
            if kind == ResourceKind::ClusterLoadAssignment {
                self.outlet.set_endpoints(&name, None);
            }
        }
        for kind in NAMED {
            self.subscribe(kind, &mut None)?;
        }
        self.deliver(now);
        let due = self.rejected.iter_mut().filter_map(|(kind, rejected)| {
            let (_, nonce, problem) = rejected.held.take_if(|(at, ..)| *at <= now)?;
            Some((*kind, nonce, problem))
        });
        for (kind, nonce, problem) in due.collect::<Vec<_>>() {
            self.answer(kind, &nonce, Some(&problem));
        }
        Ok(())
    }

    /// Hands over what can be in force, if that is something else than what is.
    fn deliver(&mut self, now: Instant) {
        if let Some(delivering) = &self.delivering {
            if now < delivering.since + VERDICT_MAX {
                return;
            }
            tracing::warn!("the gateway has not said what became of an update in time");
            let delivering = self.delivering.take();
            self.settle(delivering);
        }
        let effective = self.state.effective();
        self.note_waiting(&effective, now);
        let warm = self.config.warming_timeout.0;
        let is_held =
            self.is_incomplete(now) || self.waiting.iter().any(|(_, since)| now < *since + warm);
        let is_refused = self.refused.as_ref().is_some_and(|refused| refused.is_same(&effective));
        if effective.is_in_force(&self.state) || is_held || is_refused {
            std::mem::take(&mut self.pending).into_iter().for_each(|pending| self.accept(pending));
            return;
        }
        self.deliveries += 1;
        let version = self.version();
        let (resources, folder) = (effective.resources(), self.outlet.storage());
        let delivery = self.translator.of(&resources, folder, version.clone());
        for problem in &delivery.problems {
            tracing::debug!("{problem}");
        }
        let pending = std::mem::take(&mut self.pending);
        self.delivering = Some(Delivering { version, effective, pending, since: now });
        self.outlet.deliver(delivery);
    }

    /// Whether the first stream has not said yet what there is: what an earlier process was told
    /// stays in force until then.
    fn is_incomplete(&self, now: Instant) -> bool {
        let is_silent = |kind| {
            self.subscriptions.get(kind).is_none_or(|subscription| subscription.nonce.is_empty())
        };
        self.deliveries == 0
            && LISTED.iter().any(is_silent)
            && now < self.opened + self.config.warming_timeout.0
    }

    /// A name for what is delivered: its number, and the control plane's versions.
    fn version(&self) -> String {
        let mut version = format!("#{}", self.deliveries);
        let pending =
            |kind| self.pending.iter().rev().find(|it| it.kind == kind).map(|it| &it.version);
        for kind in ResourceKind::ALL {
            let known = self.subscriptions.get(&kind).map(|it| &it.version);
            if let Some(of_kind) = pending(kind).or(known).filter(|version| !version.is_empty()) {
                version.push_str(&format!(" {} {of_kind}", kind.short_name()));
            }
        }
        version
    }

    fn note_waiting(&mut self, effective: &Effective, now: Instant) {
        self.waiting.retain(|(waiting, _)| effective.waiting.contains(waiting));
        for waiting in &effective.waiting {
            if !self.waiting.iter().any(|(known, _)| known == waiting) {
                let Waiting { place, missing } = waiting;
                tracing::debug!(
                    place,
                    kind = missing.kind.short_name(),
                    name = missing.name,
                    "waits"
                );
                self.waiting.push((waiting.clone(), now));
            }
        }
        self.figures.waiting.set(self.waiting.len() as i64);
    }

    /// Takes the gateway's verdict on what was delivered.
    fn judge(&mut self, outcome: &Outcome) {
        if self.delivering.as_ref().is_none_or(|it| *it.version != *outcome.version) {
            return;
        }
        let Some(delivering) = self.delivering.take() else { return };
        if outcome.is_in_force {
            self.settle(Some(delivering));
            return;
        }
        let told: Vec<_> = outcome.rejections.iter().map(ToString::to_string).collect();
        let problem =
            if told.is_empty() { "the gateway refuses it".to_owned() } else { told.join("; ") };
        let Delivering { effective, pending, .. } = delivering;
        self.refused = Some(effective);
        for Pending { kind, nonce, undo, .. } in pending.into_iter().rev() {
            self.state.undo(undo);
            self.reject(kind, &nonce, problem.clone());
        }
    }

    /// Notes that what was delivered is in force.
    fn settle(&mut self, delivering: Option<Delivering>) {
        let Some(Delivering { effective, pending, .. }) = delivering else { return };
        self.refused = None;
        self.state.settle(effective);
        for kind in NAMED {
            let needed = self.state.needed(kind);
            for name in self.state.retain(kind, &needed) {
                if kind == ResourceKind::ClusterLoadAssignment {
                    self.outlet.set_endpoints(&name, None);
                }
            }
        }
        pending.into_iter().for_each(|pending| self.accept(pending));
    }
}

/// What a control plane says, as one reads it.
type Updates = BoxStream<'static, Result<Option<Update>, Status>>;

fn client(channel: Channel) -> AggregatedDiscoveryServiceClient<Channel> {
    AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(RESPONSE_BYTES_MAX)
}

/// The requests that come by a channel, as one variant has them. A type of its own: of one behind a
/// pointer the compiler does not see that any thread may wait for the call.
struct Requests<T> {
    receiver: mpsc::Receiver<Request>,
    read: fn(Request) -> T,
}

impl<T> Stream for Requests<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let read = self.read;
        self.receiver.poll_recv(context).map(|request| request.map(read))
    }
}

async fn open_delta(
    channel: Channel,
    receiver: mpsc::Receiver<Request>,
) -> Result<Updates, Status> {
    let requests = Requests { receiver, read: Request::into_changed };
    let answer = client(channel).delta_aggregated_resources(requests).await?;
    Ok(answer.into_inner().map(|response| response.map(protocol::changed)).boxed())
}

async fn open_whole(
    channel: Channel,
    receiver: mpsc::Receiver<Request>,
) -> Result<Updates, Status> {
    let requests = Requests { receiver, read: Request::into_whole };
    let answer = client(channel).stream_aggregated_resources(requests).await?;
    Ok(answer.into_inner().map(|response| response.map(protocol::whole)).boxed())
}

fn text(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

/// Waits until `at`; for good where there is no such time.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
