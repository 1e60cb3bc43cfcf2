//! `sallyport schema`: the JSON Schema of the configuration, for editors.

use std::io::Write;

use sallyport_plugin::Kinds;

use super::Failure;
use crate::config;

/// Prints the schema of a configuration with these kinds of filters.
pub(super) fn main(kinds: &Kinds) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &config::schema(kinds))
        .map_err(anyhow::Error::from)
        .and_then(|()| writeln!(out).map_err(anyhow::Error::from))
        .map_err(Failure::Other)
}
