//! The `sallyport` binary: read the command line, start logging, run the command, and turn what
//! went wrong into one message and an exit code.

use std::process::ExitCode;

use clap::Parser;
use sallyport::cli::{self, Cli};
use sallyport::telemetry;

// Every request allocates a few dozen small pieces; mimalloc measured fastest for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::start();
    match cli::dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit_code()
        }
    }
}
