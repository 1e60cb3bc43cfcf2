//! `sallyport-classifier check`: every problem at once.

use std::path::PathBuf;

use clap::Parser;

use super::{Failure, load};
use crate::config::{Lists, Loaded};
use crate::kernel::syncookies;

/// Print every problem of a configuration file; exit 0 or 78.
#[derive(Debug, Parser)]
pub struct Args {
    /// The configuration file
    file: PathBuf,
}

/// Loads the file and says what is in it.
///
/// # Errors
/// The problems, if there are any.
pub fn main(args: &Args) -> Result<(), Failure> {
    let Loaded { config, warnings, .. } = load(&args.file, &mut Lists::default())?;
    if !warnings.is_empty() {
        eprintln!("{warnings}");
    }
    let prefixes: usize = config.networks.iter().map(|network| network.prefix_count()).sum();
    println!(
        "{}: ok: {} interfaces, {} zones, {} networks of {prefixes} prefixes",
        args.file.display(),
        config.interfaces.len(),
        config.zones.len(),
        config.networks.len(),
    );
    let asks = config.zones.iter().any(|zone| zone.rules.has(classifier_abi::Zone::COOKIES));
    if asks && !syncookies::are_taken() {
        println!("note: {}", syncookies::HINT);
    }
    Ok(())
}
