//! `sallyport run`: start-up and shutdown, in order.

use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use sallyport_config::Found;
use sallyport_config::process::{Log, NotifyState, Signals, notify};
use sallyport_config::watch::Waker;
use sallyport_plugin::Kinds;
use sallyport_plugin::builtin::access_log;
use sallyport_stats::Registry;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;

use super::{ConfigFile, Failure};
use crate::acme;
use crate::admin::{self, Admin, AdminSocket};
use crate::classifier::Classifier;
use crate::config::{self, Loaded, Shutdown};
use crate::descriptors;
use crate::drain::Drain;
use crate::expiry;
use crate::filters::{Filters, LiveLater};
use crate::process;
use crate::proxy::Shared;
use crate::push::{Pushing, Sources};
use crate::reload::{self, Followers, Reloader};
use crate::server::{Addresses, Server};
use crate::service;
use crate::sources;
use crate::trace::{SpanQueue, Tracing};
use crate::upgrade::heir::Heritage;
use crate::upgrade::state::StateHolders;
use crate::upgrade::{Failed, Launch};
use crate::upstream;
use crate::verdicts::Verdicts;
use crate::workers::Workers;

/// Serve; watch the file and everything it includes.
#[derive(Debug, Parser)]
pub struct Args {
    /// The configuration file
    #[arg(long)]
    config: ConfigFile,
    /// Worker threads; one for each CPU by default
    #[arg(long)]
    threads: Option<NonZeroUsize>,
}

/// Serves until told to end.
///
/// # Errors
/// If the configuration has problems or a socket cannot be bound.
pub fn main(args: &Args, kinds: Kinds, log: Log) -> Result<(), Failure> {
    let launch = Launch::of_this_process().context("how this process was started is not known")?;
    let heritage = Heritage::take()?;
    let told = heritage.as_ref().map(Heritage::telling).transpose()?;
    let activated = match heritage {
        Some(_) => Vec::new(),
        None => service::activated().context("the service manager's sockets cannot be used")?,
    };
    let run = || {
        let process = Process::new(args.threads, kinds, log)?;
        let process = Process { launch: Some(launch), heritage, activated, ..process };
        let loaded = process.load(&args.config)?;
        process.serve(&args.config, loaded, |addresses| {
            for (name, address) in addresses {
                tracing::info!(%name, %address, "listening");
            }
        })
    };
    // Who is to be replaced says why it was not.
    run().inspect_err(|failure| {
        if let Some(old) = &told {
            Heritage::fails(old, &failure.to_string());
        }
    })
}

/// What is there before the configuration is: a configuration's filters are made of it.
pub(super) struct Process {
    process: process::Process,
    threads: usize,
    background: Runtime,
    /// Scrapes take seconds of CPU where there are many routes: nothing else waits behind them.
    admin: Runtime,
    /// A probe that waits for its turn fails a healthy endpoint.
    probes: Runtime,
    signals: Signals,
    upgrade_signal: Signal,
    live: LiveLater,
    filters: Filters,
    spans: Arc<SpanQueue>,
    log: Log,
    /// How the binary that replaces this one is started; `None` where none can.
    launch: Option<Launch>,
    /// What the process that this one replaces has left to it.
    heritage: Option<Heritage>,
    /// The sockets that a service manager hands to it, each with its name.
    activated: Vec<(String, OwnedFd)>,
}

