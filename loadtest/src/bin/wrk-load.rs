//! Load tests by wrk script: one path, a table of hosts and paths, bodies, pipelining, new connections.
//!
//! The command line of [`loadtest::wrk_load`]. It ends with 0 when every answer was as expected, 1 when
//! one was not, 2 when a script could not be run to its end, and 130 when it was interrupted.

#![allow(missing_docs, reason = "a binary has no reader of its items but its own source")]

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use loadtest::bench::Cpus;
use loadtest::congestion::Congestion;
use loadtest::interrupt::{Interrupt, Interrupted};
use loadtest::scenarios::Spoiled;
use loadtest::scenarios::stage::Setting;
use loadtest::verdict::{self, Verdict};
use loadtest::wrk_load::bodies::Bodies;
use loadtest::wrk_load::{Plan, Script, run};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

const POLL: Duration = Duration::from_millis(100);

/// Loads a gateway that it starts with wrk, and checks every answer.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the scripts.
    Run(Options),
    /// Serve what `bodies.lua` asks for, to stand behind your own gateway; until it is ended.
    Origin {
        /// Where to listen.
        #[arg(long)]
        address: SocketAddr,
    },
}

#[derive(Args)]
struct Options {
    /// The scripts to run; all if left out.
    scripts: Vec<Script>,
    /// The gateway's binary; the one beside this program if left out.
    #[arg(long, value_name = "PATH")]
    sallyport: Option<PathBuf>,
    /// Length of each run.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Connections open at a time.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Virtual hosts of the gateway's table.
    #[arg(long, default_value_t = 100)]
    hosts: usize,
    /// Routes of each virtual host.
    #[arg(long, default_value_t = 10)]
    routes: usize,
    /// What the draws from the table begin with; the same seed draws the same requests.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seed: u64,
    /// A second each over four connections: shows that everything works, and measures nothing.
    #[arg(long)]
    smoke: bool,
    /// Spoil the scene (another origin, miscounted bodies, a route that is not there), to see that the
    /// scripts notice: each must end with 1.
    #[arg(long)]
    spoil: bool,
    #[command(flatten)]
    cpus: Cpus,
    /// The folder of the scripts.
    #[arg(long, value_name = "FOLDER", default_value = "loadtest/wrk")]
    folder: PathBuf,
    /// Where the results go.
    #[arg(long, value_name = "FOLDER", default_value = "loadtest/results/wrk")]
    results: PathBuf,
}

fn main() -> ExitCode {
    verdict::exit_code(match Cli::parse().command {
        Command::Run(options) => run_all(&options),
        Command::Origin { address } => serve(address),
    })
}

fn run_all(options: &Options) -> Result<Verdict> {
    let plan = options.plan()?;
    let _congestion = Congestion::hold();
    let mut verdicts = Vec::new();
    for script in options.scripts() {
        println!("== {} ==", script.name());
        match run(script, &plan) {
            Ok(verdict) => verdicts.push(verdict),
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => {
                println!("{}: INVALID: {error:#}", script.name());
                verdicts.push(Verdict::Invalid(vec![format!("{}: {error:#}", script.name())]));
            }
        }
    }
    Ok(verdict::worst(verdicts))
}

fn serve(address: SocketAddr) -> Result<Verdict> {
    let interrupt = Interrupt::install()?;
    let bodies = Bodies::listen(address, false)?;
    println!("listening on {}; Ctrl-C ends it", bodies.address);
    while interrupt.check().is_ok() {
        sleep(POLL);
    }
    Ok(Verdict::Pass)
}

impl Options {
    fn scripts(&self) -> Vec<Script> {
        match self.scripts.as_slice() {
            [] => Script::value_variants().to_vec(),
            named => named.to_vec(),
        }
    }

    fn plan(&self) -> Result<Plan> {
        ensure!(self.hosts > 0 && self.routes > 0 && self.connections > 0, "nothing to do");
        Ok(Plan {
            setting: Setting::new(self.sallyport.as_deref(), self.cpus)?,
            scripts: self.folder.clone(),
            results: self.results.clone(),
            hosts: self.hosts,
            routes: self.routes,
            seed: self.seed,
            connections: if self.smoke { 4 } else { self.connections },
            seconds: if self.smoke { 1 } else { self.seconds },
            spoiled: Spoiled(self.spoil),
        })
    }
}
