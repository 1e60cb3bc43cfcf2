//! The `sallyport` binary: read the command line, start logging, run the command.

use std::process::ExitCode;

use clap::Parser;
use sallyport::cli::{self, Cli};
use sallyport_config::process;

// Every request allocates a few dozen small pieces; mimalloc measured fastest for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Pingora logs every client that goes away as an error; what matters of it is logged by the phase
/// that knows the route.
const LOG: &str = "info,pingora_core=off,pingora_proxy=off,pingora_runtime=warn";

fn main() -> ExitCode {
    let cli = Cli::parse();
    process::start_log(LOG);
    process::exit("sallyport", cli::dispatch(cli.command))
}
