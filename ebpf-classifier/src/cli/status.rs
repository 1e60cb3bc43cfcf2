//! `sallyport-classifier status`: what a running classifier does and sees, from its pinned maps.

mod report;
mod table;

use clap::Parser;

use super::{Failure, Which};
use crate::pinned::{Access, Maps};

/// Print what a running classifier does and sees.
#[derive(Debug, Parser)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Prints it.
///
/// # Errors
/// If no classifier has pinned its maps there, or they may not be read.
pub fn main(args: &Args) -> Result<(), Failure> {
    let pin_path = args.which.pin_path()?;
    let maps = Maps::open(&pin_path, Access::Read)?;
    let report = report::gather(&pin_path, &maps)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", table::of(&report));
    }
    Ok(())
}
