//! `sallyport convert`: another proxy's configuration as ours.

use clap::{Parser, ValueEnum};

use super::envoy::{self, Envoy};
use super::{ConfigFile, Failure};

/// Write another proxy's configuration as ours, to standard output; what of it cannot be said is
/// told on standard error, with exit 78
#[derive(Debug, Parser)]
pub struct Args {
    /// Whose configuration it is
    #[arg(long, value_enum)]
    from: From,
    /// The file; `-` is standard input. Of Envoy: a bootstrap, or the answer of its /config_dump
    file: ConfigFile,
}

/// Whose configuration is read.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum From {
    /// Envoy
    Envoy,
}

/// Writes the configuration.
///
/// # Errors
/// If the file cannot be read, or something in it is refused.
pub fn main(args: &Args) -> Result<(), Failure> {
    let From::Envoy = args.from;
    let envoy = Envoy::read(&args.file)?;
    let is_whole = !envoy.report().has_refusals();
    envoy::print_findings(&envoy);
    print!("{}", envoy.into_yaml()?);
    if is_whole { Ok(()) } else { Err(Failure::Told) }
}
