//! What is wrong with a configuration, in the form a person can act on.
//!
//! Problems are collected while decoding and resolving, knowing only *where in the tree* they are.
//! Lines are looked up afterwards, for the few places that need one, so that a good file never pays
//! for positions.

use std::fmt;
use std::path::PathBuf;

use crate::lines::Lines;
use crate::source::File;

/// A problem as decoding finds it: which file, which place in its tree, what and how to mend it.
#[derive(Debug)]
pub struct Found {
    /// The index of its file.
    pub file: usize,
    /// The place in the file's tree; empty for the file as a whole.
    pub place: String,
    /// The line, where it is known already; else it is that of `place`.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// How to mend it.
    pub fix: String,
}

/// One problem: `FILE:LINE: path: what, how to fix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named.
    pub file: PathBuf,
    /// The line, counted from 1; 1 where the problem is with the file as a whole.
    pub line: usize,
    /// The place in the tree, such as `virtual_hosts[0].routes[2].match.path`; empty for the file.
    pub path: String,
    /// What is wrong, with the value that is.
    pub what: String,
    /// How to mend it.
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: ", self.file.display(), self.line)?;
        if !self.path.is_empty() {
            write!(out, "{}: ", self.path)?;
        }
        write!(out, "{}, {}", self.what, self.fix)
    }
}

/// Every problem of a configuration, in file and line order; displayed one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// A single problem with a file as a whole.
    pub fn with_file(file: PathBuf, what: impl Into<String>, fix: impl Into<String>) -> Self {
        let (what, fix) = (what.into(), fix.into());
        Self(vec![Problem { file, line: 1, path: String::new(), what, fix }])
    }

    /// Gives each finding its line and sorts them.
    ///
    /// # Panics
    /// If a finding is of a file that is not among `files`.
    pub fn locate(found: Vec<Found>, files: &[File]) -> Self {
        let lines: Vec<Lines> = files.iter().map(|file| Lines::of(&file.text)).collect();
        let mut problems: Vec<(usize, Problem)> = found
            .into_iter()
            .map(|found| {
                let line = found.line.unwrap_or_else(|| lines[found.file].of_place(&found.place));
                let Found { file, place: path, what, fix, .. } = found;
                (file, Problem { file: files[file].path.clone(), line, path, what, fix })
            })
            .collect();
        problems.sort_by(|(file, a), (other, b)| {
            (file, a.line, &a.path).cmp(&(other, b.line, &b.path))
        });
        Self(problems.into_iter().map(|(_, problem)| problem).collect())
    }
}

impl std::ops::Deref for Problems {
    type Target = [Problem];

    fn deref(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            write!(out, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
