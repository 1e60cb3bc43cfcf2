//! VMs of one filter that have started and wait for work.
//!
//! A guest's start and configuration take as long as they take: a firewall's rules more than a
//! second. They never run on a thread that serves requests: before a configuration is put in force
//! there is a VM for each of those threads, and one to spare for the first that fails. Whoever takes
//! the last one has another started in the background. A VM that waits here has no effect on
//! anything: its calls, timer and queues begin when it is put to work.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::abi::Failure;
use super::budget::Budget;
use super::plugin::Plugin;
use super::vm::Vm;

/// VMs beyond those that threads are about to take.
const SPARE: usize = 1;

/// The VMs of one filter.
pub(super) struct Stock {
    pub(super) plugin: Arc<Plugin>,
    me: Weak<Self>,
    shelf: Mutex<Shelf>,
    /// Told whenever a start has ended, well or not.
    ended: Notify,
    /// CPU time that the last start took, in nanoseconds.
    start_ns: AtomicU64,
}

struct Shelf {
    ready: Vec<Vm>,
    /// Starts under way in the background.
    starting: usize,
    /// What starts that fail may take.
    budget: Budget,
}

impl Stock {
    /// An empty one.
    pub(super) fn new(plugin: Arc<Plugin>) -> Arc<Self> {
        let budget = Budget::of_thread(plugin.settings.deadline);
        let shelf = Shelf { ready: Vec::new(), starting: 0, budget };
        Arc::new_cyclic(|me| Self {
            plugin,
            me: me.clone(),
            shelf: Mutex::new(shelf),
            ended: Notify::new(),
            start_ns: AtomicU64::new(0),
        })
    }

    /// Starts VMs until there are `count` and one to spare; returns when that is done. Takes half of
    /// the machine's CPUs at most: the configuration in force is being served meanwhile.
    pub(super) fn prepare(&self, count: usize) {
        let missing = (count + SPARE).saturating_sub(self.shelf().ready.len());
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (cpus / 2).clamp(1, missing.max(1));
        std::thread::scope(|scope| {
            for thread in 0..threads {
                // The first thread takes what does not divide.
                let share = missing / threads + usize::from(thread < missing % threads);
                scope.spawn(move || (0..share).for_each(|_| self.start()));
            }
        });
    }

    /// Takes a VM, and has another started if it was the last.
    ///
    /// # Errors
    /// [`Failure::Starting`] while there is none, [`Failure::Bypassed`] if none may be started yet.
    pub(super) fn take(&self) -> Result<Vm, Failure> {
        let mut shelf = self.shelf();
        let taken = shelf.ready.pop();
        let replaced = !shelf.ready.is_empty() || self.start_later(&mut shelf);
        match taken {
            Some(vm) => Ok(vm),
            None if replaced => Err(Failure::Starting),
            None => Err(Failure::Bypassed),
        }
    }

    /// Waits until a VM may be had, or a start has failed.
    pub(super) async fn ready(&self) {
        let ended = self.ended.notified();
        tokio::pin!(ended);
        ended.as_mut().enable();
        if self.shelf().ready.is_empty() {
            ended.await;
        }
    }

    /// CPU time that a start takes.
    pub(super) fn start_took(&self) -> Duration {
        Duration::from_nanos(self.start_ns.load(Ordering::Relaxed))
    }

    /// Has a VM started in the background, unless one is being started; `false` if none may be.
    fn start_later(&self, shelf: &mut Shelf) -> bool {
        if shelf.starting > 0 {
            return true;
        }
        if !shelf.budget.is_left(Instant::now(), Duration::ZERO) {
            return false;
        }
        let Some(background) = &self.plugin.host.background else { return false };
        shelf.starting += 1;
        let stock = self.me.clone();
        background.spawn_blocking(move || {
            let Some(stock) = stock.upgrade() else { return };
            stock.start();
            stock.shelf().starting -= 1;
            stock.ended.notify_waiters();
        });
        true
    }

    fn start(&self) {
        let began = Instant::now();
        match Vm::start(&self.plugin, false) {
            Ok(mut vm) => {
                let took = vm.state().deadline.spent();
                let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
                self.start_ns.store(took_ns, Ordering::Relaxed);
                self.shelf().ready.push(vm);
            }
            Err(error) => {
                let filter = &*self.plugin.name;
                tracing::warn!(filter, "a WebAssembly filter did not start: {error}");
                self.plugin.counters.failed(filter, Failure::Start);
                let now = Instant::now();
                self.shelf().budget.spend(Budget::charge(now - began), now);
            }
        }
        self.ended.notify_waiters();
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
