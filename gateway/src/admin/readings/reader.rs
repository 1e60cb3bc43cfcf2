//! Takes the readings: what was counted since the last one, of everything and of each part.
//!
//! A route without new requests costs a look at one line of memory for each worker; one with new
//! requests has its histogram read.

use std::collections::HashMap;
use std::sync::Arc;

use sallyport_stats::histogram::BUCKETS;
use sallyport_stats::{ErrorKind, RouteStats};

use super::super::Admin;
use super::Reading;
use super::history::STEP_S;
use super::window::{Added, Budget, Figures, HALF_S, Scratch, Span, Window};
use crate::snapshot::{NONE, Snapshot};
use crate::upstream::Upstream;

/// Bytes that counts of durations may take. 10,000 routes, each with requests from 1 ms to 1 s,
/// take 19 MiB at most.
pub(super) const READER_BYTES_MAX: usize = 24 << 20;

/// What figures are of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in super::super) enum Series {
    /// Every request.
    All,
    /// A virtual host.
    Host(Arc<str>),
    /// A virtual host and a route of it.
    Route(Arc<str>, Arc<str>),
    /// An upstream: its attempts.
    Upstream(Arc<str>),
}

/// What the figures of readings are of, in their order.
#[derive(Clone, Debug)]
pub(in super::super) struct Names {
    series: Vec<Series>,
    /// The names in lower case, for searches.
    lower: Vec<Box<str>>,
    places: HashMap<Series, u32>,
    bytes: usize,
}

impl Names {
    pub(super) fn of(series: Vec<Series>) -> Self {
        let lower: Vec<Box<str>> =
            series.iter().map(|it| it.text().to_lowercase().into()).collect();
        let places = series.iter().enumerate();
        let places: HashMap<_, _> = places.map(|(at, it)| (it.clone(), at as u32)).collect();
        let entry = 3 * size_of::<Series>() + size_of::<Box<str>>();
        let text: usize = lower.iter().map(|it| it.len()).sum();
        // The names themselves are the configuration's, or were until it was replaced.
        let bytes = series.len() * entry + 2 * text;
        Self { series, lower, places, bytes }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    /// What the figures at `place` are of.
    pub(in super::super) fn series(&self, place: usize) -> Option<&Series> {
        self.series.get(place)
    }

    /// Everything, each with its name in lower case.
    pub(in super::super) fn all(&self) -> impl Iterator<Item = (&Series, &str)> {
        self.series.iter().zip(self.lower.iter().map(|it| &**it))
    }

    /// The name at `place`, in lower case.
    pub(in super::super) fn lower_case(&self, place: usize) -> &str {
        self.lower.get(place).map_or("", |it| it)
    }

    /// Where the figures of `series` are.
    pub(in super::super) fn place(&self, series: &Series) -> Option<u32> {
        self.places.get(series).copied()
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Series {
    fn text(&self) -> String {
        match self {
            Self::All => String::new(),
            Self::Host(name) | Self::Upstream(name) => name.to_string(),
            Self::Route(host, route) => format!("{host} {route}"),
        }
    }
}

/// What was counted of one thing up to the last reading.
#[derive(Debug, Default)]
struct Total {
    requests: u64,
    errors: u64,
    client_errors: u64,
    durations: Span,
    /// Durations counted, which may be fewer than requests for a moment.
    timed: u64,
}

/// A route or an upstream: its total, and what was added to that lately.
#[derive(Debug, Default)]
struct Tracked {
    total: Option<Total>,
    window: Window,
}

/// What is remembered from one reading to the next.
#[derive(Debug)]
pub(super) struct Reader {
    version: u64,
    names: Arc<Names>,
    all: Window,
    hosts: Vec<Window>,
    /// Those that match nothing first, then those of each virtual host in turn.
    routes: Vec<Tracked>,
    upstreams: Vec<Tracked>,
    budget: Budget,
    scratch: Scratch,
    counts: Box<[u64; BUCKETS]>,
    seconds: u64,
    dropped: Option<Vec<u64>>,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            version: 0,
            names: Arc::new(Names::of(Vec::new())),
            all: Window::default(),
            hosts: Vec::new(),
            routes: Vec::new(),
            upstreams: Vec::new(),
            budget: Budget(READER_BYTES_MAX),
            scratch: Scratch::default(),
            counts: Box::new([0; BUCKETS]),
            seconds: 0,
            dropped: None,
        }
    }
}

impl Reader {
    /// Reads what was counted since the last reading. Every step that is over goes to the history.
    pub(super) fn read(&mut self, admin: &Admin, at_unix_s: f64) -> Reading {
        let snapshot = admin.reloader.live().current();
        if snapshot.version != self.version {
            self.follow(&snapshot);
        }
        // The first reading is what others are compared with: after it, and six more, half a window
        // is over.
        let over_s = self.seconds.saturating_sub(1);
        if over_s > 0 && over_s.is_multiple_of(HALF_S) {
            if over_s.is_multiple_of(STEP_S) {
                self.keep(admin, at_unix_s as u64);
            }
            self.turn();
        }
        self.read_routes(&snapshot);
        self.read_upstreams(&snapshot);
        let figures = self.figures(window_s(self.seconds));
        if let Some(all) = figures.first() {
            admin.readings.history().add_recent(at_unix_s as u64, *all);
        }
        self.seconds += 1;
        let (version, names) = (self.version, self.names.clone());
        let is_refused = admin.reloader.status().refused.is_some();
        Reading { at_unix_s, version, is_refused, names, figures }
    }

