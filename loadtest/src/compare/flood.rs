//! The row `flood`: one source far beyond its limit, and what another notices of it.
//!
//! Both send from loopback addresses inside a network namespace of the row's own, which is gone when
//! the last of its processes is. Each proxy refuses as cheaply as it can be told to. The bad source opens
//! a connection for every request; the good one keeps its own open.

use super::entry::Entry;
use super::field::Entrant;
use crate::bench::{PATH, Proxy, Scene};
use crate::contestant::Contestant;
use crate::cpu::lifetime_ns;
use crate::open::{Figures, Offer, Outcome};
use crate::origin::Stage;
use crate::site::{Feature, Site};
use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

const LIMIT_PER_S: u32 = 1000;
/// So many beyond the limit.
const BEYOND_PER_S: u32 = 2000;
const GOOD_PER_S: u32 = 500;
const ROUTES: usize = 100;
const GOOD: Ipv4Addr = Ipv4Addr::LOCALHOST;
const BAD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const CALM: Duration = Duration::from_secs(2);
const WARM_UP: Duration = Duration::from_millis(500);

/// One flood of one proxy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// Share of a CPU that the proxy took without the bad source.
    pub cpu_calm: f64,
    /// Share of a CPU that it took during the flood.
    pub cpu_flood: f64,
    /// The good source's median latency during the flood; none where a sender fell behind, because it
    /// would be the sender's.
    pub p50_us: Option<f64>,
    /// What one of its requests in a hundred exceeded.
    pub p99_us: Option<f64>,
    /// The same without the bad source.
    pub p99_calm_us: Option<f64>,
    /// Requests of the good source that failed.
    pub failed: u64,
    /// Requests of the bad source that were answered.
    pub bad_answered: u64,
    /// Requests of the bad source that were refused, in whatever way.
    pub bad_refused: u64,
    /// Whether a sender fell behind.
    pub fell_behind: bool,
}

/// Makes the loopback of a new namespace usable.
///
/// # Errors
/// There is no `ip`, or this is not root in a namespace.
pub fn raise_loopback() -> Result<()> {
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    let status = status.context("ip (Debian package iproute2)")?;
    ensure!(status.success(), "ip link set lo up: {status}");
    Ok(())
}

/// Runs the row, `rounds` floods of `duration` each, in the namespace this process is in.
///
/// # Errors
/// The origin failed, or the run was interrupted.
pub fn run(
    scene: &mut Scene,
    entrants: &[Entrant],
    rounds: usize,
    duration: Duration,
) -> Result<Vec<Entry<Sample>>> {
    scene.restage(&Stage::one(1024))?;
    let mut entries: Vec<Entry<Sample>> = entrants.iter().map(Entry::of).collect();
    for _ in 0..rounds {
        for (entrant, entry) in entrants.iter().zip(&mut entries) {
            if let (Ok(contestant), None) = (&entrant.contestant, &entry.absent) {
                entry.keep(of_one(scene, contestant, duration))?;
            }
        }
        scene.check_origin()?;
    }
    Ok(entries)
}

fn of_one(scene: &Scene, contestant: &Contestant, duration: Duration) -> Result<Sample> {
    let site = Site::new(ROUTES, scene.origin.upstreams.clone());
    let proxy = scene.serve(contestant, &site.with(Feature::Flood { per_s: LIMIT_PER_S }))?;
    let never = AtomicBool::new(false);
    let calm = part(scene, &proxy, |start| {
        good(&proxy, CALM).make_until(start, &never, &scene.interrupt)
    })?;
    let flood = part(scene, &proxy, |start| both(scene, &proxy, duration, start))?;
    let sample = sample(&calm, &flood)?;
    eprintln!("flood: {}: {:.1} % of a CPU", proxy.name, sample.cpu_flood * 100.0);
    Ok(sample)
}

/// What was sent, and the share of a CPU that the proxy took for it.
struct Part<Sent> {
    sent: Sent,
    cpu: f64,
}

fn part<Sent>(
    scene: &Scene,
    proxy: &Proxy,
    send: impl FnOnce(Instant) -> Result<Sent>,
) -> Result<Part<Sent>> {
    scene.interrupt.check()?;
    let id = proxy.process.id();
    let (start, before_ns) = (Instant::now(), lifetime_ns(id)?);
    let sent = send(start)?;
    let spent_ns = lifetime_ns(id)? - before_ns;
    Ok(Part { sent, cpu: spent_ns as f64 / start.elapsed().as_nanos() as f64 })
}

fn good(proxy: &Proxy, duration: Duration) -> Offer {
    Offer {
        target: proxy.address,
        source: Some(GOOD),
        rate_per_s: GOOD_PER_S,
        warm_up: WARM_UP,
        duration,
        connections: 16,
        close: false,
        paths: vec![PATH.to_owned()],
    }
}

fn bad(proxy: &Proxy, duration: Duration) -> Offer {
    let rate_per_s = LIMIT_PER_S + BEYOND_PER_S;
    let good = good(proxy, duration);
    Offer { source: Some(BAD), rate_per_s, connections: 512, close: true, ..good }
}

fn both(
    scene: &Scene,
    proxy: &Proxy,
    duration: Duration,
    start: Instant,
) -> Result<(Outcome, Outcome)> {
    let (good, bad) = (good(proxy, duration), bad(proxy, duration));
    let (never, interrupt) = (AtomicBool::new(false), &scene.interrupt);
    thread::scope(|scope| {
        let flood = scope.spawn(|| bad.make_until(start, &never, interrupt));
        let good = good.make_until(start, &never, interrupt);
        let bad = flood.join().map_err(|_| anyhow!("the sender panicked"))?;
        Ok((good?, bad?))
    })
}

fn sample(calm: &Part<Outcome>, flood: &Part<(Outcome, Outcome)>) -> Result<Sample> {
    let (good, bad) = &flood.sent;
    let (quiet, loud): (Figures, Figures) = (calm.sent.figures(), good.figures());
    let bad_refused = bad.failures.total();
    ensure!(bad_refused > 0, "refused nothing of {} requests", bad.planned);
    Ok(Sample {
        cpu_calm: calm.cpu,
        cpu_flood: flood.cpu,
        p50_us: loud.p50_us.filter(|_| !loud.fell_behind),
        p99_us: loud.p99_us.filter(|_| !loud.fell_behind),
        p99_calm_us: quiet.p99_us.filter(|_| !quiet.fell_behind),
        failed: loud.failures.total(),
        bad_answered: bad.answers.len() as u64,
        bad_refused,
        fell_behind: quiet.fell_behind || loud.fell_behind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open::Failures;

    fn part_of<Sent>(sent: Sent, cpu: f64) -> Part<Sent> {
        Part { sent, cpu }
    }

    #[test]
    fn a_flood_that_nothing_is_refused_of_is_no_figure() {
        let refusing = Outcome {
            failures: Failures { closed: 7, ..Failures::default() },
            ..Outcome::default()
        };
        let calm = part_of(Outcome::default(), 0.1);
        let flood = |bad| part_of((Outcome::default(), bad), 0.3);
        let sample_of = |bad| sample(&calm, &flood(bad));
        assert!(sample_of(Outcome::default()).is_err());
        let sample = sample_of(refusing).unwrap();
        assert_eq!((sample.cpu_calm, sample.cpu_flood, sample.bad_refused), (0.1, 0.3, 7));
    }
}
