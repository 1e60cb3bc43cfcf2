//! When to look at the files again.
//!
//! Folders are watched, not files: an editor renames a new file over the old one, Kubernetes and
//! git-sync swap a symbolic link beside it, and both leave a watch on the file itself behind. Watched
//! are the folders on the whole way to each file, links included (`watch/interest.rs`), and they are watched
//! anew when one of them was replaced. An event is only a reason to look; what changed is decided by
//! content.
//!
//! A file that is being written is not looked at before its writer has closed it (`watch/settle.rs`), and one
//! that seems to have lost its end is given time to get it back (`watch/ending.rs`). The files are read by the
//! watching thread with nothing held that others wait for, so that a filesystem that hangs stops
//! nothing but reloads.

mod ending;
mod interest;
mod settle;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};

use self::ending::Endings;
use self::interest::Interest;
use self::settle::Settling;
use crate::problem::Problems;
use crate::source::{Sources, Watched};

/// How often to look again while the files cannot be read or watched: there may be no event when they
/// can, and who waits for an edit to be in force should not wait much longer than for any other.
const RETRY: Duration = Duration::from_secs(1);

/// A reason to look at the files.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wake {
    /// A name that matters came, went or means another file now.
    Changed(PathBuf),
    /// A file that matters is open and was written.
    Written(PathBuf),
    /// A file that matters was closed after writing.
    Closed(PathBuf),
    /// A watched folder came or went: its watch may be lost.
    Folder,
    /// Somebody asked for it.
    Asked,
    /// Something else than a file has changed.
    Other,
}

/// Asks the watching thread to look.
#[derive(Clone, Debug)]
pub struct Waker(Sender<Wake>);

impl Waker {
    /// Asks for the files to be read now, whatever their state. Returns whether the thread is there to
    /// do it.
    pub fn ask(&self) -> bool {
        self.0.send(Wake::Asked).is_ok()
    }

    /// Has the files looked at again, together with something else that has changed. Returns whether the
    /// thread is there to do it.
    pub fn look(&self) -> bool {
        self.0.send(Wake::Other).is_ok()
    }
}

/// The files as they are now.
#[derive(Debug)]
pub struct Attempt {
    /// What was read.
    pub sources: Result<Sources, Problems>,
    /// Whether somebody asked for it, and expects to be told even if nothing changed.
    pub is_asked: bool,
    /// When reading began.
    pub started: Instant,
}

/// What is to be followed besides, after an attempt.
#[derive(Debug, Default)]
pub struct Followed {
    /// Further files to watch.
    pub others: Vec<PathBuf>,
    /// Whether to try again though nothing changes: what failed may pass by itself.
    pub retry: bool,
    /// Whether nobody needs these files any more: the thread ends.
    pub ended: bool,
}

/// Starts the watching thread, which reads `path` and what it includes, calls `reload` at once and then
/// whenever there is a reason to look.
///
/// `reload` decides by content whether anything changed, and says what to follow besides. The thread
/// ends with the process, or when `reload` says so.
///
/// # Errors
/// If the thread cannot be started. Without inotify it starts all the same: then the files are read
/// every second, which a line in the log says.
pub fn spawn(
    path: PathBuf,
    reload: impl FnMut(Attempt) -> Followed + Send + 'static,
) -> std::io::Result<Waker> {
    let (waker, wakes) = channel();
    let watching = Watching {
        path,
        armed: None,
        is_failing: false,
        events: waker.clone(),
        wakes,
        settling: Settling::default(),
    };
    std::thread::Builder::new().name("reload".into()).spawn(move || watching.run(reload))?;
    Ok(Waker(waker))
}

struct Watching {
    path: PathBuf,
    /// The watcher and what it watches.
    armed: Option<(RecommendedWatcher, Arc<Interest>)>,
    /// Whether there is no watcher because none could be made.
    is_failing: bool,
    events: Sender<Wake>,
    wakes: Receiver<Wake>,
    settling: Settling,
}

/// Nobody can ask any more: the process ends.
struct Ended;

