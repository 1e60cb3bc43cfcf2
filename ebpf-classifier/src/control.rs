//! A classifier that follows its file.
//!
//! Edits, the clock and the end come from different threads; whatever changes the kernel's state
//! goes through here, one at a time. An edit that fails changes nothing and is reported.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use sallyport_config::watch::{Attempt, Followed};

use crate::apply::Heart;
use crate::backoff::Backoff;
use crate::config::{self, Config, Fixed, Lists, Loaded, Problems, Sources};
use crate::kernel::{Attached, Kernel, KernelError, interface};

/// The time between two looks for verdicts that have expired. They have no effect by then, but a place.
const SWEEP: Duration = Duration::from_secs(10);

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
    interfaces: Mutex<Vec<InterfaceState>>,
    lists: Mutex<Vec<ListState>>,
    state: Mutex<State>,
}

/// An interface of the configuration in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceState {
    /// Its name.
    pub name: Box<str>,
    /// How the program is on it; `None` where it is not.
    pub attached: Option<Attached>,
}

/// A list as it is in force.
#[derive(Clone, Debug)]
pub struct ListState {
    /// Its network.
    pub network: Box<str>,
    /// How many prefixes it has; 0 once it has expired.
    pub prefixes: usize,
    /// When its file was written.
    pub modified: SystemTime,
}

#[derive(Debug)]
struct State {
    /// `None` once it has ended.
    kernel: Option<Kernel>,
    config: Config,
    lists: Lists,
    /// The fingerprint in force, and the one seen last, whether it was put in force or refused.
    in_force: String,
    seen: String,
    /// When what was seen last is tried again, if that may help, and what was told of it.
    retry: Option<Retry>,
    swept: Instant,
}

#[derive(Debug)]
struct Retry {
    backoff: Backoff,
    /// An interface without which it fails: once it is there, it is tried at once.
    interface: Option<Box<str>>,
    told: String,
}

impl State {
    fn is_retry_due(&self) -> bool {
        let is_there = |name: &str| interface::index(name).is_ok_and(|index| index.is_some());
        self.retry.as_ref().is_some_and(|retry| {
            retry.backoff.is_due(Instant::now()) || retry.interface.as_deref().is_some_and(is_there)
        })
    }
}

