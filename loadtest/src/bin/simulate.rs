//! A hundred gateways before a thousand endpoints, simulated with the gateway's own balancing code.
//!
//! Prints what was observed, writes it with pictures into a folder, and ends with 0 if all that must hold
//! holds, 1 if not, and 2 if there was nothing to simulate.

#![allow(missing_docs, reason = "a binary has no reader of its items but its own source")]

use anyhow::{Context, Result};
use clap::Parser;
use loadtest::simulation::{self, Outcome, Plan};
use loadtest::verdict::{self, Verdict};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Simulates departures, a rolling restart and weights in a fleet of gateways.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    plan: Plan,
    /// Write `simulation.json` and the pictures into this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    verdict::exit_code(run(&Cli::parse()))
}

fn run(options: &Cli) -> Result<Verdict> {
    let outcome = simulation::run(&options.plan)?;
    let verdict = simulation::verdict(&outcome);
    println!("{}\n{verdict}", simulation::tables(&outcome));
    options.out.as_deref().map_or(Ok(()), |dir| write(&outcome, dir))?;
    Ok(verdict)
}

fn write(outcome: &Outcome, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let text = serde_json::to_string(outcome)? + "\n";
    fs::write(dir.join("simulation.json"), text).with_context(|| dir.display().to_string())?;
    simulation::draw(outcome, dir)
}