impl Watching {
    fn run(mut self, mut reload: impl FnMut(Attempt) -> Followed) {
        let mut endings = Endings::default();
        let mut watched = Watched::default();
        let mut others = Vec::new();
        let mut is_asked = false;
        loop {
            let started = Instant::now();
            let mut now = Watched::default();
            let sources = Sources::read_noting(&self.path, &mut now);
            match &sources {
                Ok(_) => watched = now,
                // What it included is about to be there again.
                Err(_) => watched.files.extend(now.files),
            }
            if let Ok(sources) = &sources
                && !is_asked
                && let Some(wait) = endings.wait_for(sources, Instant::now())
            {
                // With a new watch: it may have come back unseen.
                if !self.arm(&watched, &others) {
                    match self.wait(Some(wait)) {
                        Ok(asked) => is_asked = asked,
                        Err(Ended) => return,
                    }
                }
                continue;
            }
            if let Ok(sources) = &sources {
                endings.remember(sources);
            }
            let is_unread = sources.is_err();
            let followed = reload(Attempt { sources, is_asked, started });
            if followed.ended {
                return;
            }
            others = followed.others;
            is_asked = false;
            // Also after the first watch: the file may have changed between its reading and its watch.
            if self.arm(&watched, &others) {
                continue;
            }
            let is_retried = is_unread || followed.retry || self.armed.is_none();
            let retry = is_retried.then_some(RETRY);
            match self.wait(retry) {
                Ok(asked) => is_asked = asked,
                Err(Ended) => return,
            }
        }
    }

    /// Waits for a reason to look, at most for `most`, and then until the files are likely to be whole.
    /// Returns whether somebody asked.
    fn wait(&mut self, most: Option<Duration>) -> Result<bool, Ended> {
        let first = match most {
            None => self.wakes.recv().map_err(|_| Ended)?,
            Some(most) => match self.wakes.recv_timeout(most) {
                Ok(wake) => wake,
                Err(RecvTimeoutError::Timeout) => return Ok(false),
                Err(RecvTimeoutError::Disconnected) => return Err(Ended),
            },
        };
        let now = Instant::now();
        self.settling.begin(now);
        self.take(first, now);
        loop {
            let wait = self.settling.due().saturating_duration_since(Instant::now());
            match self.wakes.recv_timeout(wait) {
                Ok(wake) => self.take(wake, Instant::now()),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return Err(Ended),
            }
        }
        for path in self.settling.give_up() {
            tracing::warn!(file = %path.display(), "is still being written and is read as it is");
        }
        Ok(self.settling.is_asked())
    }

    fn take(&mut self, wake: Wake, now: Instant) {
        if matches!(wake, Wake::Folder | Wake::Asked) {
            // Its watches are gone, or may be: they are all made anew.
            self.armed = None;
        }
        self.settling.take(wake, now);
    }

    /// Watches all that decides what these files hold. Returns whether that is another watch than before,
    /// so that something may have changed unseen.
    fn arm(&mut self, watched: &Watched, others: &[PathBuf]) -> bool {
        let interest = Interest::of(watched, others);
        if self.armed.as_ref().is_some_and(|(_, armed)| **armed == interest) {
            return false;
        }
        self.armed = None;
        let interest = Arc::new(interest);
        match watch(&interest, self.events.clone()) {
            Ok(watcher) => {
                self.armed = Some((watcher, interest));
                self.is_failing = false;
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::error!(%error, "files cannot be watched: they are read every second");
                }
                false
            }
        }
    }
}

fn watch(interest: &Arc<Interest>, events: Sender<Wake>) -> notify::Result<RecommendedWatcher> {
    let known = interest.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        for wake in known.reasons(event) {
            // The receiver lives as long as the process; nothing is lost if it is just ending.
            events.send(wake).ok();
        }
    })?;
    for (folder, holds_files) in interest.folders() {
        let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) else { continue };
        // A parent that may be passed through and not read is nothing unusual.
        if holds_files {
            tracing::warn!(folder = %folder.display(), %error, "cannot be watched");
        } else {
            tracing::debug!(folder = %folder.display(), %error, "cannot be watched");
        }
    }
    Ok(watcher)
}

#[cfg(test)]
mod tests;
