//! The row `reload`: a file of many routes replaced under load.
//!
//! One route of the file changes its upstream each time. Requests of other routes, early ones, go on at a
//! fixed rate and a poll asks the changed route until it answers differently. Everything is taken over a
//! window of five seconds, or, where that takes longer, until a second after the change.

use super::entry::Entry;
use super::field::Entrant;
use crate::bench::{PATH, Proxy, Scene};
use crate::client::Client;
use crate::contestant::{Contestant, Kind};
use crate::cpu::lifetime_ns;
use crate::memory::held_bytes;
use crate::nginx::OTHER_BODY;
use crate::open::{Failures, Offer, Outcome, percentile};
use crate::origin::Stage;
use crate::proxies::Unsupported;
use crate::site::{Site, path};
use anyhow::{Result, anyhow, bail, ensure};
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle, sleep};
use std::time::{Duration, Instant};

/// Long enough for a proxy that looks for changes every second or waits two between them.
const WINDOW: Duration = Duration::from_secs(5);
const AFTER: Duration = Duration::from_secs(1);
/// The longest that a change may take.
const PATIENCE: Duration = Duration::from_secs(30);
const BEFORE: Duration = Duration::from_secs(3);
const WARM_UP: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(20);
/// Polls from one look at the memory to the next.
const MEMORY_POLLS: u64 = 5;
const RATE_PER_S: u32 = 200;
const CONNECTIONS: usize = 16;

/// How many routes, and how often they are replaced.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Plan {
    /// Routes of the file.
    pub routes: usize,
    /// Reloads of every proxy.
    pub reloads: usize,
}

/// One reload.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// From the new file's being written until the changed route answered differently.
    pub effect_ms: f64,
    /// CPU time over what the load takes without a reload.
    pub cpu_ms: f64,
    /// Memory at its highest over that before the reload.
    pub peak_mib: f64,
    /// Latency in the window that one request in a hundred exceeded; none where the sender fell behind,
    /// because it would be the sender's.
    pub p99_us: Option<f64>,
    /// The longest latency in the window.
    pub max_us: Option<f64>,
    /// The same percentile before the first reload.
    pub p99_before_us: Option<f64>,
    /// Requests that failed in the window; polls that failed count too.
    pub failed: u64,
    /// How requests failed in the whole run of this proxy.
    pub failures: Failures,
    /// Whether the sender fell behind.
    pub fell_behind: bool,
}

/// Runs the row. A proxy that cannot take part or fails has its reason in its entry.
///
/// # Errors
/// The origin failed, or the run was interrupted.
pub fn run(scene: &mut Scene, entrants: &[Entrant], plan: &Plan) -> Result<Vec<Entry<Sample>>> {
    scene.restage(&Stage::one(1024))?;
    let mut entries = Vec::new();
    for entrant in entrants {
        let mut entry = Entry::of(entrant);
        if let Ok(contestant) = &entrant.contestant {
            match of_one(scene, contestant, plan) {
                Ok(samples) => entry.samples = samples,
                Err(error) => entry.keep(Err(error))?,
            }
        }
        scene.check_origin()?;
        entries.push(entry);
    }
    Ok(entries)
}

/// What was seen of one reload while it went on; moments are after the start.
#[derive(Default)]
struct Seen {
    at: Duration,
    until: Duration,
    /// After it was asked for.
    in_force: Option<Duration>,
    polls: u64,
    cpu_ns: u64,
    peak_bytes: u64,
    before_bytes: u64,
    failed_polls: u64,
}

fn of_one(scene: &Scene, contestant: &Contestant, plan: &Plan) -> Result<Vec<Sample>> {
    if matches!(contestant.kind, Kind::Bare(..)) {
        bail!(Unsupported("bare Pingora has no routes".to_owned()));
    }
    let site = site(scene, plan.routes);
    let mut proxy = scene.serve(contestant, &site)?;
    let offer = offer(&proxy, plan)?;
    let (start, interrupt) = (Instant::now(), &scene.interrupt);
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| offer.make_until(start, &enough, interrupt));
        let seen = Watch { scene, site, plan, start }.all(&mut proxy);
        enough.store(true, Ordering::Relaxed);
        let outcome = joined(sender)?;
        let (calm_share, seen) = seen?;
        Ok(seen.iter().map(|one| sample(one, &outcome, calm_share)).collect())
    })
}

fn offer(proxy: &Proxy, plan: &Plan) -> Result<Offer> {
    Ok(Offer {
        target: proxy.address,
        source: None,
        rate_per_s: RATE_PER_S,
        warm_up: WARM_UP,
        duration: BEFORE + PATIENCE * u32::try_from(plan.reloads)?,
        connections: CONNECTIONS,
        close: false,
        paths: vec![PATH.to_owned(), path(0)],
    })
}

/// All routes go to the origin; the other one waits for the route that changes.
fn site(scene: &Scene, routes: usize) -> Site {
    let upstreams = vec![scene.origin.upstreams[0].clone(), vec![scene.origin.other]];
    let mut site = Site::new(routes, upstreams);
    (0..routes).for_each(|index| site.point(index, 0));
    site
}

fn joined(sender: ScopedJoinHandle<'_, Result<Outcome>>) -> Result<Outcome> {
    sender.join().map_err(|_| anyhow!("the sender panicked"))?
}

struct Watch<'run> {
    scene: &'run Scene,
    site: Site,
    plan: &'run Plan,
    start: Instant,
}

