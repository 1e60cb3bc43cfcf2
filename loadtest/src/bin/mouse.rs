//! Small requests beside long downloads, through one worker of the gateway.
//!
//! Ends with 0 for PASS, 1 for FAIL, 2 for INVALID or a run that could not be made, 130 if interrupted.

#![allow(missing_docs, reason = "a binary has no reader of its items but its own source")]

use anyhow::{Context, Result};
use clap::Parser;
use loadtest::bench::{self, Cpus};
use loadtest::bulk::{Gateway, Origins};
use loadtest::congestion::Congestion;
use loadtest::interrupt::Interrupt;
use loadtest::machine::Machine;
use loadtest::mouse::{self, Plan, Summary, Targets, Turn};
use loadtest::verdict::{self, Verdict};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Measures what small requests notice of long downloads.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    plan: Plan,
    /// What p99(128 downloads, 10 small) may be by p99(0, 10).
    #[arg(long, default_value_t = 2.0)]
    gate: f64,
    #[command(flatten)]
    cpus: Cpus,
    /// The gateway's binary; the one beside this program if left out.
    #[arg(long, value_name = "PATH")]
    sallyport: Option<PathBuf>,
    /// Write `mouse.json` and `mouse.svg` into this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Only see that everything works: one short turn of each cell, of which nothing is judged.
    #[arg(long)]
    smoke: bool,
}

fn main() -> ExitCode {
    verdict::exit_code(run(Cli::parse()))
}

fn run(mut options: Cli) -> Result<Verdict> {
    if options.smoke {
        (options.plan.rounds, options.plan.seconds) = (1, 1);
    }
    let interrupt = Interrupt::install()?;
    let congestion = Congestion::hold();
    let turns = measure(&options, &interrupt)?;
    let Cli { plan, gate, smoke, .. } = &options;
    print!("{}", mouse::tables(plan, &turns));
    if *smoke {
        println!("smoke: everything works, nothing was judged");
        return Ok(Verdict::Pass);
    }
    let verdict = mouse::judge(&turns, *gate);
    println!("{verdict}");
    let summary = Summary {
        machine: Machine::describe(),
        congestion_control: congestion.in_force(),
        plan,
        turns: &turns,
        ratio: mouse::ratio(&turns),
        gate: *gate,
        verdict: &verdict,
    };
    options.out.as_deref().map_or(Ok(()), |out| write(&summary, out))?;
    Ok(verdict)
}

fn measure(options: &Cli, interrupt: &Interrupt) -> Result<Vec<Turn>> {
    let (plan, cpus) = (&options.plan, options.cpus.check()?);
    let program = options.sallyport.clone().map_or_else(|| bench::beside("sallyport"), Ok)?;
    bench::raise_descriptor_limit()?;
    bench::move_to(cpus.load)?;
    let dir = tempfile::Builder::new().prefix("sallyport-loadtest-").tempdir()?;
    let mut origins = Origins::start(cpus.load, dir.path(), interrupt)?;
    let mut gateway = Gateway::start(&program, cpus.proxy, 1, &origins, dir.path(), interrupt)?;
    let targets = Targets { gateway: gateway.listen, direct: origins.small, cpus };
    mouse::run(plan, &targets, &mut gateway, &mut origins, interrupt)
}

fn write(summary: &Summary<'_>, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let text = serde_json::to_string(summary)? + "\n";
    fs::write(dir.join("mouse.json"), text).with_context(|| dir.display().to_string())?;
    mouse::draw(summary.plan, summary.turns, summary.gate, &dir.join("mouse.svg"))
}
