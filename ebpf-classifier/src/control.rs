//! A classifier that follows its file.
//!
//! Edits, the clock and the end come from different threads; whatever changes the kernel's state goes
//! through here, one at a time. An edit that fails changes nothing and is reported.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sallyport_config::watch::Attempt;

use crate::apply::Heart;
use crate::config::{self, Config, Fixed, Loaded, Problems, Sources};
use crate::kernel::{Attached, Kernel, KernelError, interface};

/// Seconds between two looks for verdicts that have expired. They have no effect by then, but a place.
const SWEEP_TICKS: u64 = 10;

/// What became of the edits so far.
#[derive(Debug, Default)]
pub struct Reloads {
    /// Put in force.
    pub applied: AtomicU64,
    /// Refused; the configuration before stayed in force.
    pub refused: AtomicU64,
}

/// A classifier at work and the file it follows.
#[derive(Debug)]
pub struct Control {
    fixed: Fixed,
    heart: Arc<Heart>,
    reloads: Reloads,
    attached: Mutex<Vec<Attached>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `None` once it has ended.
    kernel: Option<Kernel>,
    config: Config,
    /// The fingerprint in force, and the one seen last, whether it was put in force or refused.
    in_force: String,
    seen: String,
    ticks: u64,
}

impl Control {
    /// Starts with what was loaded.
    ///
    /// # Errors
    /// As [`Kernel::start`].
    pub fn start(loaded: Loaded) -> Result<Self, KernelError> {
        let Loaded { config, sha256, warnings } = loaded;
        log_warnings(&warnings);
        let kernel = Kernel::start(&config)?;
        let heart = kernel.heart().clone();
        tracing::info!(generation = heart.generation(), sha256, "configuration in force");
        Ok(Self {
            fixed: Fixed::of(&config),
            heart,
            reloads: Reloads::default(),
            attached: Mutex::new(kernel.attached()),
            state: Mutex::new(State {
                kernel: Some(kernel),
                config,
                in_force: sha256.clone(),
                seen: sha256,
                ticks: 0,
            }),
        })
    }

    /// What became of the edits so far.
    #[must_use]
    pub fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    /// The generation in force.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.heart.generation()
    }

    /// What the program is attached to. An interface that went, or that lost its program to somebody
    /// else's doing, is left out.
    #[must_use]
    pub fn attached(&self) -> Vec<Attached> {
        let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner).clone();
        attached.retain(|one| {
            let index = interface::index(&one.interface).ok().flatten();
            let mode = interface::attachment(one.ifindex).ok().flatten();
            (index, mode) == (Some(one.ifindex), Some(one.mode))
        });
        attached
    }

    /// Once a second: says that the loader is at work, and follows interfaces that were made anew.
    pub fn tick(&self) {
        if let Err(error) = self.heart.beat() {
            tracing::error!(%error, "the heartbeat could not be written");
        }
        let mut state = self.state();
        let State { kernel: Some(kernel), config, ticks, .. } = &mut *state else { return };
        *ticks += 1;
        if ticks.is_multiple_of(SWEEP_TICKS)
            && let Err(error) = kernel.sweep_verdicts()
        {
            tracing::error!(%error, "expired verdicts could not be removed");
        }
        if !kernel.is_displaced(config) {
            return;
        }
        tracing::warn!("an interface was made anew: attaching to it");
        if let Err(error) = kernel.apply(config) {
            tracing::error!(%error, "the interface could not be attached to");
        }
        self.note_attached(kernel);
    }

    /// Puts what was read in force if it changed and is good.
    pub fn reload(&self, attempt: Attempt) {
        let Attempt { sources, is_asked, started } = attempt;
        let mut state = self.state();
        let sources = match sources {
            Ok(sources) => sources,
            Err(problems) => {
                let seen = problems.to_string();
                if state.seen != seen || is_asked {
                    state.seen = seen;
                    self.refuse(&problems);
                }
                return;
            }
        };
        let sha256 = sources.sha256();
        let is_seen = state.seen == sha256;
        state.seen = sha256.to_owned();
        if state.in_force == sha256 {
            let generation = self.heart.generation();
            if !is_seen {
                tracing::info!(generation, "the file is as the configuration in force again");
            } else if is_asked {
                tracing::info!(generation, "nothing changed: it is in force already");
            }
        } else if !is_seen || is_asked {
            self.read(&sources, &mut state, started);
        }
    }

    fn read(&self, sources: &Sources, state: &mut State, started: Instant) {
        let loaded = match config::resolve(sources, Some(&self.fixed)) {
            Ok(loaded) => loaded,
            Err(problems) => return self.refuse(&problems),
        };
        log_warnings(&loaded.warnings);
        let Some(kernel) = &mut state.kernel else { return };
        match kernel.apply(&loaded.config) {
            Ok(generation) => {
                self.reloads.applied.fetch_add(1, Ordering::Relaxed);
                let elapsed_us = started.elapsed().as_micros();
                let sha256 = &loaded.sha256;
                tracing::info!(generation, sha256, elapsed_us, "configuration in force");
                state.in_force = loaded.sha256;
                state.config = loaded.config;
            }
            Err(error) => {
                // The file may be right and the interface late: SIGHUP tries again.
                state.seen.clear();
                self.reloads.refused.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "configuration refused; the one in force stays");
            }
        }
        self.note_attached(kernel);
    }

    fn refuse(&self, problems: &Problems) {
        self.reloads.refused.fetch_add(1, Ordering::Relaxed);
        for problem in problems.iter() {
            tracing::error!("{problem}");
        }
        tracing::error!(problems = problems.len(), "configuration refused; the one in force stays");
    }

    /// Ends; see [`Kernel::end`]. Edits have no effect from then on.
    ///
    /// # Errors
    /// As [`Kernel::end`].
    pub fn end(&self, keep: bool) -> Result<(), KernelError> {
        match self.state().kernel.take() {
            Some(kernel) => kernel.end(keep),
            None => Ok(()),
        }
    }

    fn note_attached(&self, kernel: &Kernel) {
        *self.attached.lock().unwrap_or_else(PoisonError::into_inner) = kernel.attached();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_warnings(warnings: &Problems) {
    for warning in warnings.iter() {
        tracing::warn!("{warning}");
    }
}
