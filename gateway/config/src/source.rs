//! The files of a configuration: read whole, bounded, and hashed.
//!
//! `include:` is looked at here and nowhere else, since it decides which files there are. Included
//! files cannot include others: one level is enough to split a file, and cannot run in circles.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};
use sha2::{Digest, Sha256};

use crate::lines::Lines;
use crate::problem::{Problem, Problems};
use crate::regular::{self, Identity};
use crate::value::{self, Value};

/// The size above which a file is refused before it is parsed: a table of 100,000 routes is a third
/// of it, and parsing takes memory in proportion.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// How many files one configuration may have.
const FILES_MAX: usize = 10_000;

/// How wildcards match in `include:`. `*` does not match what begins with a dot: editors and archivers
/// leave such files (`.#a.yaml`, `._a.yaml`), and nobody means them.
pub(crate) const WILDCARDS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// One file as it was read.
#[derive(Debug)]
pub struct File {
    /// Its path, as it was named.
    pub path: PathBuf,
    /// What it holds.
    pub text: String,
}

/// The main file first, then its includes in the order of their patterns and, within one, of their
/// names.
#[derive(Debug)]
pub struct Sources {
    files: Vec<File>,
    /// Of each file; `None` for one that came from a pipe.
    identities: Vec<Option<Identity>>,
    /// Includes that could not be read. The files that could are there all the same.
    problems: Vec<Problem>,
    sha256: String,
}

/// Where a change may show.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched {
    pub(crate) files: Vec<PathBuf>,
    /// Folders and what `include:` says, which is taken from there.
    pub(crate) patterns: Vec<(PathBuf, String)>,
}

/// One entry of `include:`.
struct Include {
    /// Its index in the list.
    index: usize,
    pattern: String,
}

impl Include {
    fn place(&self) -> String {
        format!("include[{}]", self.index)
    }
}

impl Sources {
    /// Reads `path` and what it includes.
    ///
    /// # Errors
    /// If the main file cannot be read, is too large or is not UTF-8. Includes that cannot are
    /// [`Sources::problems`].
    pub fn read(path: &Path) -> Result<Self, Problems> {
        Self::read_noting(path, &mut Watched::default())
    }

    /// As [`Sources::read`], adding to `watched` each file and include pattern, those that could not be
    /// read among them.
    pub(crate) fn read_noting(path: &Path, watched: &mut Watched) -> Result<Self, Problems> {
        watched.files.push(path.to_path_buf());
        let (main, identity) = read_file(path).map_err(|problem| Problems::of(vec![problem]))?;
        Ok(Self::with_includes(main, Some(identity), watched))
    }

    /// A configuration whose main file was read already, such as from standard input; it is called
    /// `path` in messages, and what it includes is looked for beside `path`.
    ///
    /// # Errors
    /// If it is too large or is not UTF-8.
    pub fn of_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self, Problems> {
        let refuse = |problem| Problems::of(vec![problem]);
        if bytes.len() as u64 > FILE_BYTES_MAX {
            let error = regular::Unreadable::TooLarge(FILE_BYTES_MAX);
            return Err(refuse(unreadable(path, &error)));
        }
        let main = as_text(path, bytes).map_err(refuse)?;
        Ok(Self::with_includes(main, None, &mut Watched::default()))
    }

    /// The files, the main one first.
    #[must_use]
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// The paths of the files, the main one's first.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|file| file.path.clone()).collect()
    }

    /// What is wrong with `include:`: files that are missing or cannot be read.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// SHA-256 over every file's path and content, in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Each file with its identity.
    pub(crate) fn identified(&self) -> impl Iterator<Item = (&File, Option<Identity>)> {
        self.files.iter().zip(self.identities.iter().copied())
    }

    fn with_includes(main: File, identity: Option<Identity>, watched: &mut Watched) -> Self {
        let includes = includes(&main.text);
        let places: Vec<String> = includes.iter().map(Include::place).collect();
        let mut lines = None;
        let mut seen: HashSet<Identity> = identity.into_iter().collect();
        let mut sources = Self {
            files: vec![main],
            identities: vec![identity],
            problems: Vec::new(),
            sha256: String::new(),
        };
        for include in &includes {
            let main = &sources.files[0];
            let folder = main.path.parent().unwrap_or(Path::new(""));
            watched.patterns.push((folder.to_path_buf(), include.pattern.clone()));
            let mut at = |problem: Problem| {
                let of_all = || Lines::of(&main.text, places.iter().map(|place| &**place));
                let line = lines.get_or_insert_with(of_all).of_place(&include.place());
                let by = format!(" (included by {}:{line})", main.path.display());
                Problem { what: problem.what + &by, ..problem }
            };
            let paths = match expand(folder, &include.pattern) {
                Ok(paths) => paths,
                Err((path, what, fix)) => {
                    sources.problems.push(at(Problem::with_file(path, what, fix)));
                    continue;
                }
            };
            let over = sources.files.len() + paths.len() > FILES_MAX;
            if over {
                let what = format!("{} files are included", sources.files.len() + paths.len() - 1);
                let fix = format!("keep them under {FILES_MAX}");
                let problem = Problem::with_file(main.path.clone(), what, fix);
                sources.problems.push(problem);
                break;
            }
            let read: Vec<_> = paths.iter().map(|path| read_file(path).map_err(&mut at)).collect();
            for read in read {
                match read {
                    // A file is read once, however many patterns name it.
                    Ok((file, identity)) if seen.insert(identity) => {
                        sources.files.push(file);
                        sources.identities.push(Some(identity));
                    }
                    Ok(_) => {}
                    Err(problem) => sources.problems.push(problem),
                }
            }
            watched.files.extend(paths);
        }
        sources.sha256 = sha256(&sources);
        sources
    }
}

