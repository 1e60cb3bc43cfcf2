//! The `sallyport-classifier` binary: read the command line, start logging, run the command.

use std::process::ExitCode;

use clap::Parser;
use sallyport_classifier::cli::{self, Cli};
use sallyport_config::process;

/// What aya warns of is that optional debug information was not taken; what matters is an error.
const LOG: &str = "info,aya=error,aya_obj=error";

fn main() -> ExitCode {
    let cli = Cli::parse();
    process::Log::start(LOG);
    process::exit("sallyport-classifier", cli::dispatch(cli.command))
}
