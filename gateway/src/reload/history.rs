//! What became of the latest configurations: those that were put in force, with what they changed, and
//! those that were refused, and why.
//!
//! The text of each is kept, compressed, so that a reload pays next to nothing; what differs is found
//! when somebody asks. Both the number of entries and the bytes of all texts are bounded.

mod differences;

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use sallyport_config::Problems;

use crate::config::Texts;

pub use self::differences::{Difference, Differences, SECRET, holds_secret};

/// Entries kept.
const ENTRIES_MAX: usize = 50;

/// Bytes that all texts may take together, compressed. A table of 10,000 routes takes some 60 KiB.
const TEXT_BYTES_MAX: usize = 8 << 20;

/// What made the gateway read its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It started.
    Start,
    /// A file was edited.
    Edit,
    /// Somebody asked, by SIGHUP.
    Asked,
    /// A source besides the file said something else.
    Delivered,
}

impl Reason {
    /// The word for it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Edit => "edit",
            Self::Asked => "asked",
            Self::Delivered => "delivered",
        }
    }
}

/// What became of one configuration.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It was put in force.
    Applied {
        /// As which version.
        version: u64,
    },
    /// It was not.
    Refused(Problems),
}

/// One configuration that was read.
#[derive(Debug)]
pub struct Entry {
    /// When.
    pub at: SystemTime,
    /// Why.
    pub reason: Reason,
    /// The SHA-256 of its files; `None` where they could not be read.
    pub sha256: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    texts: Option<Texts>,
    differences: OnceLock<Option<Differences>>,
}

/// The latest entries, the oldest first.
#[derive(Clone, Debug, Default)]
pub struct History(VecDeque<Arc<Entry>>);

impl History {
    /// Adds what became of one more.
    pub fn add(
        &mut self,
        reason: Reason,
        sha256: Option<String>,
        outcome: Outcome,
        texts: Option<Texts>,
    ) {
        let (at, differences) = (SystemTime::now(), OnceLock::new());
        let entry = Entry { at, reason, sha256, outcome, texts, differences };
        self.0.push_back(Arc::new(entry));
        while self.0.len() > ENTRIES_MAX || (self.0.len() > 1 && self.bytes() > TEXT_BYTES_MAX) {
            self.0.pop_front();
        }
    }

    /// The entries, the oldest first, each with what it changed of the one in force before it. `None`
    /// where that is not known any more, or the entry was refused.
    pub fn entries(&self) -> impl Iterator<Item = (&Entry, Option<&Differences>)> {
        let mut before: Option<&Entry> = None;
        self.0.iter().map(move |entry| {
            if !matches!(entry.outcome, Outcome::Applied { .. }) {
                return (&**entry, None);
            }
            let before = before.replace(entry);
            let found = || {
                let before = before?.texts.as_ref()?;
                Some(Differences::between(&before.files()?, &entry.texts.as_ref()?.files()?))
            };
            (&**entry, entry.differences.get_or_init(found).as_ref())
        })
    }

    /// The files of `version` as they were read; `None` if they are not kept any more.
    #[must_use]
    pub fn files_of(&self, version: u64) -> Option<Vec<sallyport_config::File>> {
        let is_it = |entry: &&Arc<Entry>| matches!(entry.outcome, Outcome::Applied { version: of } if of == version);
        self.0.iter().find(is_it)?.texts.as_ref()?.files()
    }

    fn bytes(&self) -> usize {
        self.0.iter().filter_map(|entry| entry.texts.as_ref()).map(Texts::bytes).sum()
    }
}

#[cfg(test)]
mod tests;
