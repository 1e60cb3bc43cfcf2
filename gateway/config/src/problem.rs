//! What is wrong with a configuration, in the form a person can act on.
//!
//! Problems are collected while decoding and resolving, knowing only *where in the tree* they are.
//! Lines are looked up afterwards, for the few places that need one, so that a good file never pays
//! for positions.

use std::borrow::Borrow;
use std::fmt;
use std::path::PathBuf;

use crate::lines::Lines;
use crate::source::File;

/// What follows from a problem.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration cannot be used.
    #[default]
    Error,
    /// It can, and probably does not do what was meant; an error for who is strict.
    Warning,
    /// It can, and this is worth knowing.
    Note,
}

impl Severity {
    /// The word for it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// A problem as decoding finds it: which file, which place in its tree, what and how to mend it.
#[derive(Clone, Debug)]
pub struct Found {
    /// What follows from it.
    pub severity: Severity,
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
    /// What follows from it.
    pub severity: Severity,
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

impl Problem {
    /// A problem with a file as a whole.
    pub fn with_file(file: PathBuf, what: impl Into<String>, fix: impl Into<String>) -> Self {
        let (what, fix) = (what.into(), fix.into());
        Self { severity: Severity::Error, file, line: 1, path: String::new(), what, fix }
    }
}

impl Found {
    /// An error in the file with index `file`.
    #[must_use]
    pub fn error(file: usize, place: String, what: String, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Error, file, place, line: None, what, fix: fix.into() }
    }

    /// A warning of the file with index `file`.
    #[must_use]
    pub fn warning(file: usize, place: String, what: String, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(file, place, what, fix) }
    }

    /// Whether the configuration cannot be used because of it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: ", self.file.display(), self.line)?;
        if self.severity != Severity::Error {
            write!(out, "{}: ", self.severity.label())?;
        }
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
        Self(vec![Problem::with_file(file, what, fix)])
    }

    /// Whether one of them is an error, or a warning where `is_strict`.
    #[must_use]
    pub fn are_fatal(&self, is_strict: bool) -> bool {
        let worst = if is_strict { Severity::Warning } else { Severity::Error };
        self.0.iter().any(|problem| problem.severity <= worst)
    }

    /// Adds `problems` behind these.
    pub fn extend(&mut self, problems: &[Problem]) {
        self.0.extend_from_slice(problems);
    }

    /// These problems, in the order given.
    #[must_use]
    pub fn of(problems: Vec<Problem>) -> Self {
        Self(problems)
    }

    /// Gives each finding its line and sorts them.
    ///
    /// # Panics
    /// If a finding is of a file that is not among `files`.
    pub fn locate<F: Borrow<File>>(found: Vec<Found>, files: &[F]) -> Self {
        if found.is_empty() {
            return Self(Vec::new());
        }
        let lines: Vec<Option<Lines>> =
            (0..files.len()).map(|file| lines(&found, file, files)).collect();
        let mut problems: Vec<(usize, Problem)> = found
            .into_iter()
            .map(|found| {
                let of_place = || lines[found.file].as_ref().map(|it| it.of_place(&found.place));
                let line = found.line.or_else(of_place).unwrap_or(1);
                let Found { severity, file, place: path, what, fix, .. } = found;
                (
                    file,
                    Problem {
                        severity,
                        file: files[file].borrow().path.clone(),
                        line,
                        path,
                        what,
                        fix,
                    },
                )
            })
            .collect();
        problems.sort_by(|(file, a), (other, b)| {
            (file, a.line, &a.path).cmp(&(other, b.line, &b.path))
        });
        Self(problems.into_iter().map(|(_, problem)| problem).collect())
    }
}

/// The lines of those findings of a file that do not know theirs; `None` if there are none.
fn lines<F: Borrow<File>>(found: &[Found], file: usize, files: &[F]) -> Option<Lines> {
    let mut of_file =
        found.iter().filter(|found| found.file == file && found.line.is_none()).peekable();
    of_file.peek()?;
    Some(Lines::of(&files[file].borrow().text, of_file.map(|found| &*found.place)))
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
