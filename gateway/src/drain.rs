//! How far the gateway is from taking no more work, as those need to know who answer for it.
//!
//! First it says so: `/readyz` is 503, answers close their connections, and who chooses among gateways
//! can go elsewhere, while whoever comes is still served. Only then does it stop listening. The first
//! half can be taken back, unless the process ends.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// How far the process is on its way to its end: announced first, and then under way.
#[derive(Debug)]
pub struct Drain {
    announced: watch::Sender<bool>,
    ending: AtomicBool,
}

/// The process was told to end, which cannot be taken back.
#[derive(Clone, Copy, Debug)]
pub struct Ending;

impl Default for Drain {
    fn default() -> Self {
        Self { announced: watch::Sender::new(false), ending: AtomicBool::new(false) }
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
