//! From an edited file to a snapshot in force.
//!
//! A thread of its own waits for the file to settle, reads, resolves, compiles and swaps; requests
//! notice nothing but the swap. A file that fails changes nothing and is reported. When to look and
//! reading are [`sallyport_config::watch`]'s, what to do then is this module's.
//!
//! What one attempt leaves to the next ([`Memory`]) is the thread's own: a file that hangs while it is
//! read keeps nobody else waiting, the end of the process least of all.

pub mod history;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Instant, SystemTime};

use sallyport_plugin::Instances;
use sallyport_route::Patterns;
use sallyport_stats::Registry;

use sallyport_config::decode::Pieces;
use sallyport_config::process::Log;
use sallyport_config::watch::{self, Attempt, Followed, Waker};
use sallyport_config::{Files, Found, Problems, Severity, Sources};

use self::history::{History, Outcome, Reason};
use crate::config::{self, Config, Declaration, Loaded, RestartOnly, Whole};
use crate::descriptors;
use crate::filters::Filters;
use crate::live::Live;
use crate::push::Pushing;
use crate::server::{Plan, Server};
use crate::snapshot::Snapshot;
use crate::sources::{self, Merge};
use crate::trace::Tracing;
use crate::upstream::discovery::Discoverer;
use crate::upstream::health::Probes;
use crate::verdicts::Verdicts;

/// What became of the latest attempt, as `/config` shows it.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// The files of the configuration in force.
    pub files: Vec<PathBuf>,
    /// When it was put in force.
    pub applied_at: Option<SystemTime>,
    /// Why a later one was refused, as long as that one is on disk.
    pub refused: Option<Refusal>,
}

/// A configuration that was refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// When.
    pub at: SystemTime,
    /// Why.
    pub problems: Problems,
}

/// What takes up a configuration, besides the snapshot.
#[derive(Clone, Debug)]
pub struct Followers {
    /// Counts by names.
    pub registry: Arc<Registry>,
    /// Shuts sources out.
    pub verdicts: Arc<Verdicts>,
    /// Sends statistics elsewhere.
    pub pushing: Arc<Pushing>,
    /// Sends spans elsewhere.
    pub tracing: Arc<Tracing>,
    /// Other sources of configuration.
    pub sources: Arc<sources::Sources>,
}

/// Loads configurations and puts them in force.
#[derive(Debug)]
pub struct Reloader {
    path: PathBuf,
    live: Arc<Live>,
    registry: Arc<Registry>,
    verdicts: Arc<Verdicts>,
    pushing: Arc<Pushing>,
    tracing: Arc<Tracing>,
    filters: Filters,
    sources: Arc<sources::Sources>,
    restart_only: RestartOnly,
    status: Mutex<Status>,
    history: Mutex<History>,
    /// The process's log, once it is known.
    log: OnceLock<Log>,
    /// Snapshots no longer in force. They are freed by the reload thread, not by the last request that
    /// held one: freeing a large table takes milliseconds.
    retired: Mutex<Vec<Arc<Snapshot>>>,
}

/// What one attempt leaves to the next.
#[derive(Debug)]
pub struct Memory {
    /// The fingerprint seen last, whether it was put in force or refused.
    seen: String,
    /// That of the files alone.
    files_seen: String,
    /// What the files declare, where other sources are merged with them: those speak more often.
    declaration: Option<Arc<Declaration>>,
    /// What large files are made of, so that an edit decodes what it changes.
    pieces: Pieces,
    /// The files that the configuration named in that attempt.
    named_files: Files,
    /// The filters in force, and the named files as they are in force.
    filters: Instances,
    files_in_force: Files,
    /// The probes of the upstreams in force.
    probes: Probes,
    /// What finds their endpoints.
    discoverer: Discoverer,
    /// Whether the latest attempt failed for what may pass without another edit: the files could not
    /// be read, or descriptors were scarce. Nobody is going to save the same edit again.
    retry: bool,
}

