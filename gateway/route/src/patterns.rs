//! Regexes that are compiled already, by the pattern that was written.
//!
//! Compiling a pattern takes some tens of microseconds, a thousand times what reading a route takes
//! otherwise. A table that replaces another therefore takes over the regexes of those patterns that
//! it shares with it. This is apart from the matching, which does not care where its regexes come
//! from. It holds no table: what [`RouteTable`](crate::RouteTable) builds on top of the regexes is
//! taken over there.

use regex::Regex;

use crate::hash::Map;
use crate::matcher::{Match, PathMatch, PathRegex, ValueMatch};

/// The compiled patterns of a configuration, to make the next one's matches with.
#[derive(Debug, Default)]
pub struct Patterns {
    paths: Map<Box<str>, PathRegex>,
    /// By the anchored pattern.
    values: Map<Box<str>, Regex>,
    compiled: usize,
}

impl Patterns {
    /// The patterns of `matches`. Linear in their number; no regex is copied.
    pub fn of<'m>(matches: impl IntoIterator<Item = &'m Match>) -> Self {
        let mut patterns = Self::default();
        matches.into_iter().for_each(|route| patterns.learn(route));
        patterns
    }

    /// Matches paths as [`PathMatch::regex`] does, and compiles the pattern only if it is a new one.
    ///
    /// # Errors
    ///
    /// As [`PathMatch::regex`].
    pub fn path(&mut self, pattern: &str) -> Result<PathMatch, regex::Error> {
        if let Some(known) = self.paths.get(pattern) {
            return Ok(PathMatch::Regex(known.clone()));
        }
        let regex = PathRegex::new(pattern)?;
        self.compiled += 1;
        self.paths.insert(pattern.into(), regex.clone());
        Ok(PathMatch::Regex(regex))
    }

    /// Matches values as [`ValueMatch::regex`] does, and compiles the pattern only if it is a new one.
    ///
    /// # Errors
    ///
    /// As [`ValueMatch::regex`].
    pub fn value(&mut self, pattern: &str) -> Result<ValueMatch, regex::Error> {
        let forms = ValueMatch::anchored(pattern);
        if let Some(known) = forms.iter().find_map(|form| self.values.get(&**form)) {
            return Ok(ValueMatch::Regex(known.clone()));
        }
        let value = ValueMatch::regex(pattern)?;
        self.compiled += 1;
        self.learn_value(&value);
        Ok(value)
    }

    /// How many patterns were compiled, and not taken over.
    pub fn compiled(&self) -> usize {
        self.compiled
    }

    fn learn(&mut self, route: &Match) {
        if let PathMatch::Regex(regex) = &route.path {
            self.paths.insert(regex.as_str().into(), regex.clone());
        }
        let headers = route.headers.iter().map(|field| &field.value);
        let query = route.query.iter().map(|field| &field.value);
        let cookies = route.cookies.iter().map(|field| &field.value);
        headers.chain(query).chain(cookies).for_each(|value| self.learn_value(value));
    }

    fn learn_value(&mut self, value: &ValueMatch) {
        if let ValueMatch::Regex(regex) = value {
            self.values.insert(regex.as_str().into(), regex.clone());
        }
    }
}

#[cfg(test)]
mod tests;
