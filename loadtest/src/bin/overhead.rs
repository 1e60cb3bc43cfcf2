//! What a proxy costs: CPU and instructions per request, CPU per new connection, memory per idle
//! connection.
//!
//! The command line of the measurements in this crate's library. It ends with 0 when the run is
//! valid and within its gate, 1 when it is beyond the gate, 2 when there is nothing to go by (a run
//! with errors, or one that could not be made), and 130 when it was interrupted.

#![allow(missing_docs, reason = "a binary has no reader of its items but its own source")]

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand};
use loadtest::bench::{Scene, SceneOptions, beside};
use loadtest::contestant::{Contestant, FieldOptions};
use loadtest::machine::Machine;
use loadtest::pushing::{self, Dead};
use loadtest::report::{self, Report};
use loadtest::verdict::{self, BASELINE, JUDGED, Verdict};
use loadtest::{idle, instructions, requests};
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures what a proxy costs, on one pinned CPU, in interleaved rounds.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    experiment: Experiment,
}

#[derive(Subcommand)]
enum Experiment {
    /// CPU per request over keep-alive connections.
    Requests(RequestsOptions),
    /// CPU per request when every request opens a connection.
    Connections(RequestsOptions),
    /// Memory per idle keep-alive connection.
    Idle(IdleOptions),
    /// User instructions per request, by callgrind.
    Instructions(InstructionsOptions),
    /// CPU per request and p99 with statistics pushed to receivers that are dead.
    Push(PushOptions),
}

#[derive(Args)]
struct RequestsOptions {
    #[command(flatten)]
    field: FieldOptions,
    #[command(flatten)]
    plan: requests::Plan,
    /// Exit with 1 if the median ratio sallyport / bare is above this.
    #[arg(long, value_name = "RATIO")]
    gate: Option<f64>,
}

#[derive(Args)]
struct IdleOptions {
    #[command(flatten)]
    field: FieldOptions,
    #[command(flatten)]
    plan: idle::Plan,
    /// Exit with 1 if sallyport holds more than this for each connection.
    #[arg(long, value_name = "KIB")]
    gate: Option<f64>,
}

#[derive(Args)]
struct InstructionsOptions {
    #[command(flatten)]
    plan: instructions::Plan,
    /// The gateway's binary; the one beside this program if left out.
    #[arg(long, value_name = "PATH")]
    sallyport: Option<PathBuf>,
    /// Exit with 1 if a request takes more.
    #[arg(long, value_name = "INSTRUCTIONS")]
    gate: Option<u64>,
}

#[derive(Args)]
struct PushOptions {
    #[command(flatten)]
    scene: SceneOptions,
    #[command(flatten)]
    plan: requests::Plan,
    /// Exit with 1 if the median ratio push / off of CPU or p99 is above this.
    #[arg(long, value_name = "RATIO")]
    gate: Option<f64>,
}

fn main() -> ExitCode {
    verdict::exit_code(match Cli::parse().experiment {
        Experiment::Requests(options) => run_requests(&options, "CPU per request", false),
        Experiment::Connections(options) => run_requests(&options, "CPU per new connection", true),
        Experiment::Idle(options) => run_idle(&options),
        Experiment::Instructions(options) => run_instructions(&options),
        Experiment::Push(options) => run_push(&options),
    })
}

fn run_requests(options: &RequestsOptions, experiment: &str, close: bool) -> Result<Verdict> {
    let contestants = options.field.contestants()?;
    if options.gate.is_some() {
        check_gate(&contestants, &[BASELINE, JUDGED])?;
    }
    let mut scene = Scene::set(&options.field.scene)?;
    let series = requests::run(&mut scene, &contestants, &options.plan, close)?;
    let verdict = verdict::of_requests(&series, options.gate);
    let report = Report {
        experiment,
        machine: Machine::describe(),
        conditions: scene.conditions(),
        plan: &options.plan,
        series: &series,
        verdict: &verdict,
    };
    let table = report::requests_table(&series, BASELINE);
    report.publish(&table, options.field.scene.json.as_deref())?;
    Ok(verdict)
}

fn run_idle(options: &IdleOptions) -> Result<Verdict> {
    let contestants = options.field.contestants()?;
    if options.gate.is_some() {
        check_gate(&contestants, &[JUDGED])?;
    }
    let mut scene = Scene::set(&options.field.scene)?;
    let plan = options.plan.within_limits();
    let series = idle::run(&mut scene, &contestants, &plan)?;
    let verdict = verdict::of_idle(&series, options.gate);
    let report = Report {
        experiment: "memory per idle connection",
        machine: Machine::describe(),
        conditions: scene.conditions(),
        plan: &plan,
        series: &series,
        verdict: &verdict,
    };
    report.publish(&report::idle_table(&series), options.field.scene.json.as_deref())?;
    Ok(verdict)
}

fn run_instructions(options: &InstructionsOptions) -> Result<Verdict> {
    let gateway = options.sallyport.clone().map_or_else(|| beside("sallyport"), Ok)?;
    let instructions = instructions::of_request(&gateway, &options.plan)?;
    println!("{instructions} user instructions a request");
    let above = options.gate.filter(|gate| instructions > *gate);
    Ok(above.map_or(Verdict::Pass, |gate| {
        Verdict::Fail(format!("{instructions} instructions a request are above {gate}"))
    }))
}

fn run_push(options: &PushOptions) -> Result<Verdict> {
    let dead = Dead::new()?;
    let contestants = dead.contestants(options.scene.gateway()?)?;
    let mut scene = Scene::set(&options.scene)?;
    let series = pushing::run(&mut scene, &contestants, &options.plan)?;
    let verdict = pushing::judge(&series, options.gate);
    let report = Report {
        experiment: "statistics pushed to three dead receivers",
        machine: Machine::describe(),
        conditions: scene.conditions(),
        plan: &options.plan,
        series: &series,
        verdict: &verdict,
    };
    let ratios = report::ratios_table(&pushing::ratios(&series));
    let table = report::requests_table(&series, pushing::OFF) + "\n" + &ratios;
    report.publish(&table, options.scene.json.as_deref())?;
    Ok(verdict)
}

/// A gate needs the proxies it compares; better said now than after the run.
fn check_gate(contestants: &[Contestant], needed: &[&str]) -> Result<()> {
    for &name in needed {
        let present = contestants.iter().any(|contestant| contestant.name == name);
        ensure!(present, "--gate compares {}: --only leaves out {name}", needed.join(" and "));
    }
    Ok(())
}
