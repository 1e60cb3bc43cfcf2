//! From an edited file to a snapshot in force.
//!
//! A thread of its own waits for the file to settle, reads, resolves, compiles and swaps; requests
//! notice nothing but the swap. A file that fails changes nothing and is reported. When to look is
//! [`sallyport_config::watch`]'s, what to do then is this module's.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use sallyport_plugin::{Files, Instances};
use sallyport_stats::Registry;

use sallyport_config::watch::{self, Waker};
use sallyport_config::{Problems, Sources};

use crate::config::{self, Fixed, Loaded};
use crate::descriptors;
use crate::filters::Filters;
use crate::live::Live;
use crate::push::Pushing;
use crate::snapshot::Snapshot;
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

/// Loads configurations and puts them in force.
#[derive(Debug)]
pub struct Reloader {
    path: PathBuf,
    live: Arc<Live>,
    registry: Arc<Registry>,
    verdicts: Arc<Verdicts>,
    pushing: Arc<Pushing>,
    filters: Filters,
    fixed: Fixed,
    status: Mutex<Status>,
    memory: Mutex<Memory>,
    /// Whether the latest attempt failed for what may pass without another edit.
    retry: AtomicBool,
}

/// What one attempt leaves to the next.
#[derive(Debug)]
struct Memory {
    /// The fingerprint seen last, whether it was put in force or refused.
    seen: String,
    /// The files that filters were read from in that attempt.
    filter_files: Files,
    /// The filters in force, and their files as they are in them.
    filters: Instances,
    files_in_force: Files,
    /// Snapshots no longer in force. They are freed here, not by the last request that held one:
    /// freeing a large table takes milliseconds.
    retired: Vec<Arc<Snapshot>>,
    /// The probes of the upstreams in force.
    probes: Probes,
}

/// Starts the thread that watches the files and reloads them.
///
/// # Errors
/// If the thread cannot be started.
pub fn spawn(reloader: Arc<Reloader>) -> std::io::Result<Waker> {
    watch::spawn(move || reloader.reload())
}

impl Reloader {
    /// Loads `path` for the first time.
    ///
    /// # Errors
    /// Every problem of the configuration.
    pub fn start(
        path: &Path,
        loaded: Loaded,
        registry: Arc<Registry>,
        verdicts: Arc<Verdicts>,
        pushing: Arc<Pushing>,
        filters: Filters,
        probes: tokio::runtime::Handle,
    ) -> anyhow::Result<Self> {
        let fixed = Fixed::of(&loaded.config);
        let status = Status {
            files: loaded.files.clone(),
            applied_at: Some(SystemTime::now()),
            refused: None,
        };
        let mut memory = Memory {
            seen: loaded.sha256.clone(),
            filter_files: loaded.filter_files.clone(),
            filters: loaded.filters.clone(),
            files_in_force: loaded.filter_files.clone(),
            retired: Vec::new(),
            probes: Probes::new(probes),
        };
        registry.config_loaded(1, &loaded.sha256);
        let metrics = &filters.host.metrics;
        let snapshot = Arc::new(Snapshot::compile(loaded, 1, None, &registry, metrics)?);
        verdicts.configure(snapshot.verdicts.as_ref());
        pushing.configure(snapshot.push.as_ref());
        memory.probes.follow(&snapshot.upstreams);
        memory.filters.prepare(&filters.host);
        memory.filters.start(&filters.host);
        Ok(Self {
            path: path.to_path_buf(),
            live: Arc::new(Live::new(snapshot)),
            registry,
            verdicts,
            pushing,
            filters,
            fixed,
            status: Mutex::new(status),
            memory: Mutex::new(memory),
            retry: AtomicBool::new(false),
        })
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

    /// Requests in flight, those of routes that a reload removed included. Routes that it kept are
    /// counted once: 0 means none, more may be fewer than there are.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let retired = memory.retired.iter().map(|snapshot| snapshot.in_flight());
        retired.chain([self.live.current().in_flight()]).max().unwrap_or(0)
    }

