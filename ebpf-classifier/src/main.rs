//! The `sallyport-classifier` binary: read the command line, start logging, run the command, and turn
//! what went wrong into one message and an exit code.

use std::process::ExitCode;

use clap::Parser;
use sallyport_classifier::cli::{self, Cli};

fn main() -> ExitCode {
    let cli = Cli::parse();
    cli::start_log();
    match cli::dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit_code()
        }
    }
}
