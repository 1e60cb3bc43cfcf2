//! The command line: one file a command in `cli/`.

pub mod check;
pub mod drops;
pub mod run;
pub mod status;
pub mod verdict;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use sallyport_config::process::{Completions, Failure, Manual};

use crate::config::{self, Lists, Loaded, PIN_PATH};

/// An XDP classifier: zones, screens, verdicts, and hints for the gateway behind it.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Load the program, attach it and follow the file
    Run(run::Args),
    /// Print every problem of a configuration file; exit 0 or 78
    Check(check::Args),
    /// Print what a running classifier does and sees
    Status(status::Args),
    /// Add, remove or list verdicts
    Verdict(verdict::Args),
    /// Print packets as they are dropped, with the reason
    Drops(drops::Args),
    /// Print what a shell completes this command line with
    Completions(Completions),
    /// Print the manual page
    Man(Manual),
}

/// Runs the command.
///
/// # Errors
/// If it failed; the failure knows its exit code.
pub fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(args) => run::main(&args),
        Command::Check(args) => check::main(&args),
        Command::Status(args) => status::main(&args),
        Command::Verdict(args) => verdict::main(&args),
        Command::Drops(args) => drops::main(&args),
        Command::Completions(args) => args.print::<Cli>(),
        Command::Man(args) => args.print::<Cli>(),
    }
}

fn load(path: &Path, lists: &mut Lists) -> Result<Loaded, Failure> {
    config::load(path, lists).map_err(Failure::Config)
}

/// Which classifier is meant: the one that pins in a folder, or that runs on a file.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// The folder of its pins
    #[arg(long, default_value = PIN_PATH, conflicts_with = "config")]
    pin_path: PathBuf,
    /// Its configuration file, which names the folder
    #[arg(long)]
    config: Option<PathBuf>,
}

impl Which {
    fn pin_path(&self) -> Result<PathBuf, Failure> {
        match &self.config {
            Some(file) => Ok(load(file, &mut Lists::default())?.config.pin_path),
            None => Ok(self.pin_path.clone()),
        }
    }
}

/// A time as it is shown: `1m 5s`, `250ms`.
fn shown(time: std::time::Duration) -> String {
    let (seconds, ms) = (time.as_secs(), time.subsec_millis());
    match seconds {
        0 => format!("{ms}ms"),
        1..60 => format!("{seconds}.{}s", ms / 100),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ => format!("{}h {}m", seconds / 3_600, seconds / 60 % 60),
    }
}