/// Starts the thread that watches the files, reloads them, and has `server` listen where they say.
///
/// # Errors
/// If the thread cannot be started.
pub fn spawn(
    reloader: Arc<Reloader>,
    mut memory: Memory,
    server: Arc<Server>,
) -> std::io::Result<Waker> {
    let path = reloader.path.clone();
    watch::spawn(path, move |attempt| {
        reloader.reload(attempt, &mut memory, &server);
        let others = memory.named_files.paths().collect();
        Followed { others, retry: memory.retry, ..Followed::default() }
    })
}

/// What was loaded from `path`, with what sources said to an earlier process. What of that cannot be
/// used is left out and told.
#[must_use]
pub fn restored(
    path: &Path,
    mut loaded: Loaded,
    sources: &sources::Sources,
    filters: &Filters,
) -> Loaded {
    let Ok(files) = Sources::read(path) else { return loaded };
    let mut merge = sources.merge(files);
    if !merge.has_deliveries() {
        return loaded;
    }
    let (previous, mut patterns) = (Instances::default(), Patterns::default());
    let mut reader = filters.reader(path, &previous);
    let declaration = config::declare(merge.files(), &mut reader, Some(&mut loaded.pieces));
    loop {
        merge.join(&declaration);
        if !merge.has_fragments() {
            break;
        }
        let mut reader = filters.reader(path, &previous);
        match config::resolve(&merge.whole(&declaration), None, &mut patterns, &mut reader) {
            Ok(whole) => {
                merge.tell();
                let Loaded { warnings, pieces, .. } = loaded;
                return Loaded { texts: Some(merge.texts()), warnings, pieces, ..whole };
            }
            Err(problems) if merge.prune(&problems) || merge.fall_back(&problems) => {}
            Err(_) => break,
        }
    }
    merge.tell();
    loaded
}

impl Reloader {
    /// Puts what was loaded from `path` in force. The memory is for [`spawn`].
    ///
    /// # Errors
    /// If it does not compile.
    pub fn start(
        path: &Path,
        mut loaded: Loaded,
        Followers { registry, verdicts, pushing, tracing, sources }: Followers,
        filters: Filters,
        probes: tokio::runtime::Handle,
    ) -> anyhow::Result<(Self, Memory)> {
        let restart_only = RestartOnly::of(&loaded.config);
        log_warnings(&loaded.warnings);
        let status = Status {
            files: loaded.files.clone(),
            applied_at: Some(SystemTime::now()),
            refused: None,
        };
        let mut memory = Memory {
            seen: loaded.sha256.clone(),
            files_seen: String::new(),
            declaration: None,
            pieces: std::mem::take(&mut loaded.pieces),
            named_files: loaded.named_files.clone(),
            filters: loaded.filters.clone(),
            files_in_force: loaded.named_files.clone(),
            discoverer: Discoverer::new(probes.clone(), registry.clone(), sources.groups().clone()),
            probes: Probes::new(probes),
            retry: false,
        };
        let mut history = History::default();
        let outcome = Outcome::Applied { version: 1 };
        history.add(Reason::Start, Some(loaded.sha256.clone()), outcome, loaded.texts.clone());
        registry.config_loaded(1, &loaded.sha256);
        let metrics = &filters.host.metrics;
        let snapshot = Arc::new(Snapshot::compile(loaded, 1, None, &registry, metrics)?);
        snapshot.introduce(sources.groups(), &registry);
        registry.certificates(snapshot.certificate_expiries());
        registry.expose_idle(idle_series(&snapshot));
        verdicts.configure(snapshot.verdicts.as_ref());
        pushing.configure(snapshot.push.as_ref());
        tracing.configure(snapshot.tracing.as_ref());
        memory.discoverer.follow(&snapshot.upstreams, &snapshot.resolver);
        memory.probes.follow(&snapshot.upstreams);
        memory.filters.prepare(&filters.host);
        memory.filters.start(&filters.host);
        let reloader = Self {
            path: path.to_path_buf(),
            live: Arc::new(Live::new(snapshot)),
            registry,
            verdicts,
            pushing,
            tracing,
            filters,
            sources,
            restart_only,
            status: Mutex::new(status),
            history: Mutex::new(history),
            log: OnceLock::new(),
            retired: Mutex::default(),
        };
        Ok((reloader, memory))
    }