impl Process {
    /// With so many worker threads, or one for each CPU.
    pub(super) fn new(
        threads: Option<NonZeroUsize>,
        kinds: Kinds,
        log: Log,
    ) -> Result<Self, Failure> {
        let process = process::Process::starting();
        // Before Pingora makes another one the default.
        sallyport_tls::install_provider();
        let available = || std::thread::available_parallelism().ok();
        let threads = threads.or_else(available).map_or(1, NonZeroUsize::get);
        descriptors::raise_limit();
        let [background, admin, probes] = ["background", "admin", "probes"].map(runtime);
        let (background, admin, probes) = (background?, admin?, probes?);
        let (signals, upgrade_signal) = {
            let _entered = background.enter();
            let upgrade_signal = signal(SignalKind::user_defined2());
            let signals = Signals::listen().and_then(|signals| Ok((signals, upgrade_signal?)));
            signals.context("cannot listen for signals")?
        };
        let live = LiveLater::default();
        let spans = Arc::new(SpanQueue::default());
        let handle = background.handle().clone();
        let filters = Filters::serving(kinds, threads, handle, live.clone(), spans.clone());
        Ok(Self {
            process,
            threads,
            background,
            admin,
            probes,
            signals,
            upgrade_signal,
            live,
            filters,
            spans,
            log,
            launch: None,
            heritage: None,
            activated: Vec::new(),
        })
    }

    /// Reads the configuration that is going to be served.
    pub(super) fn load(&self, path: &Path) -> Result<Loaded, Failure> {
        config::load(path, &self.filters).map_err(Failure::Config)
    }

