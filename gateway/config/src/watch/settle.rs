//! From events to the moment at which files are likely to be whole. Pure: it is told the time.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::Wake;

/// How long it must be quiet after the last step: editors do several such steps in a row.
const SETTLED: Duration = Duration::from_millis(10);

/// The longest wait under steps that never cease.
const LONGEST: Duration = Duration::from_millis(150);

/// How long a writer that keeps its file open may pause. Generators that fetch what they write pause
/// for a second or two.
const PAUSE: Duration = Duration::from_secs(5);

/// How long a file may be written at the most before it is read as it is.
const WRITING: Duration = Duration::from_secs(30);

/// What has happened since the last look, and which files are being written.
#[derive(Debug, Default)]
pub(super) struct Settling {
    /// Files that are open, since when, and when they were written last.
    open: HashMap<PathBuf, (Instant, Instant)>,
    /// Files that were written for too long: they are not waited for until they are closed.
    endless: HashSet<PathBuf>,
    is_asked: bool,
    /// When the current wait began, and when something happened last.
    times: Option<(Instant, Instant)>,
}

impl Settling {
    /// Begins to wait for the next look.
    pub(super) fn begin(&mut self, now: Instant) {
        self.is_asked = false;
        self.times = Some((now, now));
    }

    /// Takes what happened at `now`.
    pub(super) fn take(&mut self, wake: Wake, now: Instant) {
        match wake {
            Wake::Written(path) => {
                if !self.endless.contains(&path) {
                    self.open.entry(path).or_insert((now, now)).1 = now;
                }
            }
            Wake::Closed(path) | Wake::Changed(path) => {
                self.endless.remove(&path);
                // The bound on steps that never cease is not one on writing.
                if self.open.remove(&path).is_some() {
                    self.times = None;
                }
            }
            Wake::Asked => self.is_asked = true,
            Wake::Folder | Wake::Other => {}
        }
        let (began, _) = self.times.unwrap_or((now, now));
        self.times = Some((began, now));
    }

    /// When to look, unless something else happens until then.
    pub(super) fn due(&self) -> Instant {
        let (began, last) = self.times.unwrap_or_else(|| (Instant::now(), Instant::now()));
        if self.is_asked {
            return last;
        }
        let given_up = |(since, last): &(Instant, Instant)| (*last + PAUSE).min(*since + WRITING);
        match self.open.values().map(given_up).max() {
            Some(given_up) => given_up,
            None => (last + SETTLED).min(began + LONGEST),
        }
    }

    /// The files that are read although they are open: from now on they are not waited for. None if
    /// somebody asked, who may ask again.
    pub(super) fn give_up(&mut self) -> Vec<PathBuf> {
        if self.is_asked {
            return Vec::new();
        }
        let open: Vec<PathBuf> = self.open.drain().map(|(path, _)| path).collect();
        self.endless.extend(open.iter().cloned());
        open
    }

    /// Whether somebody asked.
    pub(super) fn is_asked(&self) -> bool {
        self.is_asked
    }
}