    /// Applies what configurations say of the log to `log`, from the one in force on.
    pub fn log_to(&self, log: Log) {
        let settings = &self.live.current().log;
        log.configure(settings.format, settings.level.as_deref());
        // It is given once.
        self.log.set(log).ok();
    }

    /// The sources besides the file.
    #[must_use]
    pub fn sources(&self) -> &Arc<sources::Sources> {
        &self.sources
    }

    /// Where the snapshot in force is found.
    #[must_use]
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// What became of the latest attempt.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What became of the latest configurations.
    #[must_use]
    pub fn latest(&self) -> History {
        self.history().clone()
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests in flight, those of routes that a reload removed included. Routes that it kept are
    /// counted once: 0 means none, more may be fewer than there are.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        let retired = self.retired();
        let of_retired = retired.iter().map(|snapshot| snapshot.in_flight());
        of_retired.chain([self.live.current().in_flight()]).max().unwrap_or(0)
    }

    /// Puts what was read in force if it changed and is good.
    fn reload(&self, attempt: Attempt, memory: &mut Memory, server: &Server) {
        let Attempt { sources, is_asked, started } = attempt;
        let reason = if is_asked { Reason::Asked } else { Reason::Edit };
        let mut merge = match sources {
            Ok(sources) => self.sources.merge(sources),
            Err(problems) => {
                memory.retry = true;
                let seen = problems.to_string();
                if memory.seen != seen || is_asked {
                    memory.seen = seen;
                    self.refuse(problems, reason, None);
                }
                return;
            }
        };
        let again = std::mem::take(&mut memory.retry) && !is_asked;
        let current = self.live.current();
        let are_files_seen = memory.files_seen == merge.files().sha256();
        let reason = if are_files_seen && !is_asked { Reason::Delivered } else { reason };
        memory.declaration.take_if(|known| !are_files_seen || !known.is_current());
        memory.files_seen = merge.files().sha256().to_owned();
        if merge.has_deliveries() {
            merge.join(&self.declaration(&merge, memory));
        }
        let sha256 = merge.sha256();
        let is_seen = memory.seen == sha256 && memory.named_files.are_current();
        let is_in_force = current.sha256 == sha256 && memory.files_in_force.are_current();
        memory.seen = sha256;
        if is_in_force {
            memory.named_files = memory.files_in_force.clone();
            if !is_seen {
                // Back to what is in force, after an attempt that was refused.
                self.with_status(|status| status.refused = None);
                self.registry.config_restored();
                tracing::info!(
                    version = current.version,
                    "the file is as the configuration in force again"
                );
            } else if is_asked {
                tracing::info!(
                    version = current.version,
                    "nothing changed: it is in force already"
                );
            }
            self.sources.settle(&merge);
            return;
        }
        if is_seen && !is_asked {
            return;
        }
        let seen = memory.seen.clone();
        match self.prepare(&mut merge, memory, &current, are_files_seen, server) {
            Ok((loaded, plan)) => {
                log_warnings(&loaded.warnings);
                let served = (server, plan);
                self.apply(loaded, served, &current, memory, (&merge, reason), started);
            }
            Err(problems) => {
                if descriptors::are_scarce() {
                    // What was wrong may be that a file of a filter could not be opened.
                    memory.retry = true;
                    memory.seen.clear();
                }
                let known = || self.status().refused.is_some_and(|it| it.problems == problems);
                if !again || !known() {
                    self.refuse(problems, reason, Some(&seen));
                }
            }
        }
    }

