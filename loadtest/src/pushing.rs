//! What it costs that statistics are pushed, when nobody takes them.
//!
//! The same gateway twice, with and without three exporters whose receivers are dead in three ways,
//! in turns under the same load as in [`mod@crate::requests`]. Both run all the time, so what the
//! pushing one does between requests also falls into the other's turns: not into its CPU time, which is
//! each process's own, but into its latencies. The run only counts if it was really pushed and none of
//! it was delivered.

use crate::bench::{Proxy, Scene};
use crate::client::Client;
use crate::contestant::{Contestant, Kind};
use crate::figures::Spread;
use crate::requests::{self, Plan, Sample, Series};
use crate::site::Feature;
use crate::verdict::{self, Verdict};
use anyhow::{Context, Result, ensure};
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The gateway that pushes nothing, and what ratios are taken to.
pub const OFF: &str = "sallyport";
/// The one that pushes.
pub const ON: &str = "sallyport, push";

/// How long the last breaker may take to open: five failures, of a second and a flush each.
const OPENING: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// Receivers that take nothing: a closed port, a socket that nobody reads, and, in the gateway's file, a
/// name that has no address.
#[derive(Debug)]
pub struct Dead {
    closed: UdpSocket,
    silent: TcpListener,
}

impl Dead {
    /// Two addresses that are kept for as long as this is.
    ///
    /// # Errors
    /// There is no free port.
    pub fn new() -> Result<Self> {
        Ok(Self { closed: deaf()?, silent: TcpListener::bind("127.0.0.1:0")? })
    }

    fn feature(&self) -> Result<Feature> {
        Ok(Feature::Push { closed: self.closed.local_addr()?, silent: self.silent.local_addr()? })
    }

    /// The gateway without and with them.
    ///
    /// # Errors
    /// The program is not there.
    pub fn contestants(&self, gateway: PathBuf) -> Result<Vec<Contestant>> {
        let off = Contestant::plain(OFF, Kind::Sallyport(gateway));
        let on = Contestant { name: ON.to_owned(), feature: self.feature()?, ..off.clone() };
        off.check()?;
        Ok(vec![off, on])
    }
}

/// A bound socket that is connected elsewhere: datagrams from others are answered as by a closed port,
/// and nobody else can take it.
fn deaf() -> Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect("127.0.0.1:9")?;
    Ok(socket)
}

/// Runs the plan, and sees that the gateway did push and reached nobody.
///
/// # Errors
/// As [`requests::run`], and if something was delivered or nothing was tried.
pub fn run(scene: &mut Scene, contestants: &[Contestant], plan: &Plan) -> Result<Vec<Series>> {
    let (series, proxies) = requests::run_and_keep(scene, contestants, plan, false)?;
    for proxy in proxies.iter().filter(|proxy| proxy.name == ON) {
        check_that_it_pushed(scene, proxy)?;
    }
    Ok(series)
}

fn check_that_it_pushed(scene: &Scene, proxy: &Proxy) -> Result<()> {
    let deadline = Instant::now() + OPENING;
    loop {
        scene.interrupt.check()?;
        let body = Client::connect(proxy.admin())?.fetch("/metrics")?;
        let metrics = String::from_utf8_lossy(&body);
        match undelivered(&metrics) {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error).context(ON),
            Err(_) => sleep(POLL),
        }
    }
}

/// Whether batches were made and three exporters have given up for the time being.
fn undelivered(metrics: &str) -> Result<()> {
    let samples = |name: &'static str| {
        metrics.lines().filter_map(move |line| line.strip_prefix(name)?.rsplit_once(' '))
    };
    let flushes = samples("sallyport_push_flushes_total").find_map(|(_, value)| value.parse().ok());
    ensure!(flushes.is_some_and(|flushes: f64| flushes > 0.0), "nothing was pushed");
    let states = samples("sallyport_push_breaker_state");
    let open =
        states.filter(|(labels, value)| !labels.contains("state=\"closed\"") && *value == "1");
    let open = open.count();
    ensure!(open == 3, "{open} of three exporters failed");
    Ok(())
}

/// CPU per request and p99, each against that of the gateway that pushes nothing, round by round.
pub fn ratios(series: &[Series]) -> [(&'static str, Option<Spread>); 2] {
    let ratio = |figure: fn(&Sample) -> f64| {
        let each =
            |name| series.iter().find(|series| series.name == name).map(|it| it.each(figure));
        Spread::of_ratios(&each(ON)?, &each(OFF)?)
    };
    [
        ("CPU per request, push / off", ratio(|sample| sample.cpu_us_per_request)),
        ("p99, push / off", ratio(|sample| sample.p99_us)),
    ]
}

/// Judges both ratios by the same gate.
pub fn judge(series: &[Series], gate: Option<f64>) -> Verdict {
    if let Some(invalid) = verdict::invalid(series) {
        return invalid;
    }
    let gated = |(what, ratio)| Verdict::gated(ratio, gate, what);
    verdict::worst(ratios(series).map(gated))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Errors;

    fn series(name: &str, cpu_us: f64, p99_us: f64) -> Series {
        let sample = Sample {
            round: 0,
            requests: 1,
            cpu_us_per_request: cpu_us,
            requests_per_s: 1.0,
            p50_us: 1.0,
            p99_us,
            utilisation: 1.0,
            disturbance: 0.0,
            account_incomplete: false,
            errors: Errors::default(),
        };
        Series { name: name.to_owned(), samples: vec![sample] }
    }

    #[test]
    fn both_ratios_are_gated() {
        let run = |cpu_us, p99_us| [series(OFF, 100.0, 100.0), series(ON, cpu_us, p99_us)];
        assert_eq!(judge(&run(102.0, 102.0), Some(1.02)), Verdict::Pass);
        for (cpu_us, p99_us, what) in [(103.0, 90.0, "CPU"), (90.0, 103.0, "p99")] {
            let Verdict::Fail(reason) = judge(&run(cpu_us, p99_us), Some(1.02)) else {
                panic!("passed")
            };
            assert!(reason.starts_with(what), "{reason}");
        }
        assert!(matches!(judge(&run(1.0, 1.0)[..1], Some(1.02)), Verdict::Invalid(_)));
    }

    #[test]
    fn a_run_without_three_failures_is_none() {
        let state = |name: &str, state: &str| {
            format!("sallyport_push_breaker_state{{exporter=\"{name}\",state=\"{state}\"}} 1\n")
        };
        let flushes = "sallyport_push_flushes_total 3\n";
        let two = state("closed", "open") + &state("silent", "half_open");
        assert!(undelivered(&(flushes.to_owned() + &two + &state("nowhere", "open"))).is_ok());
        assert!(undelivered(&(flushes.to_owned() + &two + &state("nowhere", "closed"))).is_err());
        assert!(undelivered(&(two + &state("nowhere", "open"))).is_err());
    }

    #[test]
    fn a_deaf_socket_answers_as_a_closed_port() {
        let dead = Dead::new().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(dead.closed.local_addr().unwrap()).unwrap();
        let refused = (0..100).any(|_| socket.send(b"x").is_err());
        assert!(refused);
    }
}
