//! The files of a configuration: read whole, bounded, and hashed.
//!
//! `include:` is looked at here and nowhere else, since it decides which files there are. Included
//! files cannot include others: one level is enough to split a file, and cannot run in circles.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::problem::Problems;
use crate::value::{self, Value};

/// The size above which a file is refused before it is parsed: a table of 100,000 routes is a third
/// of it, and parsing takes memory in proportion.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// How many files one configuration may have.
const FILES_MAX: usize = 10_000;

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
    /// What `include:` says, as paths.
    patterns: Vec<PathBuf>,
    sha256: String,
}

impl Sources {
    /// Reads `path` and what it includes.
    ///
    /// # Errors
    /// If one of the files cannot be read, is too large or is not UTF-8.
    pub fn read(path: &Path) -> Result<Self, Problems> {
        read(path)
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

    /// The files and the include patterns: where a change may show.
    #[must_use]
    pub fn watched(&self) -> Vec<PathBuf> {
        self.paths().into_iter().chain(self.patterns.iter().cloned()).collect()
    }

    /// SHA-256 over every file's path and content, in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

fn read(path: &Path) -> Result<Sources, Problems> {
    let main = read_file(path)?;
    let mut files = Vec::new();
    let folder = path.parent().unwrap_or(Path::new(""));
    let patterns: Vec<_> =
        include_patterns(&main.text).iter().map(|pattern| folder.join(pattern)).collect();
    for pattern in &patterns {
        for included in expand(path, pattern)? {
            files.push(read_file(&included)?);
        }
    }
    if files.len() >= FILES_MAX {
        return Err(Problems::with_file(
            path.to_path_buf(),
            format!("{} files are included", files.len()),
            format!("keep them under {FILES_MAX}"),
        ));
    }
    files.insert(0, main);
    let sha256 = sha256(&files);
    Ok(Sources { files, patterns, sha256 })
}

fn sha256(files: &[File]) -> String {
    let mut digest = Sha256::new();
    for file in files {
        // Lengths keep a move of bytes from one file to the next from hashing the same.
        digest.update(file.path.as_os_str().as_encoded_bytes());
        digest.update([0]);
        digest.update((file.text.len() as u64).to_le_bytes());
        digest.update(&file.text);
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_file(path: &Path) -> Result<File, Problems> {
    let refuse = |what: String, fix: &str| Problems::with_file(path.to_path_buf(), what, fix);
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if metadata.is_dir() {
        return Err(refuse("is a directory".into(), "name a file"));
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|error| unreadable(path, &error))?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(refuse("is over 64 MiB".into(), "split it"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
        refuse(format!("is not UTF-8 (line {line}, byte {at})"), "save it as UTF-8")
    })?;
    Ok(File { path: path.to_path_buf(), text })
}

fn unreadable(path: &Path, error: &std::io::Error) -> Problems {
    let (what, fix) = match error.kind() {
        ErrorKind::NotFound => ("does not exist".to_owned(), "check the name"),
        ErrorKind::PermissionDenied => (
            "may not be read by this user".to_owned(),
            "give the user that runs this read permission",
        ),
        _ => (format!("cannot be read ({error})"), "check the file and its folder"),
    };
    Problems::with_file(path.to_path_buf(), what, fix)
}

/// The patterns under a top-level `include:`. What is wrong with the key is reported when the file
/// is decoded; here it merely includes nothing.
fn include_patterns(text: &str) -> Vec<String> {
    // A file without the word is the common case, and parsing it twice the expensive one.
    if !text.lines().any(|line| line.starts_with("include") || line.starts_with("\"include")) {
        return Vec::new();
    }
    let Ok(Value::Mapping(file)) = value::read(0, text) else { return Vec::new() };
    let patterns = file.get("include").and_then(Value::as_sequence);
    patterns.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn expand(main: &Path, pattern: &Path) -> Result<Vec<PathBuf>, Problems> {
    let refuse = |what: String| {
        Problems::with_file(
            main.to_path_buf(),
            what,
            "write a path or a glob such as conf.d/*.yaml",
        )
    };
    let Some(text) = pattern.to_str() else {
        return Err(refuse(format!("include {} is not UTF-8", pattern.display())));
    };
    if !text.contains(['*', '?', '[']) {
        return Ok(vec![pattern.to_path_buf()]);
    }
    let paths = glob::glob(text).map_err(|error| refuse(format!("include {text:?}: {error}")))?;
    let mut files = Vec::new();
    for path in paths {
        files.push(path.map_err(|error| unreadable(error.path(), error.error()))?);
    }
    files.sort();
    Ok(files)
}
