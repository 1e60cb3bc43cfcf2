//! How far the gateway is from taking no more work, as those need to know who answer for it.
//!
//! First it says so: `/readyz` is 503, answers close their connections, and who chooses among gateways
//! can go elsewhere, while whoever comes is still served. Only then does it stop listening. The first
//! half can be taken back, unless the process ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::watch;

/// How far the process is on its way to its end: announced first, and then under way.
#[derive(Debug)]
pub struct Drain {
    announced: watch::Sender<bool>,
    ending: AtomicBool,
    /// Connections that are passed on, for which an end waits as it does for requests.
    passed_on: AtomicU64,
}

/// A connection that is passed on: an end waits for it until this is dropped.
#[derive(Debug)]
pub struct PassedOn(Arc<Drain>);

impl Drop for PassedOn {
    fn drop(&mut self) {
        self.0.passed_on.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The process was told to end, which cannot be taken back.
#[derive(Clone, Copy, Debug)]
pub struct Ending;

impl Default for Drain {
    fn default() -> Self {
        let announced = watch::Sender::new(false);
        Self { announced, ending: AtomicBool::new(false), passed_on: AtomicU64::new(0) }
    }
}

impl Drain {
    /// Says that nothing new is wanted.
    pub fn announce(&self) {
        self.announced.send_replace(true);
    }

    /// Wants new work again.
    ///
    /// # Errors
    /// If the process is about to end.
    pub fn withdraw(&self) -> Result<(), Ending> {
        if self.is_ending() {
            return Err(Ending);
        }
        self.announced.send_replace(false);
        // The process was told to end in between.
        if self.is_ending() {
            self.announce();
            return Err(Ending);
        }
        Ok(())
    }

    /// Announces the end for good.
    pub fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
        self.announce();
    }

    /// Whether nothing new is wanted.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        *self.announced.borrow()
    }

    /// Whether the process was told to end.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }

    /// Has an end wait for a connection that is passed on, until what this returns is dropped.
    #[must_use]
    pub fn begin_passing_on(self: &Arc<Self>) -> PassedOn {
        self.passed_on.fetch_add(1, Ordering::Relaxed);
        PassedOn(self.clone())
    }

    /// Connections that are passed on.
    #[must_use]
    pub fn passed_on(&self) -> u64 {
        self.passed_on.load(Ordering::Relaxed)
    }

    /// Told when nothing new is wanted, and when it is again.
    #[must_use]
    pub fn announced(&self) -> watch::Receiver<bool> {
        self.announced.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::Drain;

    #[test]
    fn an_announcement_is_taken_back_unless_the_process_ends() {
        let drain = Drain::default();
        assert!(!drain.is_announced());
        drain.announce();
        assert!(drain.is_announced() && *drain.announced().borrow());
        assert!(drain.withdraw().is_ok() && !drain.is_announced());
        drain.end();
        assert!(drain.withdraw().is_err() && drain.is_announced() && drain.is_ending());
    }
}
