//! Load at a given rate, whatever becomes of it: an open loop.
//!
//! Every request has a moment when it is due, and its latency counts from then, not from when it could
//! at last be sent: a server that stalls pays for all that was due meanwhile. Owns the schedule, the
//! connections and what comes of each request. One thread does it all, because the CPU it is on is the
//! origin's too; if that is not enough the outcome says so, and is no figure then.

mod connection;
mod engine;
mod outcome;
mod reader;

pub use outcome::{Answer, Failures, Figures, Outcome, percentile};

use crate::interrupt::Interrupt;
use anyhow::Result;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// What is offered, and to whom.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Who is to answer.
    pub target: SocketAddr,
    /// Address that the connections come from; the kernel's choice if none.
    pub source: Option<Ipv4Addr>,
    /// Requests a second, evenly spaced; above zero.
    pub rate_per_s: u32,
    /// How long requests are due at first without their latencies counting: connections are made and
    /// caches warmed.
    pub warm_up: Duration,
    /// How long requests are due after that.
    pub duration: Duration,
    /// Connections kept open; or, where each request opens one, the most that are open at a time.
    pub connections: usize,
    /// A connection for every request.
    pub close: bool,
    /// Paths asked for in turn; at least one.
    pub paths: Vec<String>,
}

impl Offer {
    /// Requests in all.
    pub fn planned(&self) -> u64 {
        (f64::from(self.rate_per_s) * self.scheduled().as_secs_f64()).round() as u64
    }

    fn scheduled(&self) -> Duration {
        self.warm_up + self.duration
    }

    /// When request `number`, counted from 0, is due after the start.
    fn due(&self, number: u64) -> Duration {
        Duration::from_nanos(number * 1_000_000_000 / u64::from(self.rate_per_s))
    }

    /// Requests as they are sent, one for each path.
    fn requests(&self) -> Vec<Vec<u8>> {
        let close = if self.close { "Connection: close\r\n" } else { "" };
        let request =
            |path| format!("GET {path} HTTP/1.1\r\nHost: loadtest.example\r\n{close}\r\n");
        self.paths.iter().map(|path| request(path).into_bytes()).collect()
    }

    /// Makes the offer, from this thread, and waits up to two seconds for the last answers.
    ///
    /// # Errors
    /// The run was interrupted, or the kernel refused what polling takes. Whatever goes wrong with a
    /// request is in the outcome.
    pub fn make(&self, interrupt: &Interrupt) -> Result<Outcome> {
        self.make_until(Instant::now(), &AtomicBool::new(false), interrupt)
    }

    /// The same with a start that others know of, and an end that they may bring before its time.
    pub fn make_until(
        &self,
        start: Instant,
        enough: &AtomicBool,
        interrupt: &Interrupt,
    ) -> Result<Outcome> {
        engine::Engine::new(self, start)?.run(enough, interrupt)
    }
}

#[cfg(test)]
mod tests;
