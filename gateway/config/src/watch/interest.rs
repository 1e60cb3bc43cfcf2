//! Which names in which folders decide what a file holds.
//!
//! A path is followed as the kernel follows it: name by name from the root, and where a name is a link,
//! along the link. Each of these names matters, for each may be made to mean another file; and each
//! stands in a folder, which is what can be watched. A path that does not lead anywhere yet matters as
//! far as it does.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use glob::Pattern;
use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
use notify::{Event, EventKind};

use super::Wake;
use crate::regular::Identity;
use crate::source::{WILDCARDS, Watched, has_wildcards};

/// Links on one way; the kernel's own bound.
const LINKS_MAX: usize = 40;

/// Folders that patterns with `**` or wildcards in folder names may make us watch: a fraction of what
/// inotify allows a user.
const FOLDERS_MAX: usize = 1_000;

/// The folders to watch, each with the names in it that matter.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Interest {
    folders: BTreeMap<PathBuf, Folder>,
}

#[derive(Debug, Default, PartialEq)]
struct Folder {
    /// Which folder it was: another of the same name has to be watched anew.
    identity: Option<Identity>,
    names: BTreeSet<OsString>,
    patterns: BTreeSet<Pattern>,
    /// Whether a file is expected in it, not only the way to one.
    holds_files: bool,
}

/// One step of a way that is still to go.
#[derive(Clone, Debug)]
enum Step {
    Name(OsString),
    Pattern(Pattern),
    /// `**`
    AnyFolders,
}

/// What a name leads to.
#[derive(Clone, Debug)]
enum Leads {
    Nowhere,
    File,
    Folder,
    Link(PathBuf),
}

/// Follows ways, and remembers where names lead: most ways begin alike.
#[derive(Default)]
struct Walker {
    interest: Interest,
    known: HashMap<PathBuf, Leads>,
}

impl Interest {
    /// What decides what these files hold, and which there are.
    pub(super) fn of(watched: &Watched, others: &[PathBuf]) -> Self {
        let mut walker = Walker::default();
        for path in watched.files.iter().chain(others) {
            walker.begin(path, Vec::new());
        }
        for (folder, pattern) in &watched.patterns {
            let steps =
                pattern.split('/').rev().filter(|part| !part.is_empty()).map(step).collect();
            let folder = if pattern.starts_with('/') { Path::new("/") } else { folder };
            walker.begin(folder, steps);
        }
        walker.interest
    }

    /// The folders, and whether a file is expected in each.
    pub(super) fn folders(&self) -> impl Iterator<Item = (&Path, bool)> {
        self.folders.iter().map(|(path, folder)| (path.as_path(), folder.holds_files))
    }

    /// The reasons to look that an event is. Events of reading are our own and would never end.
    pub(super) fn reasons(&self, event: notify::Result<Event>) -> Vec<Wake> {
        // Without its paths, whatever it was may concern us: the queue ran over, for one.
        let Ok(event) = event else { return vec![Wake::Folder] };
        if event.need_rescan() {
            return vec![Wake::Folder];
        }
        let mut reasons = Vec::new();
        for path in event.paths {
            let moves = matches!(
                event.kind,
                EventKind::Create(_)
                    | EventKind::Remove(_)
                    | EventKind::Modify(ModifyKind::Name(_))
            );
            if moves && self.folders.contains_key(&path) {
                reasons.push(Wake::Folder);
            } else if self.concerns(&path) {
                reasons.extend(reason(event.kind, path));
            }
        }
        reasons
    }

    fn concerns(&self, path: &Path) -> bool {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return false };
        let Some(folder) = self.folders.get(folder) else { return false };
        let matches = |pattern: &Pattern| {
            name.to_str().is_some_and(|name| pattern.matches_with(name, WILDCARDS))
        };
        folder.names.contains(name) || folder.patterns.iter().any(matches)
    }
}

fn reason(kind: EventKind, path: PathBuf) -> Option<Wake> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Wake::Closed(path)),
        EventKind::Access(_) => None,
        EventKind::Modify(ModifyKind::Data(_)) => Some(Wake::Written(path)),
        // Who makes a file closes it; a link to one is made at once.
        EventKind::Create(CreateKind::File) if is_new_file(&path) => Some(Wake::Written(path)),
        _ => Some(Wake::Changed(path)),
    }
}

fn is_new_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.nlink() == 1)
}

