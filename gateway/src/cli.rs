//! The command line: one file a command in `cli/`.

pub mod check;
pub mod demo;
pub mod explain;
pub mod origin;
pub mod run;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use sallyport_config::Problems;

use crate::config::{self, Loaded};

/// `EX_CONFIG` of sysexits.h: the configuration is at fault, and a restart will not help.
pub const EXIT_CONFIG: u8 = 78;

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

/// Why a command failed, by what its exit code says.
#[derive(Debug)]
pub enum Failure {
    /// The configuration is at fault.
    Config(Problems),
    /// Anything else is.
    Other(anyhow::Error),
}

impl Failure {
    /// 78 for the configuration, 1 otherwise.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) => EXIT_CONFIG.into(),
            Self::Other(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(problems) => problems.fmt(out),
            // The whole chain in one line: what failed, and because of what.
            Self::Other(error) => write!(out, "sallyport: {error:#}"),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
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
