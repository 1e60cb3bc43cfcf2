//! The command line: one file a command in `cli/`.

pub mod check;
#[cfg(feature = "xds")]
pub mod convert;
pub mod demo;
#[cfg(feature = "xds")]
mod envoy;
pub mod explain;
pub mod origin;
pub mod run;
mod schema;
pub mod upgrade;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sallyport_config::process::{self, Completions, Failure, Log, Manual};
use sallyport_plugin::Kinds;

use crate::config::{self, Loaded};
use crate::filters::Filters;

/// An edge gateway: virtual hosts, routes, load balancing, and statistics for each.
#[derive(Debug, Parser)]
#[command(
    name = "sallyport",
    version,
    long_version = crate::build::LONG_VERSION,
    arg_required_else_help = true
)]
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
    /// Print the JSON Schema of the configuration, for editors
    Schema(schema::Args),
    /// Write another proxy's configuration as ours
    #[cfg(feature = "xds")]
    Convert(convert::Args),
    /// Have a running gateway replaced by the binary now on disk
    Upgrade(upgrade::Args),
    /// Serve a small HTTP origin for demos and tests
    Origin(origin::Args),
    /// Serve three origins and the gateway in one process
    Demo(demo::Args),
    /// Print what a shell completes this command line with
    Completions(Completions),
    /// Print the manual page
    Man(Manual),
}

/// Pingora logs every client that goes away as an error, and the h2 crate every PING that nobody asked for: a client
/// must not be able to fill a disk. What matters of it is logged by the phase that knows the route, or counted.
const LOG: &str = "info,h2=off,pingora=off,rustls=off,tokio_rustls=off";

/// The whole program, for a gateway that knows these kinds of filters: reads the command line, starts
/// logging, runs the command. Returns what the process is to exit with.
///
/// # Panics
/// If logging was started before.
#[must_use]
pub fn main(kinds: Kinds) -> ExitCode {
    let cli = Cli::parse();
    let log = Log::start(LOG);
    process::exit("sallyport", dispatch(cli.command, kinds, log))
}

/// Reads a configuration that is not going to be served.
fn load(path: &Path, kinds: Kinds) -> Result<Loaded, Failure> {
    config::load(path, &Filters::idle(kinds)).map_err(Failure::Config)
}

/// Runs the command.
///
/// # Errors
/// If it failed; the failure knows its exit code.
pub fn dispatch(command: Command, kinds: Kinds, log: Log) -> Result<(), Failure> {
    match command {
        Command::Run(args) => run::main(&args, kinds, log),
        Command::Check(args) => check::main(&args, kinds),
        Command::Explain(args) => explain::main(args, kinds),
        Command::Schema(args) => schema::main(&args, &kinds),
        #[cfg(feature = "xds")]
        Command::Convert(args) => convert::main(&args),
        Command::Upgrade(args) => upgrade::main(&args),
        Command::Origin(args) => origin::main(&args),
        Command::Completions(args) => args.print::<Cli>(),
        Command::Man(args) => args.print::<Cli>(),
        Command::Demo(args) => demo::main(&args, kinds, log),
    }
}

/// A configuration file given as an argument.
type ConfigFile = PathBuf;