fn step(part: &str) -> Step {
    match Pattern::new(part) {
        Ok(_) if part == "**" => Step::AnyFolders,
        Ok(pattern) if has_wildcards(part) => Step::Pattern(pattern),
        _ => Step::Name(part.into()),
    }
}

impl Walker {
    /// Follows `path` and then `steps`, the last of which comes first.
    fn begin(&mut self, path: &Path, mut steps: Vec<Step>) {
        // Without a current folder there is nothing that a relative path could mean.
        let Ok(path) = std::path::absolute(path) else { return };
        push(&path, &mut steps);
        self.follow(PathBuf::from("/"), steps, LINKS_MAX);
    }

    fn follow(&mut self, mut folder: PathBuf, mut steps: Vec<Step>, mut links: usize) {
        while let Some(step) = steps.pop() {
            let name = match step {
                Step::Name(name) => name,
                Step::Pattern(pattern) => {
                    self.note(&folder, steps.is_empty()).patterns.insert(pattern.clone());
                    let matches = |name: &str| pattern.matches_with(name, WILDCARDS);
                    return self.branch(&folder, &steps, links, &matches, fs::metadata);
                }
                Step::AnyFolders => {
                    let pattern = Pattern::new("*").unwrap_or_default();
                    self.note(&folder, false).patterns.insert(pattern);
                    let mut deeper = steps.clone();
                    deeper.push(Step::AnyFolders);
                    // Without links: they may lead round in circles.
                    let is_plain = |name: &str| !name.starts_with('.');
                    self.branch(&folder, &deeper, links, &is_plain, fs::symlink_metadata);
                    continue;
                }
            };
            if name == ".." {
                folder.pop();
                continue;
            }
            self.note(&folder, steps.is_empty()).names.insert(name.clone());
            let path = folder.join(&name);
            match self.leads(&path) {
                Leads::Folder => folder = path,
                Leads::Link(target) if links > 0 => {
                    links -= 1;
                    if target.is_absolute() {
                        folder = PathBuf::from("/");
                    }
                    push(&target, &mut steps);
                }
                _ => return,
            }
        }
    }

    /// Follows the rest of the way through every name of `folder` that matches.
    fn branch(
        &mut self,
        folder: &Path,
        steps: &[Step],
        links: usize,
        matches: &dyn Fn(&str) -> bool,
        look: fn(PathBuf) -> std::io::Result<fs::Metadata>,
    ) {
        // The files themselves are among those that were read.
        if steps.is_empty() {
            return;
        }
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        for name in entries.map(|entry| entry.file_name()) {
            if name.to_str().is_some_and(matches) && self.interest.folders.len() < FOLDERS_MAX {
                let mut steps = steps.to_vec();
                // What is no folder has nothing behind it.
                if look(folder.join(&name)).is_ok_and(|metadata| metadata.is_dir()) {
                    steps.push(Step::Name(name));
                    self.follow(folder.to_path_buf(), steps, links);
                }
            }
        }
    }

    fn note(&mut self, folder: &Path, holds_files: bool) -> &mut Folder {
        if !self.interest.folders.contains_key(folder) {
            let identity = fs::metadata(folder).ok().map(|metadata| Identity::of(&metadata));
            let new = Folder { identity, ..Folder::default() };
            self.interest.folders.insert(folder.to_path_buf(), new);
        }
        let noted = self.interest.folders.entry(folder.to_path_buf()).or_default();
        noted.holds_files |= holds_files;
        noted
    }

    fn leads(&mut self, path: &Path) -> Leads {
        if let Some(known) = self.known.get(path) {
            return known.clone();
        }
        let leads = match fs::symlink_metadata(path) {
            Err(_) => Leads::Nowhere,
            Ok(metadata) if metadata.is_dir() => Leads::Folder,
            Ok(metadata) if metadata.is_symlink() => {
                fs::read_link(path).map_or(Leads::Nowhere, Leads::Link)
            }
            Ok(_) => Leads::File,
        };
        self.known.insert(path.to_path_buf(), leads.clone());
        leads
    }
}

/// Puts the names of `path` on top of `steps`, the first one last.
fn push(path: &Path, steps: &mut Vec<Step>) {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => steps.push(Step::Name(name.into())),
            Component::ParentDir => steps.push(Step::Name(OsStr::new("..").into())),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
}
