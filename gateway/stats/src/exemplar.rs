//! Exemplars: for each route and each exposed bucket of its durations, one request that can be
//! looked up, by its trace.
//!
//! They are noted by whoever sends traces and read by scrapes, so that no request waits for the
//! lock.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{histogram, route::RouteName};

/// Routes that have exemplars at most: each takes a kilobyte.
const ROUTES_MAX: usize = 10_000;

/// The latest exemplars of all routes.
#[derive(Debug, Default)]
pub struct Exemplars(Mutex<HashMap<RouteName, OfRoute>>);

/// By exposed edge; the last is for what is above all of them.
type OfRoute = Box<[Option<Exemplar>]>;

/// One request of a bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exemplar {
    /// Its trace.
    pub trace_id: u128,
    /// How long it took.
    pub duration: Duration,
    /// When it was over.
    pub at: SystemTime,
}

impl Exemplars {
    /// Makes `exemplar` the latest of its bucket. Routes beyond the ten thousandth have none.
    pub fn note(&self, virtual_host: &Arc<str>, route: &Arc<str>, exemplar: Exemplar) {
        let mut routes = self.lock();
        let name = (Arc::clone(virtual_host), Arc::clone(route));
        if routes.len() >= ROUTES_MAX && !routes.contains_key(&name) {
            return;
        }
        let none = || vec![None; histogram::exposed_buckets()].into();
        let of_route = routes.entry(name).or_insert_with(none);
        of_route[histogram::exposed_index(exemplar.duration)] = Some(exemplar);
    }

    /// Forgets those of routes that are not among `names`.
    pub(crate) fn keep(&self, names: &[RouteName]) {
        let mut routes = self.lock();
        if !routes.is_empty() {
            let names: HashSet<_> = names.iter().collect();
            routes.retain(|name, _| names.contains(name));
        }
    }

    /// The exemplar of a route's bucket, counted from the lowest.
    pub(crate) fn of(&self, virtual_host: &str, route: &str) -> Option<OfRoute> {
        let name = (virtual_host.into(), route.into());
        self.lock().get(&name).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RouteName, OfRoute>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exemplar {
    /// Appends what stands behind a sample in OpenMetrics.
    pub(crate) fn append(&self, text: &mut String) {
        let at = self.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let (id, seconds) = (self.trace_id, self.duration.as_secs_f64());
        // Writing to a string cannot fail.
        write!(text, " # {{trace_id=\"{id:032x}\"}} {seconds} {at:.3}").unwrap_or_default();
    }
}