    /// Serves `loaded`, which came from `path`; `ready` is told the addresses once they accept.
    pub(super) fn serve(
        self,
        path: &Path,
        loaded: Loaded,
        ready: impl FnOnce(&Addresses),
    ) -> Result<(), Failure> {
        let providers = loaded.config.providers.clone();
        let sources = sources::Sources::of(providers.as_ref());
        let loaded = reload::restored(path, loaded, &sources, &self.filters);
        let Self { process, threads, background, mut signals, live, filters, log, .. } = self;
        let (launch, mut heritage, spans) = (self.launch, self.heritage, self.spans);
        let mut upgrade_signal = self.upgrade_signal;
        let (admin_runtime, probes) = (self.admin, self.probes);
        let metrics = filters.host.metrics.clone();
        let calls = filters.calls.clone();
        let registry = Arc::new(Registry::new(threads + 1));
        let classifier = loaded.config.classifier.as_ref();
        let classifier = classifier
            .map(|config| Classifier::start(config, &registry))
            .transpose()?
            .map(Arc::new);
        let verdicts = Arc::new(Verdicts::new(registry.clone(), classifier.clone()));
        let figures = Sources { registry: registry.clone(), filters: metrics.clone(), process };
        let pushing = Arc::new(Pushing::new(figures));
        let tracing = Arc::new(Tracing::new(spans.clone(), registry.clone()));
        let followers = Followers {
            registry: registry.clone(),
            verdicts: verdicts.clone(),
            pushing: pushing.clone(),
            tracing: tracing.clone(),
            sources: sources.clone(),
        };
        let probes_handle = probes.handle().clone();
        let (reloader, memory) = Reloader::start(path, loaded, followers, filters, probes_handle)?;
        let reloader = Arc::new(reloader);
        if let Some(heritage) = &mut heritage {
            StateHolders::of(&reloader.live().current(), &verdicts).import(heritage.state());
        }
        // Nobody else sets them.
        live.set(reloader.live().clone()).ok();
        let in_force = reloader.live().clone();
        registry.read_health_from(move |sink| {
            upstream::read_health(&in_force.current().upstreams, sink);
        });
        let live = reloader.live().clone();
        let drain = Arc::new(Drain::default());
        let shared = Shared {
            live,
            classifier: classifier.clone(),
            verdicts: verdicts.clone(),
            registry: registry.clone(),
            drain: drain.clone(),
            calls,
            spans,
        };
        let workers = Workers::start(threads).context("cannot start the worker threads")?;
        let server = Arc::new(Server::new(workers, &shared));
        match &mut heritage {
            Some(heritage) => server.inherit(heritage)?,
            None => server.activate(self.activated)?,
        }
        let snapshot = reloader.live().current();
        let plan = server.prepare(&snapshot.listeners, snapshot.admin.as_ref());
        let plan = plan.map_err(|problems| cannot_listen(&problems))?;
        drop(snapshot);

        reloader.log_to(log.clone());
        let (upgrades, mut asked) = mpsc::channel(1);
        let issuances = Arc::new(acme::Issuances::default());
        let admin = Arc::new(Admin {
            issuances: issuances.clone(),
            reloader: reloader.clone(),
            registry: registry.clone(),
            filter_metrics: metrics,
            process,
            pushing: pushing.clone(),
            tracing: tracing.clone(),
            verdicts: verdicts.clone(),
            classifier: classifier.clone(),
            worker_connections: server.worker_connections(),
            readings: admin::Readings::default(),
            door: admin::LastDoor::default(),
            drain: drain.clone(),
            upgrades,
            effective: admin::Effective::default(),
            log,
            scrapes: admin::one_at_a_time(),
            views: admin::one_at_a_time(),
        });
        let (served, runtime) = (admin.clone(), admin_runtime.handle().clone());
        server.serve_admin_by(move |socket, stop| {
            runtime.spawn(admin_listener(socket, served.clone(), stop))
        });
        background.spawn(look_after(classifier, verdicts));
        background.spawn(expiry::watch(reloader.live().clone()));
        background.spawn(acme::run(reloader.live().clone(), issuances, registry.clone()));
        ready(&server.apply(plan));
        let waker = reload::spawn(reloader.clone(), memory, server.clone())
            .context("cannot start the reload thread")?;
        sources.wake_by(waker.clone());
        sources::start(&sources, providers.as_ref(), background.handle());
        notify(NotifyState::Ready);
        let watchdog = service::watchdog_period(heritage.is_some());
        let watchdog = watchdog
            .map(|period| background.spawn(service::feed_watchdog(server.runtimes(), period)));
        if let Some(heritage) = heritage {
            heritage.serves();
        }

        let successor = loop {
            let event = next_event(&mut signals, &waker, &mut upgrade_signal, &mut asked);
            let Event::Upgrade(reply) = background.block_on(event) else { break None };
            let snapshot = reloader.live().current();
            let state = StateHolders::of(&snapshot, &admin.verdicts);
            match replace(launch.as_ref(), &server, &state) {
                Ok(process) => break Some((process, reply)),
                Err(failed) => {
                    tracing::error!(%failed, "not upgraded: this process serves on");
                    answer(reply, Err(failed));
                }
            }
        };
        drop(asked);
        let Shutdown { mut delay, deadline } = reloader.live().current().shutdown.clone();
        let is_replaced = successor.is_some();
        drain.end();
        match successor {
            Some((process, reply)) => {
                tracing::info!(process, "upgraded: another process serves, this one drains");
                server.stop_accepting();
                // The other is the one that is watched now.
                if let Some(feeding) = &watchdog {
                    feeding.abort();
                }
                // Before the answer: whoever has it asks the other process.
                server.leave_admin();
                answer(reply, Ok(process));
                delay = delay.max(LINGER);
            }
            None => {
                tracing::info!(?delay, ?deadline, "ending: waiting for requests in flight");
                notify(NotifyState::Stopping);
            }
        }
        let hurry = watch::Sender::new(false);
        background.spawn(hurry_if_told_again(signals, hurry.clone()));
        let is_over = || is_replaced && !server.is_accepting() && server.connections() == 0;
        background.block_on(announced(delay, hurry.subscribe(), is_over));
        let in_flight = || reloader.in_flight() + drain.passed_on();
        let cut_off = server.drain(deadline, in_flight, || *hurry.borrow());
        if !access_log::flush(FLUSH) {
            tracing::warn!("access log lines were left unwritten");
        }
        tracing.shutdown(TRACES);
        pushing.shutdown(PUSH);
        server.end_admin();
        // They have nothing to finish.
        admin_runtime.shutdown_background();
        probes.shutdown_background();
        tracing::info!(cut_off, "ended");
        Ok(())
    }
}

