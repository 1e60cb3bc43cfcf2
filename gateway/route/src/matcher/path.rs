//! The path predicate.
//!
//! Owns what exact, prefix and regex mean for a normalised path, and what can be known of a regex
//! without running it. It is apart because the table is built from these and from nothing else.

use std::fmt;
use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::literal::{ExtractKind, Extractor, Seq};
use regex_syntax::hir::{Hir, Look};

use crate::path::{PathError, normalise_path};

/// The most one compiled regex may take. The largest that routes are seen to use, a dozen
/// repetitions of a character class, stay below a tenth of it; nested repetitions, which grow
/// exponentially, meet it at once.
pub(crate) const REGEX_BYTES_MAX: usize = 1 << 20;

/// What the path of a request must look like.
///
/// The paths given here must be normalised themselves, or no request will ever match them;
/// [`PathMatch::exact`] and [`PathMatch::prefix`] see to that.
#[derive(Debug, Clone, PartialEq)]
pub enum PathMatch {
    /// This path and no other.
    Exact(Box<str>),
    /// This path and what lies under it, by whole segments: `/api` matches `/api`, `/api/` and
    /// `/api/x`, not `/apix`. One that ends in `/` matches what follows: `/api/` matches `/api/`
    /// and `/api/x`, not `/api`.
    Prefix(Box<str>),
    /// A regex over the whole path.
    Regex(PathRegex),
}

/// A regex over a whole normalised path, compiled.
///
/// Normalised paths are ASCII, so classes such as `\w` and `\d` are ASCII too and a Unicode class
/// is an error. `.` and `[^x]` match `/` as they match anything else.
///
/// A copy shares what is compiled, and what the regex has learnt of the paths that it met.
#[derive(Clone)]
pub struct PathRegex(Arc<Compiled>);

struct Compiled {
    pattern: Box<str>,
    regex: Regex,
    head: Box<[u8]>,
    tail: Box<[u8]>,
}

impl PathMatch {
    /// Matches one path, which is normalised first.
    ///
    /// # Errors
    ///
    /// [`PathError`] when no request could have that path.
    pub fn exact(path: &str) -> Result<PathMatch, PathError> {
        Ok(Self::Exact(normalise_path(path.as_bytes())?.into()))
    }

    /// Matches what lies under a path, which is normalised first.
    ///
    /// # Errors
    ///
    /// [`PathError`] when no request could have that path.
    pub fn prefix(path: &str) -> Result<PathMatch, PathError> {
        Ok(Self::Prefix(normalise_path(path.as_bytes())?.into()))
    }

    /// Matches paths that the pattern matches from beginning to end.
    ///
    /// Compiles the pattern: some tens of microseconds for a common one.
    ///
    /// # Errors
    ///
    /// [`regex::Error`] when the pattern is malformed, or compiles to more than 1 MiB.
    pub fn regex(pattern: &str) -> Result<PathMatch, regex::Error> {
        PathRegex::new(pattern).map(Self::Regex)
    }

    /// Whether a normalised path matches. Does not allocate.
    pub fn holds(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *path,
            Self::Prefix(prefix) => path
                .strip_prefix(&**prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || ends(prefix)),
            Self::Regex(regex) => regex.holds(path),
        }
    }
}

fn ends(prefix: &str) -> bool {
    prefix.ends_with('/')
}

impl Default for PathMatch {
    /// Every path.
    fn default() -> Self {
        Self::Prefix("/".into())
    }
}

impl PathRegex {
    /// Compiles a pattern that paths have to match from beginning to end.
    ///
    /// # Errors
    ///
    /// As [`PathMatch::regex`].
    pub fn new(pattern: &str) -> Result<PathRegex, regex::Error> {
        let tree = ParserBuilder::new()
            .unicode(false)
            .utf8(false)
            .build()
            .parse(pattern)
            .map_err(|error| regex::Error::Syntax(error.to_string()))?;
        let head = literals(&tree, ExtractKind::Prefix).longest_common_prefix().map(Box::from);
        let tail = literals(&tree, ExtractKind::Suffix).longest_common_suffix().map(Box::from);
        // The tree is anchored, not the text: `a)|(?:b` would escape from a group around it, and
        // the comment of a pattern in verbose mode would swallow what closes the group.
        let whole = Hir::concat(vec![Hir::look(Look::Start), tree, Hir::look(Look::End)]);
        let regex = RegexBuilder::new(&whole.to_string()).size_limit(REGEX_BYTES_MAX).build()?;
        let (head, tail) = (head.unwrap_or_default(), tail.unwrap_or_default());
        Ok(PathRegex(Arc::new(Compiled { pattern: pattern.into(), regex, head, tail })))
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0.pattern
    }

    /// Whether a normalised path matches as a whole. Linear in the path, whatever the pattern.
    pub fn holds(&self, path: &str) -> bool {
        self.0.regex.is_match(path.as_bytes())
    }

    /// What the group with this name or number matches of `path`, if it takes part in the match.
    pub fn capture<'p>(&self, path: &'p str, group: &str) -> Option<&'p str> {
        let captures = self.0.regex.captures(path.as_bytes())?;
        let found = match group.parse() {
            Ok(number) => captures.get(number),
            Err(_) => captures.name(group),
        };
        path.get(found?.range())
    }

    /// Whether there is a group with this name or number.
    pub fn has_group(&self, group: &str) -> bool {
        match group.parse::<usize>() {
            Ok(number) => number < self.0.regex.captures_len(),
            Err(_) => self.0.regex.capture_names().any(|name| name == Some(group)),
        }
    }

    /// What every matching path begins with; empty when nothing is known.
    pub(crate) fn head(&self) -> &[u8] {
        &self.0.head
    }

    /// What every matching path ends with; empty when nothing is known.
    pub(crate) fn tail(&self) -> &[u8] {
        &self.0.tail
    }

    /// The anchored pattern, for a set.
    pub(crate) fn anchored(&self) -> &str {
        self.0.regex.as_str()
    }
}

impl PartialEq for PathRegex {
    /// Regexes are the same where their patterns are.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.as_str() == other.as_str()
    }
}

impl fmt::Debug for PathRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PathRegex").field(&self.0.pattern).finish()
    }
}

fn literals(tree: &Hir, kind: ExtractKind) -> Seq {
    let mut extractor = Extractor::new();
    // Only what all alternatives share is kept, so spelling a class out would be wasted work.
    extractor.kind(kind).limit_class(1);
    extractor.extract(tree)
}