impl Watch<'_> {
    /// Share of a CPU that the load takes without a reload, and what was seen of each reload.
    fn all(mut self, proxy: &mut Proxy) -> Result<(f64, Vec<Seen>)> {
        self.wait_until(WARM_UP)?;
        let before_ns = lifetime_ns(proxy.process.id())?;
        let calm = self.watch(proxy, self.start.elapsed(), "x")?;
        ensure!(calm.failed_polls == 0, "{} polls failed without a reload", calm.failed_polls);
        let spent_ns = lifetime_ns(proxy.process.id())? - before_ns;
        let calm_share = spent_ns as f64 / (calm.until - calm.at).as_nanos() as f64;
        let seen = (1..=self.plan.reloads).map(|number| self.reload(proxy, number));
        Ok((calm_share, seen.collect::<Result<Vec<Seen>>>()?))
    }

    fn reload(&mut self, proxy: &mut Proxy, number: usize) -> Result<Seen> {
        let id = proxy.process.id();
        let (before_ns, before_bytes) = (lifetime_ns(id)?, held_bytes(id)?);
        self.site.point(self.plan.routes / 2 + 1, number % 2);
        let at = self.start.elapsed();
        proxy.reload(&self.site)?;
        let expected = if number % 2 == 1 { OTHER_BODY } else { "x" };
        let seen = self.watch(proxy, at, expected)?;
        let effect = seen.in_force.unwrap_or_default();
        eprintln!("reload {number}: {}: {} ms", proxy.name, effect.as_millis());
        let cpu_ns = lifetime_ns(id)?.saturating_sub(before_ns);
        Ok(Seen { cpu_ns, before_bytes, ..seen })
    }

    /// Polls the changed route through a window that began `at`, and sees when it first answered with
    /// `expected`.
    fn watch(&self, proxy: &mut Proxy, at: Duration, expected: &str) -> Result<Seen> {
        let mut seen = Seen { at, until: at + WINDOW, ..Seen::default() };
        while seen.in_force.is_none() || self.start.elapsed() < seen.until {
            let patient = self.start.elapsed() < at + PATIENCE;
            ensure!(patient, "no effect within {} s", PATIENCE.as_secs());
            self.scene.interrupt.check()?;
            proxy.process.check_alive()?;
            self.look(proxy, expected, &mut seen);
            sleep(POLL);
        }
        Ok(seen)
    }

    fn look(&self, proxy: &Proxy, expected: &str, seen: &mut Seen) {
        match self.poll(proxy) {
            Err(_) => seen.failed_polls += 1,
            Ok(body) if seen.in_force.is_none() && body.starts_with(expected.as_bytes()) => {
                let now = self.start.elapsed();
                seen.in_force = Some(now - seen.at);
                seen.until = seen.until.max(now + AFTER);
            }
            Ok(_) => {}
        }
        if seen.polls.is_multiple_of(MEMORY_POLLS) {
            // A worker may end while it is looked at; the next look will do.
            let held_bytes = held_bytes(proxy.process.id()).unwrap_or(0);
            seen.peak_bytes = seen.peak_bytes.max(held_bytes);
        }
        seen.polls += 1;
    }

    /// What the changed route answers, asked for on a connection of its own.
    fn poll(&self, proxy: &Proxy) -> Result<Vec<u8>> {
        Client::connect(proxy.address)?.fetch(&path(self.plan.routes / 2 + 1))
    }

    fn wait_until(&self, moment: Duration) -> Result<()> {
        while self.start.elapsed() < moment {
            self.scene.interrupt.check()?;
            sleep(POLL);
        }
        Ok(())
    }
}

fn sample(seen: &Seen, outcome: &Outcome, calm_share: f64) -> Sample {
    let (at, end) = (seen.at, seen.until);
    let calm_ns = calm_share * (end - at).as_nanos() as f64;
    let during_us = outcome.latencies_us_within(at, end);
    let before_us = outcome.latencies_us_within(WARM_UP, WARM_UP + BEFORE);
    let failed = outcome.failed.iter().filter(|&&due| at <= due && due < end).count();
    let mib = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
    let fell_behind = outcome.fell_behind();
    let valid = |latency_us: Option<f64>| latency_us.filter(|_| !fell_behind);
    Sample {
        effect_ms: seen.in_force.unwrap_or_default().as_secs_f64() * 1e3,
        cpu_ms: (seen.cpu_ns as f64 - calm_ns).max(0.0) / 1e6,
        peak_mib: mib(seen.peak_bytes.saturating_sub(seen.before_bytes)),
        p99_us: valid(percentile(&during_us, 0.99)),
        max_us: valid(during_us.last().copied()),
        p99_before_us: valid(percentile(&before_us, 0.99)),
        failed: failed as u64 + seen.failed_polls,
        failures: outcome.failures,
        fell_behind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open::Answer;

    fn outcome() -> Outcome {
        let ms = Duration::from_millis;
        let calm = (500..3500).map(|at| Answer { due: ms(at), latency: ms(1) });
        let during = (3500..8500).map(|at| Answer { due: ms(at), latency: ms(3) });
        let failed = vec![ms(3600), ms(9000)];
        Outcome { answers: calm.chain(during).collect(), failed, ..Outcome::default() }
    }

    #[test]
    fn a_reload_is_what_happened_in_its_window_less_what_happens_anyway() {
        let seen = Seen {
            at: Duration::from_millis(3500),
            until: Duration::from_millis(8500),
            in_force: Some(Duration::from_millis(250)),
            polls: 100,
            cpu_ns: 900_000_000,
            peak_bytes: 48 << 20,
            before_bytes: 32 << 20,
            failed_polls: 2,
        };
        let sample = sample(&seen, &outcome(), 0.1);
        assert_eq!((sample.effect_ms, sample.cpu_ms, sample.peak_mib), (250.0, 400.0, 16.0));
        assert_eq!((sample.p99_us, sample.p99_before_us), (Some(3000.0), Some(1000.0)));
        assert_eq!(sample.failed, 3);
    }
}