    /// What the files declare. It is kept where other sources are merged with them.
    fn declaration(&self, merge: &Merge, memory: &mut Memory) -> Arc<Declaration> {
        if let Some(known) = &memory.declaration {
            return known.clone();
        }
        let previous = Instances::default();
        let mut reader = self.filters.reader(&self.path, &previous);
        // What was decoded for others is not told of this one.
        memory.pieces.take_decoded();
        let pieces = Some(&mut memory.pieces);
        let declaration = Arc::new(config::declare(merge.files(), &mut reader, pieces));
        memory.declaration = merge.has_deliveries().then(|| declaration.clone());
        declaration
    }

    /// Resolves files and fragments together and binds sockets for them. Parts of fragments that cannot
    /// be used are left out.
    fn prepare(
        &self,
        merge: &mut Merge,
        memory: &mut Memory,
        current: &Snapshot,
        are_files_seen: bool,
        server: &Server,
    ) -> Result<(Loaded, Plan), Problems> {
        let previous = memory.filters.clone();
        let mut patterns = Patterns::of(current.matches());
        let declaration = self.declaration(merge, memory);
        loop {
            merge.join(&declaration);
            let whole = merge.whole(&declaration);
            let known = (&previous, &mut patterns);
            let problems = match self.prepare_once(&whole, memory, known, server) {
                Ok((mut loaded, plan)) => {
                    // What is worth knowing of the files is told once, however much is delivered.
                    if merge.has_fragments() && are_files_seen {
                        loaded.warnings = Problems::of(Vec::new());
                    }
                    return Ok((loaded, plan));
                }
                Err(problems) => problems,
            };
            if !merge.has_fragments() {
                return Err(problems);
            }
            if merge.prune(&problems) {
                continue;
            }
            // If it is the file's fault, its own lines tell more than those of the whole.
            let mut reader = self.filters.reader(&self.path, &previous);
            let (alone, running) =
                (Whole::of_files(merge.files(), &declaration), Some(&self.restart_only));
            config::resolve(&alone, running, &mut patterns, &mut reader)?;
            if !merge.fall_back(&problems) {
                return Err(problems);
            }
        }
    }

    fn prepare_once(
        &self,
        whole: &Whole<'_>,
        memory: &mut Memory,
        (previous, patterns): (&Instances, &mut Patterns),
        server: &Server,
    ) -> Result<(Loaded, Plan), Problems> {
        let mut reader = self.filters.reader(&self.path, previous);
        let resolved = config::resolve(whole, Some(&self.restart_only), patterns, &mut reader);
        memory.named_files = reader.files().clone();
        let loaded = resolved?;
        let Config { listeners, admin, .. } = &loaded.config;
        let plan = server.prepare(listeners, admin.as_ref());
        let plan = plan.map_err(|mut found| {
            found.iter_mut().for_each(|found| at_declared(found, &loaded.listener_spots));
            Problems::locate(found, &whole.origins())
        })?;
        Ok((loaded, plan))
    }

    fn apply(
        &self,
        loaded: Loaded,
        (server, plan): (&Server, Plan),
        current: &Arc<Snapshot>,
        memory: &mut Memory,
        (merge, reason): (&Merge, Reason),
        started: Instant,
    ) {
        let (files, sha256) = (loaded.files.clone(), loaded.sha256.clone());
        let (regexes_compiled, pieces_decoded) =
            (loaded.regexes_compiled, memory.pieces.take_decoded());
        let version = current.version + 1;
        let (filters, named_files) = (loaded.filters.clone(), loaded.named_files.clone());
        let (registry, metrics) = (&self.registry, &self.filters.host.metrics);
        let snapshot = match Snapshot::compile(loaded, version, Some(current), registry, metrics) {
            Ok(snapshot) => Arc::new(snapshot),
            Err(error) => {
                self.registry.config_rejected();
                tracing::error!(%error, "a resolved configuration did not compile");
                return;
            }
        };
        filters.prepare(&self.filters.host);
        snapshot.introduce(self.sources.groups(), registry);
        registry.certificates(snapshot.certificate_expiries());
        self.configure_process(&snapshot, current);
        self.verdicts.configure(snapshot.verdicts.as_ref());
        self.pushing.configure(snapshot.push.as_ref());
        self.tracing.configure(snapshot.tracing.as_ref());
        server.retire(&plan, current);
        // Before anybody can see the new version: what was refused before it is no more.
        self.with_status(|status| {
            *status = Status { files, applied_at: Some(SystemTime::now()), refused: None };
        });
        self.swap(snapshot.clone(), merge, reason);
        self.sources.settle(merge);
        for (name, address) in server.apply(plan) {
            tracing::info!(%name, %address, "listening");
        }
        memory.discoverer.follow(&snapshot.upstreams, &snapshot.resolver);
        memory.probes.follow(&snapshot.upstreams);
        filters.start(&self.filters.host);
        (memory.filters, memory.files_in_force) = (filters, named_files);
        self.registry.config_applied(version, &sha256);
        self.retire(current.clone());
        let elapsed_us = started.elapsed().as_micros();
        tracing::info!(
            version,
            sha256,
            elapsed_us,
            regexes_compiled,
            pieces_decoded,
            "configuration in force"
        );
    }