    /// Whether to try again though nobody has edited anything: the files could not be read, or
    /// descriptors were scarce. Nobody is going to save the same edit again.
    #[must_use]
    pub fn wants_retry(&self) -> bool {
        self.retry.load(Ordering::Relaxed)
    }

    /// Reads the files and puts them in force if they changed and are good. Returns the files to
    /// watch from now on.
    pub fn reload(&self) -> Vec<PathBuf> {
        let started = Instant::now();
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let sources = match Sources::read(&self.path) {
            Ok(sources) => sources,
            Err(problems) => {
                self.retry.store(true, Ordering::Relaxed);
                let seen = problems.to_string();
                if memory.seen != seen {
                    memory.seen = seen;
                    self.refuse(problems);
                }
                return self.status().files;
            }
        };
        let again = self.retry.swap(false, Ordering::Relaxed);
        let seen = sources.sha256().to_owned();
        if memory.seen == seen && memory.filter_files.are_current() {
            return watched(&sources, &memory);
        }
        memory.seen = seen;
        let current = self.live.current();
        if memory.seen == current.sha256 && memory.files_in_force.are_current() {
            memory.filter_files = memory.files_in_force.clone();
            // Back to what is in force, after an attempt that was refused.
            self.with_status(|status| status.refused = None);
            tracing::info!(
                version = current.version,
                "the file is as the configuration in force again"
            );
            return watched(&sources, &memory);
        }
        let previous = memory.filters.clone();
        let mut reader = self.filters.reader(&self.path, &previous);
        let resolved = config::resolve(&sources, Some(&self.fixed), &mut reader);
        memory.filter_files = reader.files().clone();
        match resolved {
            Ok(loaded) => self.apply(loaded, &current, &mut memory, started),
            Err(problems) => {
                if descriptors::are_scarce() {
                    // What was wrong may be that a file of a filter could not be opened.
                    self.retry.store(true, Ordering::Relaxed);
                    memory.seen.clear();
                }
                let known = || self.status().refused.is_some_and(|it| it.problems == problems);
                if !again || !known() {
                    self.refuse(problems);
                }
            }
        }
        watched(&sources, &memory)
    }

    fn apply(
        &self,
        loaded: Loaded,
        current: &Arc<Snapshot>,
        memory: &mut Memory,
        started: Instant,
    ) {
        let (files, sha256) = (loaded.files.clone(), loaded.sha256.clone());
        let version = current.version + 1;
        let (filters, filter_files) = (loaded.filters.clone(), loaded.filter_files.clone());
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
        self.verdicts.configure(snapshot.verdicts.as_ref());
        self.pushing.configure(snapshot.push.as_ref());
        self.live.swap(snapshot.clone());
        memory.probes.follow(&snapshot.upstreams);
        filters.start(&self.filters.host);
        (memory.filters, memory.files_in_force) = (filters, filter_files);
        self.with_status(|status| {
            *status = Status { files, applied_at: Some(SystemTime::now()), refused: None };
        });
        self.registry.config_applied(version, &sha256);
        memory.retired.retain(|snapshot| Arc::strong_count(snapshot) > 1);
        memory.retired.push(current.clone());
        let elapsed_us = started.elapsed().as_micros();
        tracing::info!(version, sha256, elapsed_us, "configuration in force");
    }

    fn refuse(&self, problems: Problems) {
        for problem in problems.iter() {
            tracing::error!("{problem}");
        }
        tracing::error!(problems = problems.len(), "configuration refused; the one in force stays");
        self.with_status(|status| {
            status.refused = Some(Refusal { at: SystemTime::now(), problems })
        });
        // Last, so that whoever waits for the count finds the rest.
        self.registry.config_rejected();
    }

    fn with_status(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The files to look at for changes: the configuration's and those of its filters.
fn watched(sources: &Sources, memory: &Memory) -> Vec<PathBuf> {
    sources.watched().into_iter().chain(memory.filter_files.paths()).collect()
}
