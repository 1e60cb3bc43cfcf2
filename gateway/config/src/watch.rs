//! When to look at the files again.
//!
//! Folders are watched, not files: an editor renames a new file over the old one, and Kubernetes
//! swaps a symbolic link beside it, and both leave a watch on the file itself behind. Any event in
//! such a folder is only a reason to look; what changed is decided by content.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// How long the folder must be quiet after a file was closed or renamed into place: editors do
/// several such steps in a row.
const SETTLED: Duration = Duration::from_millis(10);

/// How long to wait for the close of a file that is being written; a writer that keeps it open is
/// read as it is then.
const WRITING: Duration = Duration::from_millis(80);

/// The longest wait under events that never cease.
const LONGEST: Duration = Duration::from_millis(150);

/// A reason to look at the files.
#[derive(Clone, Copy, Debug)]
pub enum Wake {
    /// A file was closed after writing, renamed, created or removed.
    Settled,
    /// A file is being written.
    Writing,
    /// Somebody asked for it.
    Asked,
}

/// Asks the watching thread to look.
pub type Waker = Sender<Wake>;

/// Starts the watching thread, which calls `reload` at once and then whenever there is a reason to look.
///
/// `reload` returns the files to watch from then on; it decides by their content whether anything
/// changed. The thread ends with the process.
///
/// # Errors
/// If the thread cannot be started. Without inotify it starts all the same: then only
/// [`Wake::Asked`] reloads, which a line in the log says.
pub fn spawn(reload: impl FnMut() -> Vec<PathBuf> + Send + 'static) -> std::io::Result<Waker> {
    let (waker, wakes) = channel();
    let events = waker.clone();
    std::thread::Builder::new().name("reload".into()).spawn(move || run(reload, events, &wakes))?;
    Ok(waker)
}

fn run(mut reload: impl FnMut() -> Vec<PathBuf>, events: Waker, wakes: &Receiver<Wake>) {
    let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        let wake = event.map_or(Some(Wake::Settled), |event| reason(event.kind));
        if let Some(wake) = wake {
            // The receiver lives as long as the process; nothing is lost if it is just ending.
            events.send(wake).ok();
        }
    });
    let mut folders = match watcher {
        Ok(watcher) => Some(Folders { watcher, watched: BTreeSet::new() }),
        Err(error) => {
            tracing::error!(%error, "files cannot be watched: reload with SIGHUP");
            None
        }
    };
    loop {
        // Also before the first event: the file may have changed between its reading and its watch.
        let files = reload();
        if let Some(folders) = &mut folders
            && folders.follow(&files)
        {
            continue;
        }
        match wakes.recv() {
            Ok(wake) => settle(wake, wakes),
            Err(_) => return,
        }
    }
}

/// Events of reading are our own and would never end.
fn reason(kind: EventKind) -> Option<Wake> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Wake::Settled),
        EventKind::Access(_) => None,
        EventKind::Modify(notify::event::ModifyKind::Data(_)) => Some(Wake::Writing),
        _ => Some(Wake::Settled),
    }
}

/// Waits until the files are likely to be whole.
fn settle(first: Wake, wakes: &Receiver<Wake>) {
    let deadline = Instant::now() + LONGEST;
    let mut wake = first;
    loop {
        let quiet = match wake {
            Wake::Asked => return,
            Wake::Settled => SETTLED,
            Wake::Writing => WRITING,
        };
        let wait = quiet.min(deadline.saturating_duration_since(Instant::now()));
        match wakes.recv_timeout(wait) {
            Ok(next) => wake = next,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
        }
    }
}

struct Folders {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
}

impl Folders {
    /// Watches the folders of `files` and of what they link to. Returns whether one is new.
    fn follow(&mut self, files: &[PathBuf]) -> bool {
        let wanted: BTreeSet<PathBuf> = files.iter().flat_map(|file| folders_of(file)).collect();
        let mut grown = false;
        for folder in wanted.difference(&self.watched.clone()) {
            match self.watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => grown = true,
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), %error, "cannot be watched");
                    continue;
                }
            }
            self.watched.insert(folder.clone());
        }
        for folder in self.watched.difference(&wanted).cloned().collect::<Vec<_>>() {
            // A folder that is gone is no longer watched anyway.
            drop(self.watcher.unwatch(&folder));
            self.watched.remove(&folder);
        }
        grown
    }
}

fn folders_of(file: &Path) -> Vec<PathBuf> {
    let folder = |path: &Path| match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let mut folders = vec![folder(file)];
    folders.extend(file.canonicalize().map(|target| folder(&target)));
    folders
}
