//! Which configuration serves, and how the attempts to replace it went.
//!
//! These figures change once a reload, so they are ordinary numbers behind a lock. Loading the
//! first configuration is not a reload and is not counted as one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// The configuration's figures, shared between who reloads and who scrapes.
#[derive(Default)]
pub(crate) struct ConfigStats(Mutex<ConfigFigures>);

/// What is exposed about the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConfigFigures {
    /// `None` until the first configuration was loaded.
    pub(crate) serving: Option<Serving>,
    pub(crate) applied: u64,
    pub(crate) rejected: u64,
    /// How the latest attempt went, and when; the first load is one.
    pub(crate) latest: Option<Latest>,
}

/// The latest attempt to load a configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latest {
    pub(crate) is_successful: bool,
    pub(crate) at: SystemTime,
}

impl Latest {
    fn now(is_successful: bool) -> Option<Self> {
        Some(Self { is_successful, at: SystemTime::now() })
    }
}

/// The configuration that serves.
#[derive(Debug, Clone)]
pub(crate) struct Serving {
    pub(crate) version: u64,
    pub(crate) sha256: String,
}

impl ConfigStats {
    pub(crate) fn loaded(&self, version: u64, sha256: &str) {
        let mut figures = self.lock();
        figures.serving = Some(Serving { version, sha256: sha256.to_owned() });
        figures.latest = Latest::now(true);
    }

    pub(crate) fn applied(&self, version: u64, sha256: &str) {
        let mut figures = self.lock();
        figures.serving = Some(Serving { version, sha256: sha256.to_owned() });
        figures.applied += 1;
        figures.latest = Latest::now(true);
    }

    pub(crate) fn rejected(&self) {
        let mut figures = self.lock();
        figures.rejected += 1;
        figures.latest = Latest::now(false);
    }

    /// What was rejected is gone: the files are as what serves again.
    pub(crate) fn restored(&self) {
        self.lock().latest = Latest::now(true);
    }

    pub(crate) fn figures(&self) -> ConfigFigures {
        self.lock().clone()
    }

    /// Every change is one assignment, so a panic elsewhere cannot have left it half done.
    fn lock(&self) -> MutexGuard<'_, ConfigFigures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
