//! Memory of an idle keep-alive connection.
//!
//! Each proxy is started afresh, its memory read, thousands of connections opened with one request
//! on each, and its memory read again while they idle. Requests come one after another, so what
//! remains is what a connection holds and not what a burst left in the allocator. Afterwards every
//! connection must answer once more: a proxy that closes idle connections has not held them.

use crate::bench::{PATH, Scene, descriptor_limit};
use crate::client::Client;
use crate::contestant::Contestant;
use crate::memory::held_bytes;
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

/// Descriptors that are not client connections: logs, listeners, upstream connections.
const OTHER_DESCRIPTORS: usize = 256;
/// Connections that are opened between two looks at the interrupt flag.
const BATCH: usize = 256;
/// Time for a proxy to put away what its last requests needed.
const SETTLE: Duration = Duration::from_millis(500);

/// How many connections, and how often.
#[derive(Clone, Copy, Debug, Serialize, clap::Args)]
pub struct Plan {
    /// Fresh starts of every proxy.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Connections held; fewer where the descriptor limit is lower.
    #[arg(long, default_value_t = 5000)]
    pub count: usize,
}

impl Plan {
    /// The plan with as many connections as descriptors allow.
    pub fn within_limits(self) -> Self {
        let possible = descriptor_limit().saturating_sub(OTHER_DESCRIPTORS);
        Self { count: self.count.min(possible), ..self }
    }
}

/// One start of one proxy.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// Memory before the connections.
    pub before_bytes: u64,
    /// Memory with all of them idle.
    pub after_bytes: u64,
    /// Connections held.
    pub connections: usize,
}

impl Sample {
    /// What one connection holds.
    pub fn kib_per_connection(&self) -> f64 {
        let grown_bytes = self.after_bytes as f64 - self.before_bytes as f64;
        grown_bytes / 1024.0 / self.connections as f64
    }

    /// What the program holds with no connection open.
    pub fn base_mib(&self) -> f64 {
        self.before_bytes as f64 / 1024.0 / 1024.0
    }
}

/// All starts of one proxy.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// The proxy.
    pub name: String,
    /// Its starts, one a round.
    pub samples: Vec<Sample>,
}

/// Runs the plan.
///
/// # Errors
/// A request failed or a connection did not last; there is no figure then.
pub fn run(scene: &mut Scene, contestants: &[Contestant], plan: &Plan) -> Result<Vec<Series>> {
    ensure!(plan.rounds > 0 && plan.count > 0, "nothing to do");
    let mut series: Vec<Series> = contestants.iter().map(Series::empty).collect();
    for round in 0..plan.rounds {
        for (series, contestant) in series.iter_mut().zip(contestants) {
            let sample = sample(scene, contestant, plan.count);
            let sample = sample.with_context(|| contestant.name.clone())?;
            let figure = sample.kib_per_connection();
            eprintln!("round {}/{}: {}: {figure:.2} KiB", round + 1, plan.rounds, series.name);
            series.samples.push(sample);
        }
        scene.check_origin()?;
    }
    Ok(series)
}

impl Series {
    fn empty(contestant: &Contestant) -> Self {
        Self { name: contestant.name.clone(), samples: Vec::new() }
    }
}

/// One start of one proxy, with `count` connections.
///
/// # Errors
/// A request failed or a connection did not last.
pub fn sample(scene: &Scene, contestant: &Contestant, count: usize) -> Result<Sample> {
    let proxy = scene.start(contestant)?;
    sleep(SETTLE);
    let before_bytes = held_bytes(proxy.process.id())?;
    let mut clients = open(scene, proxy.address, count)?;
    sleep(SETTLE);
    let after_bytes = held_bytes(proxy.process.id())?;
    for client in &mut clients {
        client.fetch(PATH).context("a connection did not stay open")?;
    }
    Ok(Sample { before_bytes, after_bytes, connections: count })
}

fn open(scene: &Scene, address: SocketAddr, count: usize) -> Result<Vec<Client>> {
    let mut clients = Vec::with_capacity(count);
    for index in 0..count {
        if index % BATCH == 0 {
            scene.interrupt.check()?;
        }
        let mut client = Client::connect(address)?;
        client.fetch(PATH).with_context(|| format!("connection {index}"))?;
        clients.push(client);
    }
    Ok(clients)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_holds_what_the_process_grew_by() {
        let sample =
            Sample { before_bytes: 16 << 20, after_bytes: (16 << 20) + 35_840, connections: 10 };
        assert!((sample.kib_per_connection() - 3.5).abs() < 1e-9);
        assert!((sample.base_mib() - 16.0).abs() < 1e-9);
    }

    #[test]
    fn connections_stay_within_the_descriptor_limit() {
        let plan = Plan { rounds: 1, count: usize::MAX }.within_limits();
        assert!(plan.count < descriptor_limit());
        assert_eq!(Plan { rounds: 1, count: 10 }.within_limits().count, 10);
    }
}