    /// Takes over the names of `snapshot`. What is still there keeps its window.
    fn follow(&mut self, snapshot: &Snapshot) {
        let series = series_of(snapshot);
        self.version = snapshot.version;
        if self.names.series == series {
            return;
        }
        let before = &self.names.series;
        // Everything together comes first, then the virtual hosts.
        let rest = before.iter().skip(1 + self.hosts.len()).cloned();
        let of_hosts = before.iter().skip(1).take(self.hosts.len()).cloned();
        let mut hosts: HashMap<_, _> = of_hosts.zip(self.hosts.drain(..)).collect();
        let windows = self.routes.drain(..).chain(self.upstreams.drain(..));
        let mut tracked: HashMap<_, _> = rest.zip(windows).collect();
        for series in &series {
            match series {
                Series::All => {}
                Series::Host(_) => self.hosts.push(hosts.remove(series).unwrap_or_default()),
                Series::Route(..) => self.routes.push(tracked.remove(series).unwrap_or_default()),
                Series::Upstream(_) => {
                    self.upstreams.push(tracked.remove(series).unwrap_or_default());
                }
            }
        }
        hosts.values_mut().for_each(|window| window.free(&mut self.budget));
        for gone in tracked.values_mut() {
            gone.window.free(&mut self.budget);
            gone.total.iter_mut().for_each(|total| total.durations.free(&mut self.budget));
        }
        self.names = Arc::new(Names::of(series));
    }

    fn turn(&mut self) {
        let budget = &mut self.budget;
        self.all.turn(budget);
        self.hosts.iter_mut().for_each(|window| window.turn(budget));
        self.routes.iter_mut().for_each(|it| it.window.turn(budget));
        self.upstreams.iter_mut().for_each(|it| it.window.turn(budget));
    }

    fn keep(&mut self, admin: &Admin, at_unix_s: u64) {
        let figures = self.figures(STEP_S as f32);
        let dropped = admin.classifier.as_ref().and_then(|classifier| classifier.dropped());
        let mut history = admin.readings.history();
        history.add(at_unix_s, &self.names, &figures);
        if let (Some(before), Some(now)) = (&self.dropped, &dropped) {
            let added = now.iter().zip(before).map(|(now, before)| now.saturating_sub(*before));
            history.add_drops(at_unix_s, added.collect());
        }
        self.dropped = dropped;
    }