impl Control {
    /// Starts with what was loaded, and the lists that it names.
    ///
    /// # Errors
    /// As [`Kernel::start`].
    pub fn start(loaded: Loaded, lists: Lists) -> Result<Self, KernelError> {
        let Loaded { config, sha256, warnings } = loaded;
        log_warnings(&warnings);
        let mut kernel = Kernel::start(&config)?;
        let heart = kernel.heart().clone();
        tracing::info!(generation = heart.generation(), sha256, "configuration in force");
        tidy(&mut kernel);
        tell_expired(&config);
        let seen = fingerprint(&sha256, &lists.fingerprint());
        Ok(Self {
            fixed: Fixed::of(&config),
            heart,
            reloads: Reloads::default(),
            interfaces: Mutex::new(interface_states(&config, &kernel)),
            lists: Mutex::new(list_states(&config)),
            state: Mutex::new(State {
                kernel: Some(kernel),
                config,
                lists,
                in_force: seen.clone(),
                seen,
                retry: None,
                swept: Instant::now(),
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

    /// Every interface of the configuration in force, and how the program is on it as the kernel says
    /// now.
    #[must_use]
    pub fn interfaces(&self) -> Vec<InterfaceState> {
        let known = self.interfaces.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_true = |one: &Attached| {
            let holder = interface::holder(one.ifindex).ok().flatten();
            holder.is_some_and(|it| (it.mode, it.program) == (one.mode, one.program))
        };
        let checked = known.into_iter().map(|InterfaceState { name, attached }| InterfaceState {
            name,
            attached: attached.filter(is_true),
        });
        checked.collect()
    }

    /// The lists in force.
    #[must_use]
    pub fn lists(&self) -> Vec<ListState> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says that the loader is at work; to be called once a second. Waits for nothing else that this
    /// does.
    pub fn beat(&self) {
        if let Err(error) = self.heart.beat() {
            tracing::error!(%error, "the heartbeat could not be written");
        }
    }

    /// Looks after what changes by itself: interfaces, pins, and what expires. To be called some times
    /// a second, and whenever an interface changed.
    pub fn look_after(&self) {
        let mut state = self.state();
        let State { kernel: Some(kernel), config, swept, .. } = &mut *state else { return };
        if kernel.mend(config) {
            self.note_interfaces(config, kernel);
        }
        if swept.elapsed() >= SWEEP {
            *swept = Instant::now();
            if let Err(error) = kernel.sweep_verdicts() {
                tracing::error!(%error, "expired verdicts could not be removed");
            }
        }
        drop(state);
        self.expire_lists();
    }

    /// Empties the lists in force that have expired, whatever the files say meanwhile.
    fn expire_lists(&self) {
        let now = SystemTime::now();
        let mut state = self.state();
        let State { kernel: Some(kernel), config, .. } = &mut *state else { return };
        if config.next_expiry().is_none_or(|expires| expires > now) {
            return;
        }
        let lists = config.networks.iter_mut().filter_map(|network| network.list.as_mut());
        for list in lists.filter(|list| list.expires.is_some_and(|expires| expires <= now)) {
            list.prefixes = Arc::default();
            list.is_expired = true;
        }
        match kernel.apply(config, config) {
            Ok(generation) => tracing::info!(generation, "configuration in force"),
            Err(error) => tracing::error!(%error, "a list that has expired could not be removed"),
        }
        tell_expired(config);
        tidy(kernel);
        self.note_lists(config);
    }

    fn note_lists(&self, config: &Config) {
        let lists = list_states(config);
        *self.lists.lock().unwrap_or_else(PoisonError::into_inner) = lists;
    }

    fn followed(state: &State) -> Followed {
        Followed {
            others: state.lists.paths(),
            retry: state.retry.is_some(),
            ..Followed::default()
        }
    }

    /// Puts what was read in force if it changed and is good.
    pub fn reload(&self, attempt: Attempt) -> Followed {
        let Attempt { sources, is_asked, started } = attempt;
        let mut state = self.state();
        let sources = match sources {
            Ok(sources) => sources,
            Err(problems) => {
                let seen = problems.to_string();
                if state.seen != seen || is_asked {
                    state.seen = seen;
                    state.retry = None;
                    self.refuse(&problems);
                }
                return Self::followed(&state);
            }
        };
        let now = fingerprint(sources.sha256(), &state.lists.fingerprint_now());
        let is_seen = state.seen == now;
        if state.in_force == now {
            let generation = self.heart.generation();
            if !is_seen {
                tracing::info!(generation, "the file is as the configuration in force again");
            } else if is_asked {
                tracing::info!(generation, "nothing changed: it is in force already");
            }
            state.seen = now;
            state.retry = None;
        } else if !is_seen || is_asked || state.is_retry_due() {
            if !is_seen || is_asked {
                state.retry = None;
            }
            self.read(&sources, &mut state, started);
        }
        Self::followed(&state)
    }

    fn read(&self, sources: &Sources, state: &mut State, started: Instant) {
        let loaded = config::resolve(sources, Some(&self.fixed), &mut state.lists);
        // Also of lists that it names for the first time.
        state.seen = fingerprint(sources.sha256(), &state.lists.fingerprint());
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(problems) => {
                state.retry = None;
                return self.refuse(&problems);
            }
        };
        log_warnings(&loaded.warnings);
        let Some(kernel) = &mut state.kernel else { return };
        match kernel.apply(&loaded.config, &state.config) {
            Ok(generation) => {
                self.reloads.applied.fetch_add(1, Ordering::Relaxed);
                let elapsed_us = started.elapsed().as_micros();
                let sha256 = &loaded.sha256;
                tracing::info!(generation, sha256, elapsed_us, "configuration in force");
                state.in_force.clone_from(&state.seen);
                state.retry = None;
                state.config = loaded.config;
                tidy(kernel);
                tell_expired(&state.config);
                self.note_lists(&state.config);
            }
            Err(error) => self.refuse_for_now(&error, &mut state.retry),
        }
        self.note_interfaces(&state.config, kernel);
    }

    /// Notes that the kernel does not let an edit come into force: the file may be right and the
    /// interface late, so it is tried again.
    fn refuse_for_now(&self, error: &KernelError, retry: &mut Option<Retry>) {
        let (now, told) = (Instant::now(), error.to_string());
        let interface = match error {
            KernelError::NoInterface { name } => Some(name.clone()),
            _ => None,
        };
        let known = retry.take();
        if known.as_ref().is_none_or(|known| known.told != told) {
            self.reloads.refused.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, "configuration refused; the one in force stays");
            tracing::info!("the edit is tried again until it can be put in force or is replaced");
        }
        let backoff = match known {
            Some(Retry { mut backoff, .. }) => {
                backoff.failed(now);
                backoff
            }
            None => Backoff::begin(now),
        };
        *retry = Some(Retry { backoff, interface, told });
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

    fn note_interfaces(&self, config: &Config, kernel: &Kernel) {
        let states = interface_states(config, kernel);
        *self.interfaces.lock().unwrap_or_else(PoisonError::into_inner) = states;
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

/// Tells a configuration and its lists from every other.
fn fingerprint(sha256: &str, lists: &str) -> String {
    format!("{sha256}{lists}")
}

fn tidy(kernel: &mut Kernel) {
    if let Err(error) = kernel.tidy() {
        tracing::error!(%error, "what the configuration does not have any more stays in the maps");
    }
}

fn tell_expired(config: &Config) {
    for network in &config.networks {
        if network.list.as_ref().is_some_and(|list| list.is_expired) {
            let name = &network.name;
            tracing::warn!(network = %name, "the list has expired: it is empty until it is written anew");
        }
    }
}

fn interface_states(config: &Config, kernel: &Kernel) -> Vec<InterfaceState> {
    let attached = kernel.attached();
    let state = |name: &str| InterfaceState {
        name: name.into(),
        attached: attached.iter().find(|one| &*one.interface == name).cloned(),
    };
    config.attachments().map(|(name, _)| state(name)).collect()
}

fn list_states(config: &Config) -> Vec<ListState> {
    let lists = config.networks.iter().filter_map(|one| Some((one, one.list.as_ref()?)));
    let state = |(network, list): (&config::Network, &config::List)| ListState {
        network: network.name.clone(),
        prefixes: list.prefixes.len(),
        modified: list.modified,
    };
    lists.map(state).collect()
}