/// A runtime of one thread for something that is not a request.
fn runtime(name: &str) -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name(name)
        .enable_all()
        .build()
        .with_context(|| format!("cannot start the thread {name:?}"))
}

/// How long connections that are kept alive have, at least, to send another request and learn that
/// they are to go elsewhere, once another process has taken over: closed while one is on its way, it
/// would be lost.
const LINGER: Duration = Duration::from_secs(5);

/// How long access logs may take to write what is queued at the end: a full queue is written in tens
/// of milliseconds, and a sink that is stuck for longer stays stuck.
const FLUSH: Duration = Duration::from_secs(2);

/// How long exporters may take at the end to send what was counted last: a receiver that is there
/// takes it in milliseconds.
const PUSH: Duration = Duration::from_secs(3);

/// The same for the receiver of traces.
const TRACES: Duration = Duration::from_secs(3);

/// How often the classifier's heartbeat is looked at, and verdicts that have expired are dropped.
const LOOK_EVERY: Duration = Duration::from_millis(250);

async fn look_after(classifier: Option<Arc<Classifier>>, verdicts: Arc<Verdicts>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(classifier) = &classifier {
            classifier.tick();
        }
        verdicts.tick();
    }
}

/// Why the process cannot start, in one line.
fn cannot_listen(problems: &[Found]) -> anyhow::Error {
    let lines = problems.iter().map(|it| format!("{}: {}, {}", it.place, it.what, it.fix));
    anyhow::anyhow!("{}", lines.collect::<Vec<_>>().join("; "))
}

async fn admin_listener(socket: AdminSocket, admin: Arc<Admin>, stop: watch::Receiver<bool>) {
    if let Err(error) = admin::run(socket, admin, stop).await {
        tracing::error!(%error, "the admin listener ended");
    }
}

/// What a serving process waits for.
enum Event {
    End,
    /// By a signal, or by somebody who waits for what becomes of it.
    Upgrade(Option<Reply>),
}

type Reply = oneshot::Sender<Result<u32, Failed>>;

async fn next_event(
    signals: &mut Signals,
    waker: &Waker,
    upgrade: &mut Signal,
    asked: &mut mpsc::Receiver<Reply>,
) -> Event {
    tokio::select! {
        () = signals.until_told_to_end(waker) => Event::End,
        Some(()) = upgrade.recv() => Event::Upgrade(None),
        Some(reply) = asked.recv() => Event::Upgrade(Some(reply)),
    }
}

fn answer(reply: Option<Reply>, result: Result<u32, Failed>) {
    // Who has gone does not want to know.
    reply.map(|reply| reply.send(result).ok());
}

/// Starts the binary now on disk with all sockets; the number of its process, once it serves.
fn replace(
    launch: Option<&Launch>,
    server: &Server,
    state: &StateHolders<'_>,
) -> Result<u32, Failed> {
    let launch = launch.ok_or(Failed::Impossible)?;
    let sockets = server.handed()?;
    tracing::info!(sockets = sockets.len(), "upgrading: starting the binary now on disk");
    launch.hand_over(&sockets, state.export())
}

/// Waits for as long as the end is announced before nobody is taken any more, or until it `is_over`.
async fn announced(delay: Duration, mut hurry: watch::Receiver<bool>, is_over: impl Fn() -> bool) {
    let over = async {
        while !is_over() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        () = over => {}
        // An error is a sender that is gone, which is in no hurry.
        Ok(_) = hurry.wait_for(|hurry| *hurry) => {}
    }
}

/// A second signal hastens the end, a third is the end.
async fn hurry_if_told_again(mut signals: Signals, hurry: watch::Sender<bool>) {
    signals.until_told_again().await;
    tracing::warn!("told again: no more waiting");
    hurry.send_replace(true);
    signals.until_told_again().await;
    tracing::warn!("told a third time: ending at once");
    std::process::exit(1);
}
