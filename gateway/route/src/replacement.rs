//! Text with groups of a route's regex in it, such as `/shop/${1}` or `${tenant}.example.com`.
//!
//! It is here and not with the redirects that use it, because it belongs to the regex: which groups
//! there are, and what they hold of a path, is the matching's knowledge. Names that are no groups are
//! the caller's to fill in.

use std::borrow::Cow;

use thiserror::Error;

use crate::braced::{BracedError, Piece, pieces};
use crate::matcher::PathRegex;

/// A text with groups, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    parts: Box<[Part]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Group(Box<str>),
}

/// Why a text is no replacement.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReplacementError {
    /// A `$` that begins neither a group nor `$$`.
    #[error("`${0}` is no group: a group is written `${{1}}` or `${{name}}`, a dollar sign `$$`")]
    Dollar(String),
    /// A `${` without its `}`, or nothing between them.
    #[error("`${{` is not closed by a `}}` after a group's number or name")]
    Open,
}

impl Replacement {
    /// Parses `text`: `${1}` and `${name}` are groups, `$$` is a dollar sign, everything else
    /// stands for itself.
    ///
    /// # Errors
    /// [`ReplacementError`] for any other `$`.
    ///
    /// ```
    /// # use sallyport_route::{PathRegex, Replacement};
    /// let regex = PathRegex::new("/items/([0-9]+)(?:/(?P<tab>[a-z]+))?")?;
    /// let replacement = Replacement::parse("/shop/${1}/$$${tab}")?;
    /// assert_eq!(replacement.expand(Some(&regex), "/items/7/size"), "/shop/7/$size");
    /// assert_eq!(replacement.expand(Some(&regex), "/items/7"), "/shop/7/$");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn parse(text: &str) -> Result<Replacement, ReplacementError> {
        let pieces = pieces(text).map_err(|error| match error {
            BracedError::Dollar(rest) => ReplacementError::Dollar(
                rest.chars().take_while(char::is_ascii_alphanumeric).collect(),
            ),
            BracedError::Open => ReplacementError::Open,
        })?;
        let part = |piece| match piece {
            Piece::Text(text) => Ok(Part::Text(text)),
            Piece::Name(name) if name.is_empty() || !name.bytes().all(is_name) => {
                Err(ReplacementError::Open)
            }
            Piece::Name(name) => Ok(Part::Group(name.into())),
        };
        let parts = pieces.into_iter().map(part).collect::<Result<_, _>>()?;
        Ok(Replacement { parts })
    }

    /// The groups that are named, by number or by name.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Group(group) => Some(&**group),
            Part::Text(_) => None,
        })
    }

    /// The text for a path that `regex` matched. A group that took no part in the match, or that the
    /// regex does not have, is empty.
    pub fn expand(&self, regex: Option<&PathRegex>, path: &str) -> String {
        self.fill(|group| regex.and_then(|regex| regex.capture(path, group)).unwrap_or(""))
    }

    /// The text with `value` in place of each group: what it looks like before there is a path.
    pub fn fill<'v, V: Into<Cow<'v, str>>>(
        &'v self,
        mut value: impl FnMut(&'v str) -> V,
    ) -> String {
        let parts = self.parts.iter().map(|part| match part {
            Part::Text(text) => Cow::Borrowed(&**text),
            Part::Group(group) => value(group).into(),
        });
        parts.collect()
    }

    /// The text, if it is the same for every path.
    pub fn constant(&self) -> Option<&str> {
        match &*self.parts {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}

/// What a group's number or name is made of, and what else may stand there.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

#[cfg(test)]
mod tests {
    use super::{Replacement, ReplacementError};

    #[test]
    fn what_looks_like_a_group_and_is_none_is_refused() {
        let dollar = |text: &str| Err(ReplacementError::Dollar(text.to_owned()));
        for (text, expected) in [
            ("/new/$1", dollar("1")),
            ("/$name/x", dollar("name")),
            ("/a$", dollar("")),
            ("/a$/b", dollar("")),
            ("/${1", Err(ReplacementError::Open)),
            ("/${}", Err(ReplacementError::Open)),
            ("/${a b}", Err(ReplacementError::Open)),
            ("/${é}", Err(ReplacementError::Open)),
        ] {
            assert_eq!(Replacement::parse(text).map(|_| ()), expected, "{text}");
        }
    }

    #[test]
    fn groups_are_listed_and_constants_known() {
        let parse = |text| Replacement::parse(text).unwrap();
        assert_eq!(parse("/a/${1}-${x_1}").groups().collect::<Vec<_>>(), ["1", "x_1"]);
        assert_eq!(parse("/costs$$5").constant(), Some("/costs$5"));
        assert_eq!(parse("").constant(), Some(""));
        assert_eq!(parse("${1}").constant(), None);
        assert_eq!(parse("${1}.example").fill(|_| "a"), "a.example");
    }
}