    /// What the process does besides serving. A level that was set on the admin listener holds until
    /// the file's is another.
    fn configure_process(&self, snapshot: &Snapshot, before: &Snapshot) {
        self.registry.expose_idle(idle_series(snapshot));
        if let Some(log) = self.log.get().filter(|_| snapshot.log != before.log) {
            log.configure(snapshot.log.format, snapshot.log.level.as_deref());
        }
    }

    /// Whoever finds the new version in force finds it in the history as well: asking for that waits
    /// until it is written.
    fn swap(&self, snapshot: Arc<Snapshot>, merge: &Merge, reason: Reason) {
        let mut history = self.history();
        let (version, sha256) = (snapshot.version, snapshot.sha256.clone());
        self.live.swap(snapshot);
        let outcome = Outcome::Applied { version };
        history.add(reason, Some(sha256), outcome, Some(merge.texts()));
    }

    fn refuse(&self, problems: Problems, reason: Reason, sha256: Option<&str>) {
        for problem in problems.iter() {
            tracing::error!("{problem}");
        }
        tracing::error!(problems = problems.len(), "configuration refused; the one in force stays");
        let outcome = Outcome::Refused(problems.clone());
        self.history().add(reason, sha256.map(str::to_owned), outcome, None);
        self.with_status(|status| {
            status.refused = Some(Refusal { at: SystemTime::now(), problems })
        });
        // Last, so that whoever waits for the count finds the rest.
        self.registry.config_rejected();
    }

    /// Keeps `snapshot` until nobody else does, and frees those that nobody does by now.
    fn retire(&self, snapshot: Arc<Snapshot>) {
        let unused: Vec<_> = {
            let mut retired = self.retired();
            let unused = retired.extract_if(.., |snapshot| Arc::strong_count(snapshot) == 1);
            let unused = unused.collect();
            retired.push(snapshot);
            unused
        };
        drop(unused);
    }

    fn retired(&self) -> MutexGuard<'_, Vec<Arc<Snapshot>>> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_status(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Moves a problem with a listener, which names it by its index among all, to where that is declared.
fn at_declared(found: &mut Found, spots: &[(usize, usize)]) {
    let parts = found.place.strip_prefix("listeners[").and_then(|rest| rest.split_once(']'));
    let spot =
        parts.and_then(|(index, rest)| Some((spots.get(index.parse::<usize>().ok()?)?, rest)));
    if let Some((&(file, index), rest)) = spot {
        (found.file, found.place) = (file, format!("listeners[{index}]{rest}"));
    }
}

fn idle_series(snapshot: &Snapshot) -> usize {
    usize::try_from(snapshot.limits.idle_route_series).unwrap_or(usize::MAX)
}

fn log_warnings(warnings: &Problems) {
    for warning in warnings.iter() {
        match warning.severity {
            Severity::Note => tracing::info!("{warning}"),
            _ => tracing::warn!("{warning}"),
        }
    }
}
