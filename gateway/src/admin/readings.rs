//! One reading a second of everything that the page shows, shared by all who look.
//!
//! A thread of its own takes it, for as long as somebody looks and for an hour after: where nobody
//! ever asks there is no thread and no memory. What it costs does not depend on how many look; what
//! each of them is sent is filtered and sorted in `admin/now.rs`.

mod history;
mod reader;
mod window;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

pub(super) use self::history::{Drops, History, STEP_S};
use self::reader::Reader;
pub(super) use self::reader::{Names, Series};
pub(super) use self::window::Figures;
use super::Admin;

/// Time between two readings.
const EVERY: Duration = Duration::from_secs(1);

/// How long readings go on after the last time that somebody asked: as long as history is kept, so
/// that whoever comes back within that time finds it whole.
const KEPT: Duration = Duration::from_secs(3600);

/// Viewers that are sent every reading, at most: each holds a connection of the admin listener.
pub(super) const VIEWERS_MAX: usize = 50;

/// The figures of one moment.
#[derive(Debug)]
pub(super) struct Reading {
    /// When it was taken.
    pub(super) at_unix_s: f64,
    /// The version of the configuration in force.
    pub(super) version: u64,
    /// Whether a later one was refused.
    pub(super) is_refused: bool,
    /// What the figures are of.
    pub(super) names: Arc<Names>,
    /// In the order of `names`.
    pub(super) figures: Vec<Figures>,
}

/// The readings, and whether they are taken.
#[derive(Debug)]
pub struct Readings {
    latest: watch::Sender<Option<Arc<Reading>>>,
    history: Mutex<History>,
    running: Mutex<bool>,
    /// When somebody asked last, in milliseconds after `epoch`.
    asked_ms: AtomicU64,
    epoch: Instant,
    viewers: Arc<Semaphore>,
}

impl Default for Readings {
    fn default() -> Self {
        Self {
            latest: watch::Sender::new(None),
            history: Mutex::default(),
            running: Mutex::new(false),
            asked_ms: AtomicU64::new(0),
            epoch: Instant::now(),
            viewers: Arc::new(Semaphore::new(VIEWERS_MAX)),
        }
    }
}

impl Readings {
    /// The readings from now on; they begin to be taken if they were not.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(super) fn follow(
        &self,
        admin: &Arc<Admin>,
    ) -> std::io::Result<watch::Receiver<Option<Arc<Reading>>>> {
        let mut running = self.running();
        self.ask();
        if !*running {
            let admin = Arc::downgrade(admin);
            std::thread::Builder::new().name("readings".into()).spawn(move || take_all(&admin))?;
            *running = true;
        }
        Ok(self.latest.subscribe())
    }

    /// A place among those that are sent every reading; `None` where all are taken.
    pub(super) fn viewer(&self) -> Option<OwnedSemaphorePermit> {
        self.viewers.clone().try_acquire_owned().ok()
    }

    /// What was read before.
    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        // Steps are added and removed whole, so a panic elsewhere cannot have left it half done.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, bool> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self) {
        self.asked_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether readings go on. Once they do not, what was kept is gone.
    fn goes_on(&self) -> bool {
        let mut running = self.running();
        if self.viewers.available_permits() < VIEWERS_MAX {
            self.ask();
        }
        if is_wanted(self.now_ms(), self.asked_ms.load(Ordering::Relaxed)) {
            return true;
        }
        *running = false;
        *self.history() = History::default();
        self.latest.send_replace(None);
        false
    }

    fn publish(&self, reading: Reading) {
        self.latest.send_replace(Some(Arc::new(reading)));
    }
}

fn is_wanted(now_ms: u64, asked_ms: u64) -> bool {
    u128::from(now_ms.saturating_sub(asked_ms)) < KEPT.as_millis()
}

/// Takes readings until nobody wants them, or the admin listener is gone.
fn take_all(admin: &Weak<Admin>) {
    let mut reader = Reader::default();
    let mut due = Instant::now();
    loop {
        let Some(admin) = admin.upgrade() else { return };
        if !admin.readings.goes_on() {
            return;
        }
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let reading = reader.read(&admin, now_s.as_secs_f64());
        admin.readings.publish(reading);
        drop(admin);
        // After a pause, such as of the whole machine, readings are not made up for.
        due = (due + EVERY).max(Instant::now());
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_end_an_hour_after_the_last_question() {
        assert!(is_wanted(5, 5) && is_wanted(3_599_999, 0));
        assert!(!is_wanted(3_600_000, 0) && is_wanted(0, 7));
    }

    #[test]
    fn viewers_are_bounded() {
        let readings = Readings::default();
        let mut viewers: Vec<_> = (0..VIEWERS_MAX).map(|_| readings.viewer().unwrap()).collect();
        assert!(readings.viewer().is_none());
        viewers.pop();
        assert!(readings.viewer().is_some());
    }
}
