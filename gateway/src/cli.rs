//! The command line: one file a command in `cli/`.

pub mod check;
pub mod demo;
pub mod explain;
pub mod origin;
pub mod run;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use sallyport_config::process::Failure;

use crate::config::{self, Loaded};

/// An edge gateway: virtual hosts, routes, load balancing, and statistics for each.
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
    /// Serve; watch the file and everything it includes
    Run(run::Args),
    /// Print every problem of a configuration file; exit 0 or 78
    Check(check::Args),
    /// Say what becomes of a request, and why
    Explain(explain::Args),
    /// Serve a small HTTP origin for demos and tests
    Origin(origin::Args),
    /// Serve three origins and the gateway in one process
    Demo(demo::Args),
}

fn load(path: &Path) -> Result<Loaded, Failure> {
    config::load(path).map_err(Failure::Config)
}

/// Runs the command.
///
/// # Errors
/// If it failed; the failure knows its exit code.
pub fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(args) => run::main(&args),
        Command::Check(args) => check::main(&args),
        Command::Explain(args) => explain::main(args),
        Command::Origin(args) => origin::main(&args),
        Command::Demo(args) => demo::main(&args),
    }
}

/// A configuration file given as an argument.
type ConfigFile = PathBuf;
