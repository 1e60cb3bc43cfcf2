//! Load by HTTP/2, made by `h2load`.
//!
//! Owns starting it and reading its report. A closed loop, as [`crate::load`]'s: right for CPU per
//! request.

use crate::interrupt::Interrupt;
use crate::process::Process;
use anyhow::{Context, Result, ensure};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// What every burst of it has in common.
#[derive(Clone, Debug)]
pub struct H2load {
    /// CPU that it is pinned to.
    pub cpu: usize,
    /// Connections held open at a time.
    pub connections: usize,
    /// Requests under way on each of them.
    pub streams: usize,
    /// Whether it comes by TLS.
    pub tls: bool,
    /// Path of every request.
    pub path: String,
}

/// What it reported of one burst.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Requests that were answered with 200 to 399.
    pub requests: u64,
    /// Time it took, by `h2load`'s clock.
    pub duration_s: f64,
    /// Requests that failed, and answers of 400 and above.
    pub failed: u64,
    /// Bytes of bodies.
    pub body_bytes: u64,
}

impl H2load {
    /// Loads `target` for `seconds`, leaving the report in `dir`.
    ///
    /// # Errors
    /// `h2load` is missing, failed, printed what cannot be read, or the run was interrupted.
    pub fn run(
        &self,
        target: SocketAddr,
        seconds: u64,
        dir: &Path,
        interrupt: &Interrupt,
    ) -> Result<Outcome> {
        let command = self.command(target, seconds);
        let mut load = Process::start("h2load", self.cpu, &command, dir)?;
        let status = load.wait(Duration::from_secs(seconds + 15), interrupt)?;
        let printed = load.printed();
        ensure!(status.success(), "h2load failed ({status}): {}", printed.trim());
        parse(&printed).with_context(|| format!("cannot read h2load's report: {printed}"))
    }

    fn command(&self, target: SocketAddr, seconds: u64) -> Vec<String> {
        let (connections, streams) = (self.connections.to_string(), self.streams.to_string());
        let seconds = seconds.to_string();
        let fixed =
            ["h2load", "-t", "1", "-c", &connections, "-m", &streams, "-D", &seconds].into_iter();
        let scheme = if self.tls { "https" } else { "http" };
        let url = format!("{scheme}://{target}{}", self.path);
        fixed.map(str::to_owned).chain([url]).collect()
    }
}

/// Reads the report; none where a figure is missing or no number.
pub fn parse(report: &str) -> Option<Outcome> {
    let line = |begin: &str| report.lines().find_map(|line| line.strip_prefix(begin));
    let (time, _) = line("finished in ")?.split_once(',')?;
    let requests = counts(line("requests: ")?)?;
    let count = |name: &str| requests.iter().find(|(one, _)| *one == name).map(|(_, count)| *count);
    let statuses = counts(line("status codes: ")?)?;
    let of = |class: &str| statuses.iter().find(|(one, _)| *one == class).map(|(_, count)| *count);
    let (refused, body) = (of("4xx")? + of("5xx")?, line("traffic: ")?.rsplit_once("headers")?.1);
    let body = body.rsplit_once('(')?.1.split_once(')')?.0;
    Some(Outcome {
        requests: of("2xx")? + of("3xx")?,
        duration_s: time_s(time)?,
        failed: count("failed")? + count("errored")? + count("timeout")? + refused,
        body_bytes: body.parse().ok()?,
    })
}

/// `12 total, 11 done`, taken apart.
fn counts(text: &str) -> Option<Vec<(&str, u64)>> {
    text.split(',').map(count).collect()
}

fn count(part: &str) -> Option<(&str, u64)> {
    let (count, name) = part.trim().split_once(' ')?;
    Some((name, count.parse().ok()?))
}

/// `h2load` prints times as `735us`, `12.50ms` or `2.01s`.
fn time_s(text: &str) -> Option<f64> {
    let text = text.trim();
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0)];
    let (number, unit_s) =
        units.iter().find_map(|(unit, unit_s)| Some((text.strip_suffix(unit)?, unit_s)))?;
    Some(number.parse::<f64>().ok()? * unit_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "\
starting benchmark...
spawning thread #0: 8 total client(s). Timing-based test with 0s of warm-up time and 2s of main duration for measurements.
Main benchmark duration is started for thread #0.

finished in 2.01s, 20011.50 req/s, 20.93MB/s
requests: 40023 total, 40087 started, 40023 done, 40020 succeeded, 3 failed, 0 errored, 1 timeout
status codes: 40020 2xx, 0 3xx, 2 4xx, 1 5xx
traffic: 41.86MB (43892740) total, 1.91MB (2001150) headers (space savings 76.19%), 39.09MB (40983552) data
                     min         max         mean         sd        +/- sd
time for request:      735us     12.34ms      3.18ms      1.01ms    71.11%
";

    #[test]
    fn a_report_is_read_whole() {
        let outcome = parse(REPORT).unwrap();
        let expected =
            Outcome { requests: 40_020, duration_s: 2.01, failed: 7, body_bytes: 40_983_552 };
        assert_eq!(outcome, expected);
    }

    #[test]
    fn a_report_that_cannot_be_read_is_no_outcome() {
        assert_eq!(parse(""), None);
        assert_eq!(parse(&REPORT.replace("40020 2xx", "many 2xx")), None);
        assert_eq!(parse(&REPORT.replace("finished in 2.01s", "finished in a while")), None);
        assert_eq!(parse(&REPORT.replace(" data", "")).map(|one| one.requests), Some(40_020));
    }

    #[test]
    fn the_scheme_says_whether_it_is_by_tls() {
        let load = H2load { cpu: 1, connections: 8, streams: 8, tls: true, path: "/x".to_owned() };
        let words = load.command("127.0.0.1:8443".parse().unwrap(), 2).join(" ");
        assert_eq!(words, "h2load -t 1 -c 8 -m 8 -D 2 https://127.0.0.1:8443/x");
    }
}