    fn figures(&mut self, seconds: f32) -> Vec<Figures> {
        let scratch = &mut self.scratch;
        let windows = std::iter::once(&mut self.all).chain(&mut self.hosts);
        let windows = windows.chain(self.routes.iter_mut().map(|it| &mut it.window));
        let windows = windows.chain(self.upstreams.iter_mut().map(|it| &mut it.window));
        windows.map(|window| window.figures(seconds, scratch)).collect()
    }

    fn read_routes(&mut self, snapshot: &Snapshot) {
        let unmatched = [(0, &snapshot.unmatched)].into_iter();
        let hosts = snapshot.hosts.iter().enumerate();
        let routes =
            hosts.flat_map(|(host, it)| it.routes.iter().map(move |it| (host + 1, &it.stats)));
        let mut active = vec![0; self.hosts.len()];
        for (tracked, (host, stats)) in self.routes.iter_mut().zip(unmatched.chain(routes)) {
            let Some(window) = self.hosts.get_mut(host) else { continue };
            let into = [window, &mut self.all];
            let now = read_route(tracked, stats, into, &mut self.counts, &mut self.budget);
            active[host] += now;
        }
        self.all.set_active(active.iter().sum());
        let hosts = self.hosts.iter_mut().zip(active);
        hosts.for_each(|(window, active)| window.set_active(active));
    }

