//! Load, made by `wrk`.
//!
//! Owns starting `wrk` and reading its report. `wrk` sends as fast as answers come (a closed loop),
//! which is right for CPU per request and wrong for latency under an offered rate: the latencies
//! here say that a proxy kept up, no more.

use crate::interrupt::Interrupt;
use crate::process::Process;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[cfg(test)]
mod tests;

/// What every burst of load has in common.
#[derive(Clone, Debug)]
pub struct Load {
    /// CPU that `wrk` is pinned to.
    pub cpu: usize,
    /// Connections held open at a time.
    pub connections: usize,
    /// Path of every request.
    pub path: String,
    /// Script that makes the requests instead.
    pub script: Option<PathBuf>,
    /// Ask for each connection to be closed after its first answer.
    pub close: bool,
    /// Whether it comes by TLS.
    pub tls: bool,
}

/// What `wrk` reported of one burst.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// Requests that were answered.
    pub requests: u64,
    /// Time it took, by `wrk`'s clock.
    pub duration_s: f64,
    /// Whatever went wrong.
    pub errors: Errors,
    /// Half of the answers came within this.
    pub p50_us: f64,
    /// All but one in a hundred did.
    pub p99_us: f64,
}

/// `wrk`'s error counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errors {
    /// Connections refused or never made.
    pub connect: u64,
    /// Connections lost while reading, and answers that did not parse.
    pub read: u64,
    /// Connections lost while writing.
    pub write: u64,
    /// Answers that took over two seconds.
    pub timeout: u64,
    /// Answers with a status of 400 or above.
    pub status: u64,
}

impl Errors {
    /// All of them together.
    pub fn total(&self) -> u64 {
        self.connect + self.read + self.write + self.timeout + self.status
    }
}

impl Load {
    /// Loads `target` for `seconds`, leaving `wrk`'s output in `dir`.
    ///
    /// # Errors
    /// `wrk` is missing, failed, printed what cannot be read, or the run was interrupted.
    pub fn run(
        &self,
        target: SocketAddr,
        seconds: u64,
        dir: &Path,
        interrupt: &Interrupt,
    ) -> Result<Outcome> {
        let mut wrk = Process::start("wrk", self.cpu, &self.command(target, seconds), dir)?;
        let limit = Duration::from_secs(seconds + 15);
        let status = wrk.wait(limit, interrupt)?;
        let printed = wrk.printed();
        ensure!(status.success(), "wrk failed ({status}): {}", printed.trim());
        parse(&printed).with_context(|| format!("cannot read wrk's report: {printed}"))
    }

    fn command(&self, target: SocketAddr, seconds: u64) -> Vec<String> {
        let connections = self.connections.to_string();
        let seconds = seconds.to_string();
        let fixed = ["wrk", "-t", "1", "-c", &connections, "-d", &seconds, "--latency"];
        let close: &[&str] = if self.close { &["-H", "Connection: close"] } else { &[] };
        let script =
            self.script.iter().flat_map(|file| ["-s".to_owned(), file.display().to_string()]);
        let words = fixed.iter().chain(close).map(|&word| word.to_owned()).chain(script);
        let scheme = if self.tls { "https" } else { "http" };
        words.chain([format!("{scheme}://{target}{}", self.path)]).collect()
    }
}

/// Reads `wrk --latency`'s report; none where a figure is missing or no number.
pub fn parse(report: &str) -> Option<Outcome> {
    let total = report.lines().find(|line| line.contains(" requests in "))?;
    let (requests, rest) = total.split_once(" requests in ")?;
    let (duration, _) = rest.split_once(',')?;
    Some(Outcome {
        requests: requests.trim().parse().ok()?,
        duration_s: time_us(duration)? / 1e6,
        errors: errors(report)?,
        p50_us: percentile_us(report, "50%")?,
        p99_us: percentile_us(report, "99%")?,
    })
}

/// Lines that are absent mean that nothing went wrong: `wrk` prints them only where it did.
fn errors(report: &str) -> Option<Errors> {
    let mut errors = Errors::default();
    for line in report.lines().map(str::trim) {
        if let Some(count) = line.strip_prefix("Non-2xx or 3xx responses:") {
            errors.status = count.trim().parse().ok()?;
        }
        if let Some(counts) = line.strip_prefix("Socket errors:") {
            errors.add_socket_errors(counts)?;
        }
    }
    Some(errors)
}

impl Errors {
    fn add_socket_errors(&mut self, counts: &str) -> Option<()> {
        for part in counts.split(',') {
            let (kind, count) = part.trim().split_once(' ')?;
            let counter = match kind {
                "connect" => &mut self.connect,
                "read" => &mut self.read,
                "write" => &mut self.write,
                "timeout" => &mut self.timeout,
                _ => return None,
            };
            *counter = count.trim().parse().ok()?;
        }
        Some(())
    }
}

fn percentile_us(report: &str, name: &str) -> Option<f64> {
    let (_, distribution) = report.split_once("Latency Distribution")?;
    let value = distribution.lines().find_map(|line| line.trim().strip_prefix(name))?;
    time_us(value)
}

/// `wrk` prints times as `635.91us`, `1.15ms`, `4.00s`, `1.50m` or `1.00h`.
fn time_us(text: &str) -> Option<f64> {
    let text = text.trim();
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    let unit_us = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 60e6,
        "h" => 3600e6,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * unit_us)
}
