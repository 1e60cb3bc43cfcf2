//! What becomes of each field of Envoy's configuration: taken, ignored or refused.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::Serialize;

use crate::resources::ResourceKind;

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Sallyport cannot do what it says, so that its resource is not used.
    Refused,
    /// It has no effect here, and the reason why that is safe is told.
    Ignored,
    /// It is in force.
    Taken,
}

impl Outcome {
    /// The word for it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Ignored => "ignored",
            Self::Taken => "taken",
        }
    }
}

/// What becomes of one field or resource, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// What becomes of it.
    pub outcome: Outcome,
    /// The path of the field, by Envoy's own names.
    pub place: String,
    /// Why, or what to write instead.
    pub what: String,
    /// The resource that is not there: what is refused for it may be taken once it comes.
    #[serde(skip)]
    pub waits_for: Option<(ResourceKind, String)>,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}: {}", self.outcome.label(), self.place, self.what)
    }
}

/// Collects findings while messages are read.
#[derive(Debug, Default)]
pub struct Findings {
    found: RefCell<Vec<Finding>>,
    /// Fields that were read and kept.
    taken: Cell<usize>,
}

impl Findings {
    /// Notes a finding.
    pub(crate) fn note(&self, outcome: Outcome, place: &str, what: impl Into<String>) {
        let (place, what) = (place.to_owned(), what.into());
        self.found.borrow_mut().push(Finding { outcome, place, what, waits_for: None });
    }

    /// Notes that the resource of this kind and name is not there.
    pub(crate) fn miss(&self, place: &str, kind: ResourceKind, name: &str) {
        self.found.borrow_mut().push(Finding {
            outcome: Outcome::Refused,
            place: place.to_owned(),
            what: format!("names {} {name:?}, which is not there", kind.short_name()),
            waits_for: Some((kind, name.to_owned())),
        });
    }

    /// Counts a field that was read.
    pub(crate) fn count(&self) {
        self.taken.set(self.taken.get() + 1);
    }

    /// How much was found so far.
    pub(crate) fn mark(&self) -> Mark {
        Mark { findings: self.found.borrow().len(), taken: self.taken.get() }
    }

    /// What was found since.
    pub(crate) fn since(&self, mark: Mark) -> Found {
        let findings = self.found.borrow()[mark.findings..].into();
        Found { findings, taken: self.taken.get() - mark.taken }
    }

    /// Adds what was found elsewhere.
    pub(crate) fn add(&self, found: &Found) {
        self.found.borrow_mut().extend_from_slice(&found.findings);
        self.taken.set(self.taken.get() + found.taken);
    }

    /// All findings, each once, in the order of their places.
    #[must_use]
    pub fn into_report(self) -> Report {
        let mut findings = self.found.into_inner();
        findings
            .sort_by(|a, b| (&a.place, a.outcome, &a.what).cmp(&(&b.place, b.outcome, &b.what)));
        findings.dedup();
        Report { findings, fields_taken: self.taken.get() }
    }
}

/// A moment while findings are collected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    findings: usize,
    taken: usize,
}

/// Some findings.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    findings: Box<[Finding]>,
    taken: usize,
}

/// What became of the fields of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What is worth telling, in the order of the places.
    pub findings: Vec<Finding>,
    /// How many fields are in force; they are not listed.
    pub fields_taken: usize,
}

impl Report {
    /// The findings with this outcome.
    pub fn with(&self, outcome: Outcome) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.outcome == outcome)
    }

    /// Whether something is refused.
    #[must_use]
    pub fn has_refusals(&self) -> bool {
        self.with(Outcome::Refused).next().is_some()
    }

    /// The share of the fields that were set and are in force, in percent.
    #[must_use]
    pub fn percent_taken(&self) -> f64 {
        let lost = self.with(Outcome::Refused).count() + self.with(Outcome::Ignored).count();
        let all = self.fields_taken + lost;
        if all == 0 { 100.0 } else { 100.0 * self.fields_taken as f64 / all as f64 }
    }
}