    fn read_upstreams(&mut self, snapshot: &Snapshot) {
        for (tracked, upstream) in self.upstreams.iter_mut().zip(&snapshot.upstreams) {
            read_upstream(tracked, upstream, &mut self.counts, &mut self.budget);
        }
    }
}

/// How long a window is, `seconds` after the first reading.
fn window_s(seconds: u64) -> f32 {
    let length = match seconds.checked_sub(HALF_S + 1) {
        Some(after) => HALF_S + 1 + after % HALF_S,
        None => seconds.max(1),
    };
    length as f32
}

fn series_of(snapshot: &Snapshot) -> Vec<Series> {
    let none: Arc<str> = NONE.into();
    let mut series = vec![Series::All, Series::Host(none.clone())];
    series.extend(snapshot.hosts.iter().map(|host| Series::Host(host.name.clone())));
    series.push(Series::Route(none.clone(), none));
    for host in &snapshot.hosts {
        let name =
            |route: &crate::snapshot::Route| Series::Route(host.name.clone(), route.name.clone());
        series.extend(host.routes.iter().map(name));
    }
    series.extend(snapshot.upstreams.iter().map(|it| Series::Upstream(it.spec.name.clone())));
    series
}

/// Adds what is new of a route to its window and to those `into`; returns its requests under way.
fn read_route(
    tracked: &mut Tracked,
    stats: &RouteStats,
    into: [&mut Window; 2],
    counts: &mut [u64; BUCKETS],
    budget: &mut Budget,
) -> u64 {
    let now = stats.totals();
    tracked.window.set_active(now.active);
    let is_settled = tracked.total.as_ref().is_some_and(|total| {
        total.requests == now.requests && total.errors == now.errors && total.timed == now.requests
    });
    if is_settled {
        return now.active;
    }
    counts.fill(0);
    stats.add_durations(counts);
    let seen = (now.requests, now.errors, now.client_errors);
    add_new(tracked, seen, counts, into, budget);
    now.active
}

fn read_upstream(
    tracked: &mut Tracked,
    upstream: &Upstream,
    counts: &mut [u64; BUCKETS],
    budget: &mut Budget,
) {
    let (mut requests, mut errors, mut client_errors, mut active) = (0, 0, 0, 0);
    for member in upstream.endpoints().members() {
        let counted = member.endpoint.stats.snapshot();
        requests += counted.requests();
        active += counted.active();
        client_errors += counted.errors(ErrorKind::ClientError);
        let all: u64 = ErrorKind::ALL.iter().map(|kind| counted.errors(*kind)).sum();
        errors += all - counted.errors(ErrorKind::ClientError).min(all);
    }
    tracked.window.set_active(active);
    let is_settled = |total: &Total| (total.requests, total.errors) == (requests, errors);
    if tracked.total.as_ref().is_some_and(is_settled) && active == 0 {
        return;
    }
    counts.fill(0);
    upstream.account.stats.add_durations(counts);
    add_new(tracked, (requests, errors, client_errors), counts, [], budget);
}

/// Adds the difference between what is counted now and what was; nothing of what was counted before
/// it was looked at for the first time, or before it began anew.
fn add_new<const N: usize>(
    tracked: &mut Tracked,
    (requests, errors, client_errors): (u64, u64, u64),
    counts: &[u64; BUCKETS],
    into: [&mut Window; N],
    budget: &mut Budget,
) {
    let is_first = tracked.total.as_ref().is_none_or(|total| requests < total.requests);
    let total = tracked.total.get_or_insert_default();
    if is_first {
        total.durations.free(budget);
    }
    let added = Added {
        requests: requests.saturating_sub(total.requests),
        errors: errors.saturating_sub(total.errors),
        client_errors: client_errors.saturating_sub(total.client_errors),
        is_partial: false,
    };
    (total.requests, total.errors, total.client_errors) = (requests, errors, client_errors);
    let new = total.add_durations(counts, budget);
    if is_first {
        return;
    }
    let is_partial = total.durations.is_partial();
    let new = if is_partial { &[][..] } else { &new };
    for window in into.into_iter().chain([&mut tracked.window]) {
        window.add(Added { is_partial, ..added }, new, budget);
    }
}

impl Total {
    /// Takes over the counts of durations; returns what is new, by bucket.
    fn add_durations(&mut self, counts: &[u64; BUCKETS], budget: &mut Budget) -> Vec<(usize, u32)> {
        let mut new = Vec::new();
        self.timed = 0;
        for (bucket, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            self.timed += count;
            // What wraps has the right difference all the same; one that is negative is none.
            let more = (*count as u32).wrapping_sub(self.durations.count(bucket));
            if (1..=u32::MAX / 2).contains(&more) {
                new.push((bucket, more));
                self.durations.add(bucket, more, budget);
            }
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A route, what it has counted, and what its window shows after each reading.
    fn read(readings: &[(u64, &[(usize, u64)])]) -> Vec<Figures> {
        let (mut tracked, mut all) = (Tracked::default(), Window::default());
        let (mut budget, mut scratch) = (Budget(READER_BYTES_MAX), Scratch::default());
        let shown = readings.iter().map(|(requests, buckets)| {
            let mut counts = [0; BUCKETS];
            buckets.iter().for_each(|(bucket, count)| counts[*bucket] = *count);
            add_new(&mut tracked, (*requests, 0, 0), &counts, [&mut all], &mut budget);
            assert_eq!(all.figures(1.0, &mut scratch), tracked.window.figures(1.0, &mut scratch));
            all.figures(1.0, &mut scratch)
        });
        shown.collect()
    }

    #[test]
    fn what_was_counted_before_is_not_new_and_a_new_beginning_is_no_flood() {
        let shown = read(&[
            (1_000, &[(90, 1_000)]),
            (1_001, &[(90, 1_000), (200, 1)]),
            // The route was gone for a moment, and counts anew.
            (3, &[(90, 3)]),
            (4, &[(90, 4)]),
        ]);
        let found: Vec<_> = shown.iter().map(|it| (it.requests, it.quantiles)).collect();
        let first = (1, Some([200; 3]));
        assert_eq!(found, [(0, None), first, first, (2, Some([90, 200, 200]))]);
    }

    #[test]
    fn a_window_is_five_to_ten_seconds_once_it_can_be() {
        let lengths: Vec<_> = (0..18).map(window_s).collect();
        let expected = [1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 6, 7, 8, 9, 10, 6, 7];
        assert_eq!(lengths, expected.map(|it| it as f32));
    }
}
