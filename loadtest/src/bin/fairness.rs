//! Long downloads of several clients through several workers: whether they get even shares.
//!
//! Ends with 0 for PASS, 1 for FAIL, 2 for INVALID or a run that could not be made, 130 if interrupted.

#![allow(missing_docs, reason = "a binary has no reader of its items but its own source")]

use anyhow::{Context, Result};
use clap::Parser;
use loadtest::bench::{self, Cpus};
use loadtest::bulk::{Gateway, Origins};
use loadtest::congestion::Congestion;
use loadtest::fairness::{self, Plan, Run, Summary};
use loadtest::interrupt::Interrupt;
use loadtest::verdict::{self, Verdict};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Length of a run that only shows that everything works.
const SMOKE_S: usize = 3;

/// Measures the shares of long downloads.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    plan: Plan,
    #[command(flatten)]
    cpus: Cpus,
    /// The gateway's binary; the one beside this program if left out.
    #[arg(long, value_name = "PATH")]
    sallyport: Option<PathBuf>,
    /// Write `fairness.json` and `fairness.svg` into this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Only see that everything works: a short run, of whose shares nothing is judged.
    #[arg(long)]
    smoke: bool,
}

fn main() -> ExitCode {
    verdict::exit_code(run(Cli::parse()))
}

fn run(mut options: Cli) -> Result<Verdict> {
    if options.smoke {
        options.plan.seconds = SMOKE_S;
    }
    let interrupt = Interrupt::install()?;
    let congestion = Congestion::hold();
    let run = measure(&options, &interrupt)?;
    let verdict = if options.smoke { smoke(&run) } else { fairness::judge(&run) };
    let summary = Summary::of(&options.plan, &run, &verdict, congestion.in_force());
    println!("{}\n{verdict}", fairness::tables(&summary));
    let out = options.out.as_deref().filter(|_| !options.smoke);
    out.map_or(Ok(()), |out| write(&summary, out))?;
    Ok(verdict)
}

/// Every download moved and was placed; shares are another matter.
fn smoke(run: &Run) -> Verdict {
    let still = run.flows.iter().filter(|flow| flow.bytes_per_s.iter().all(|&bytes| bytes == 0));
    let unplaced = run.flows.iter().filter(|flow| flow.worker.is_none());
    match (still.count(), unplaced.count()) {
        (0, 0) => Verdict::Pass,
        (still, unplaced) => {
            let what = format!("{still} downloads did not move, {unplaced} could not be placed");
            Verdict::Invalid(vec![what])
        }
    }
}

fn measure(options: &Cli, interrupt: &Interrupt) -> Result<Run> {
    let (plan, cpus) = (&options.plan, options.cpus.check()?);
    let program = options.sallyport.clone().map_or_else(|| bench::beside("sallyport"), Ok)?;
    bench::move_to(cpus.load)?;
    let dir = tempfile::Builder::new().prefix("sallyport-loadtest-").tempdir()?;
    let mut origins = Origins::start(cpus.load, dir.path(), interrupt)?;
    let mut gateway =
        Gateway::start(&program, cpus.proxy, plan.threads, &origins, dir.path(), interrupt)?;
    eprintln!("{} downloads for {} s", plan.flows, plan.seconds);
    let run = fairness::measure(plan, &mut gateway, cpus, interrupt)?;
    origins.check_alive()?;
    Ok(run)
}

fn write(summary: &Summary<'_>, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let text = serde_json::to_string(summary)? + "\n";
    fs::write(dir.join("fairness.json"), text).with_context(|| dir.display().to_string())?;
    fairness::draw(summary.run, &dir.join("fairness.svg"))
}
