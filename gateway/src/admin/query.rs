//! What queries say that several views understand: which rows, and numbers.

use super::problem::{Parameters, Problem};

/// Rows of one answer, at most.
pub(super) const ROWS_MAX: usize = 500;

/// Rows that an answer may pass over, at most: there are never as many.
pub(super) const OFFSET_MAX: usize = u32::MAX as usize;

/// Which rows a query asks for.
pub(super) struct Rows {
    /// What is in their names, in lower case; empty for all of them.
    pub(super) search: String,
    /// How many of them are passed over.
    pub(super) offset: usize,
    /// How many are told at most.
    pub(super) limit: usize,
}

impl Rows {
    /// Those of a query, `rows` of them unless it says how many.
    pub(super) fn of(parameters: &Parameters, rows: usize) -> Result<Self, Problem> {
        Ok(Self {
            search: parameters.one("search")?.unwrap_or("").trim().to_lowercase(),
            offset: number(parameters, "offset", 0, OFFSET_MAX)?,
            limit: number(parameters, "limit", rows, ROWS_MAX)?,
        })
    }

    /// Those of a query that may say nothing else.
    pub(super) fn only(parameters: Parameters, rows: usize) -> Result<Self, Problem> {
        Self::of(&parameters.only(&["search", "offset", "limit"])?, rows)
    }
}

/// A number of a query, up to `most`.
fn number(
    parameters: &Parameters,
    name: &str,
    default: usize,
    most: usize,
) -> Result<usize, Problem> {
    let Some(text) = parameters.one(name)? else { return Ok(default) };
    let number = text.parse().ok().filter(|number| *number <= most);
    number.ok_or_else(|| unknown(name, text, &format!("a number up to {most}")))
}

/// Refuses what a parameter says.
pub(super) fn unknown(parameter: &str, value: &str, known: &str) -> Problem {
    Problem::bad_request(format!("{parameter} is {value:?}: write {known}"))
}
