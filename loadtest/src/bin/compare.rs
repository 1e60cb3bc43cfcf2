//! Sallyport beside other proxies: CPU, latency at equal rates, memory, reloads, a flood.
//!
//! The command line of [`loadtest::compare`]. It ends with 0 when the run is valid and nothing that
//! `--gate` asks for was missed, 1 when something was, 2 when there is nothing to go by, and 130 when
//! it was interrupted.

#![allow(missing_docs, reason = "a binary has no reader of its items but its own source")]

use clap::Parser;
use loadtest::compare::Options;
use loadtest::verdict;
use std::process::ExitCode;

/// Measures proxies side by side, one worker each on one pinned CPU, in interleaved rounds.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    verdict::exit_code(Cli::parse().options.run())
}
