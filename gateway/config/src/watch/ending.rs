//! Files that seem to have lost their end.
//!
//! Not every writer keeps its file open: `echo >> file` closes it after each line. So a file that was
//! changed in place and is shorter than it was, with another end, may be on its way to be longer. It is
//! given some time. A file that was renamed into place is another file, and whole.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::regular::Identity;
use crate::source::{File, Sources};

/// How long nothing must happen to a file before its end is believed: a person who shortened it waits
/// for this, and a writer may not pause for longer.
const PAUSE: Duration = Duration::from_secs(3);

/// How long a file may be on its way at the most.
const LONGEST: Duration = Duration::from_secs(30);

/// How much of the end of a file is compared: more than an entry has that is like its neighbours.
const END_BYTES: usize = 256;

/// How the files ended when they were last thought whole.
#[derive(Debug, Default)]
pub(super) struct Endings {
    files: HashMap<PathBuf, Ending>,
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    /// When the content changed last, and what it is.
    changed: Instant,
    sha256: String,
}

#[derive(Debug, PartialEq)]
struct Ending {
    identity: Option<Identity>,
    lines: usize,
    is_blank: bool,
    has_newline: bool,
    end: Box<[u8]>,
}

impl Ending {
    fn of(file: &File, identity: Option<Identity>) -> Self {
        let text = file.text.as_bytes();
        Self {
            identity,
            lines: text.iter().filter(|byte| **byte == b'\n').count(),
            is_blank: file.text.trim().is_empty(),
            has_newline: text.ends_with(b"\n"),
            end: text[text.len().saturating_sub(END_BYTES)..].into(),
        }
    }

    /// What makes one think that the end is missing, if it was as `before`.
    fn is_lost(&self, before: &Self) -> Option<&'static str> {
        if self.identity.is_none() || self.identity != before.identity {
            return None;
        }
        // Half of a short file is an end that tells it from the rest, as much as there is of it.
        let common = END_BYTES.min(self.end.len() / 2).min(before.end.len());
        let end = |ending: &Self| ending.end[ending.end.len() - common..].to_vec();
        if self.is_blank && !before.is_blank {
            Some("it is empty")
        } else if before.has_newline && !self.has_newline {
            Some("its last line has no end")
        } else if self.lines < before.lines && end(self) != end(before) {
            Some("it is shorter and ends in another way")
        } else {
            None
        }
    }
}

impl Endings {
    /// How long to wait for the rest of a file, if one seems to have lost its end.
    pub(super) fn wait_for(&mut self, sources: &Sources, now: Instant) -> Option<Duration> {
        let (path, why) = self.lost(sources)?;
        let sha256 = sources.sha256();
        let waiting = self.waiting.get_or_insert_with(|| {
            let wait_s = PAUSE.as_secs();
            tracing::info!(file = %path.display(), why, wait_s, "waiting for the rest of a file");
            Waiting { since: now, changed: now, sha256: sha256.to_owned() }
        });
        if waiting.sha256 != sha256 {
            (waiting.changed, waiting.sha256) = (now, sha256.to_owned());
        }
        let until = (waiting.changed + PAUSE).min(waiting.since + LONGEST);
        let wait = until.saturating_duration_since(now);
        if wait.is_zero() {
            tracing::info!(file = %path.display(), why, "no more came: it is taken as it is");
            return None;
        }
        Some(wait)
    }

    /// Takes the files for whole.
    pub(super) fn remember(&mut self, sources: &Sources) {
        self.waiting = None;
        let endings = sources
            .identified()
            .map(|(file, identity)| (file.path.clone(), Ending::of(file, identity)));
        self.files = endings.collect();
    }

    fn lost(&self, sources: &Sources) -> Option<(PathBuf, &'static str)> {
        let mut here = HashSet::new();
        for (file, identity) in sources.identified() {
            here.insert(&file.path);
            let Some(before) = self.files.get(&file.path) else { continue };
            if let Some(why) = Ending::of(file, identity).is_lost(before) {
                return Some((file.path.clone(), why));
            }
        }
        // A file that was removed is meant; a whole folder is about to come back.
        let has_no_folder = |path: &&PathBuf| {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            folder.is_some_and(|folder| !folder.exists())
        };
        let gone = self.files.keys().filter(|path| !here.contains(path)).find(has_no_folder);
        Some((gone?.clone(), "its folder is gone"))
    }
}