fn sha256(sources: &Sources) -> String {
    let mut digest = Sha256::new();
    for file in &sources.files {
        // Lengths keep a move of bytes from one file to the next from hashing the same.
        digest.update(file.path.as_os_str().as_encoded_bytes());
        digest.update([0]);
        digest.update((file.text.len() as u64).to_le_bytes());
        digest.update(&file.text);
    }
    for problem in &sources.problems {
        digest.update([1]);
        digest.update(problem.to_string());
    }
    hexadecimal(&digest.finalize())
}

/// Bytes, as fingerprints are shown: two digits each.
#[must_use]
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_file(path: &Path) -> Result<(File, Identity), Problem> {
    let (bytes, identity) =
        regular::read(path, FILE_BYTES_MAX).map_err(|error| unreadable(path, &error))?;
    Ok((as_text(path, bytes)?, identity))
}

fn as_text(path: &Path, bytes: Vec<u8>) -> Result<File, Problem> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let before = &error.as_bytes()[..at];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let column = 1 + before.iter().rev().take_while(|byte| **byte != b'\n').count();
        let what = format!("is not UTF-8 (byte {column} of this line)");
        Problem { line, ..Problem::with_file(path.to_path_buf(), what, "save it as UTF-8") }
    })?;
    Ok(File { path: path.to_path_buf(), text })
}

fn unreadable(path: &Path, error: &regular::Unreadable) -> Problem {
    Problem::with_file(path.to_path_buf(), error.to_string(), error.fix())
}

/// The entries under a top-level `include:`. What is wrong with the key is reported when the file is
/// decoded; here it merely includes nothing.
fn includes(text: &str) -> Vec<Include> {
    // A file that cannot have the key is the common case, and parsing it twice the expensive one.
    if !may_include(text) {
        return Vec::new();
    }
    let Ok((Value::Mapping(file), _)) = value::read(0, text) else { return Vec::new() };
    let entries = file.get("include").and_then(Value::as_sequence).into_iter().flatten();
    let entries = entries.enumerate().filter_map(|(index, entry)| {
        Some(Include { index, pattern: entry.as_str().filter(|text| !text.is_empty())?.to_owned() })
    });
    entries.collect()
}

/// Whether a key of `text` may be `include`, in whatever way YAML can write it: as it is, or with
/// escapes that stand for letters or join lines.
fn may_include(text: &str) -> bool {
    ["include", "\\x", "\\u", "\\U", "\\\n", "\\\r"].iter().any(|sign| text.contains(sign))
}

pub(crate) fn has_wildcards(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

type Refused = (PathBuf, String, &'static str);

fn expand(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, Refused> {
    let path = folder.join(pattern);
    if !has_wildcards(pattern) {
        return Ok(vec![path]);
    }
    const FIX: &str = "write a path or a glob such as conf.d/*.yaml";
    let Some(folder) = folder.to_str() else {
        let what = "is in a folder whose name is not UTF-8, where globs cannot be expanded";
        return Err((path, what.into(), "name each file, or move the folder"));
    };
    // A folder may have such characters in its name.
    let escaped = Path::new(&Pattern::escape(folder)).join(pattern);
    let found = glob::glob_with(&escaped.to_string_lossy(), WILDCARDS)
        .map_err(|error| (path.clone(), format!("is no glob: {}", error.msg), FIX))?;
    let mut files = Vec::new();
    for found in found {
        files.push(found.map_err(|error| {
            let error = error.error();
            let what = format!("cannot be expanded ({error})");
            (path.clone(), what, "check the folders and their permissions")
        })?);
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests;
