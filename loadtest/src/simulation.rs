//! What one machine cannot hold: a hundred gateways before a thousand endpoints, simulated.
//!
//! Owns a fleet whose every choice is made by `sallyport-balance`, the code that runs in the gateway, and
//! what is observed of it while endpoints leave and return. Time goes in ticks: in each, every user makes
//! one request through some gateway, and the requests of a tick are in flight together. Nothing here knows
//! of latency or of connections. The seed decides everything that is drawn, also inside the balancing code,
//! so the same plan gives the same outcome to the last bit.

mod checks;
mod departure;
mod fleet;
mod pictures;
mod restart;
mod tables;
mod weights;

pub use checks::{Check, verdict};
pub use departure::Departure;
pub use pictures::draw;
pub use restart::{Restart, Tick};
pub use tables::tables;
pub use weights::Shares;

use anyhow::{Result, ensure};
use sallyport_balance::{MAGLEV_TABLE_SIZE, Policy};
use serde::Serialize;

/// The most gateways a plan may have.
const GATEWAYS_MAX: usize = 10_000;
/// The most users a plan may have; each takes two bytes for every configuration in a restart.
const USERS_MAX: usize = 10_000_000;

/// How large the fleet is, and what happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::Args)]
pub struct Plan {
    /// Gateways, each of which balances on its own.
    #[arg(long, default_value_t = 100)]
    pub gateways: usize,
    /// Endpoints of the one upstream.
    #[arg(long, default_value_t = 1000)]
    pub endpoints: usize,
    /// Users, each of whom has a key of their own and makes one request a tick.
    #[arg(long, default_value_t = 50_000)]
    pub users: usize,
    /// Endpoints that a rolling restart takes out together.
    #[arg(long, default_value_t = 50)]
    pub batch: usize,
    /// Ticks for which a batch is out.
    #[arg(long, default_value_t = 5)]
    pub out_ticks: usize,
    /// Ticks until the last gateway has noticed a change; each notices at a random one up to it.
    #[arg(long, default_value_t = 3)]
    pub delay_ticks: usize,
    /// Slots of Maglev's table, a prime.
    #[arg(long, default_value_t = MAGLEV_TABLE_SIZE)]
    pub maglev_table: u32,
    /// Decides everything that is random.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// How a gateway comes to know that an endpoint is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// A new configuration without it: the tables are built anew.
    Configuration,
    /// A failed probe: the tables stay, and the endpoint is passed over.
    Health,
}

/// A policy, and how its gateways notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Case {
    /// The policy by its name in the gateway's file.
    pub policy: &'static str,
    /// How the gateways notice.
    pub notice: Notice,
}

/// Everything that was observed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// What was simulated.
    pub plan: Plan,
    /// Endpoints leaving at once and returning, for each of the policies that hash.
    pub departures: Vec<Departure>,
    /// A rolling restart of all endpoints, for each policy.
    pub restarts: Vec<Restart>,
    /// Endpoints of different weights, for each policy.
    pub weights: Vec<Shares>,
    /// What must hold, and whether it does.
    pub checks: Vec<Check>,
}

/// Simulates the plan.
///
/// Takes some seconds for the default plan in a release build.
///
/// # Errors
/// A plan without anything to simulate, too large, or whose batch leaves no endpoint.
pub fn run(plan: &Plan) -> Result<Outcome> {
    plan.check()?;
    let departures = departure::observe(plan)?;
    let restarts = Case::all().map(|case| restart::observe(plan, case)).collect::<Result<_>>()?;
    let weights =
        POLICIES.iter().map(|policy| weights::observe(plan, policy)).collect::<Result<_>>()?;
    let mut outcome = Outcome { plan: *plan, departures, restarts, weights, checks: Vec::new() };
    outcome.checks = checks::all(&outcome);
    Ok(outcome)
}

/// The names of all policies; the first two hash.
const POLICIES: [&str; 5] = ["maglev", "ring_hash", "round_robin", "least_request", "random"];
const HASHING: usize = 2;

impl Plan {
    fn policy(&self, name: &str) -> Policy {
        match name {
            "maglev" => Policy::Maglev { table_size: self.maglev_table },
            "ring_hash" => Policy::RingHash,
            "round_robin" => Policy::RoundRobin,
            "least_request" => Policy::LeastRequest,
            _ => Policy::Random,
        }
    }

    fn check(&self) -> Result<()> {
        let some = [self.gateways, self.endpoints, self.users, self.batch, self.out_ticks];
        ensure!(some.iter().all(|&count| count > 0), "nothing to simulate");
        ensure!(self.gateways <= GATEWAYS_MAX, "--gateways: at most {GATEWAYS_MAX}");
        ensure!(self.users <= USERS_MAX, "--users: at most {USERS_MAX}");
        ensure!(self.endpoints >= weights::WEIGHTS.len(), "--endpoints: one of each weight");
        ensure!(self.endpoints > self.batch, "--batch must leave an endpoint");
        ensure!(self.endpoints <= usize::from(u16::MAX), "--endpoints: at most {}", u16::MAX);
        Ok(())
    }
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        let both = [Notice::Configuration, Notice::Health];
        POLICIES.iter().flat_map(move |policy| both.map(|notice| Self { policy, notice }))
    }

    fn hashes(self) -> bool {
        POLICIES[..HASHING].contains(&self.policy)
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.notice {
            Notice::Configuration => write!(out, "{}", self.policy),
            Notice::Health => write!(out, "{}, by health", self.policy),
        }
    }
}

/// Draws for the simulation itself, and sets the generator that the balancing code draws from.
fn seeded(plan: &Plan) -> fastrand::Rng {
    fastrand::seed(plan.seed);
    fastrand::Rng::with_seed(plan.seed ^ 0x5a11_7907)
}

#[cfg(test)]
mod tests;
