//! `sallyport schema`: the JSON Schema of the configuration, for editors, and what of it a Kubernetes
//! cluster has to know.

use std::io::Write;

use clap::Parser;
use sallyport_plugin::Kinds;

use super::Failure;
use crate::config;

/// Print the JSON Schema of the configuration, for editors.
#[derive(Debug, Parser)]
pub struct Args {
    /// Print the CustomResourceDefinitions of this gateway's own kinds instead, as YAML
    #[cfg(feature = "kubernetes")]
    #[arg(long)]
    kubernetes: bool,
}

/// Prints the schema of a configuration with these kinds of filters.
pub(super) fn main(args: &Args, kinds: &Kinds) -> Result<(), Failure> {
    let schema = config::schema(kinds);
    #[cfg(feature = "kubernetes")]
    if args.kubernetes {
        return definitions(&schema);
    }
    let _ = args;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &schema)
        .map_err(anyhow::Error::from)
        .and_then(|()| writeln!(out).map_err(anyhow::Error::from))
        .map_err(Failure::Other)
}

/// Prints the kinds that a cluster is given, with what may be said of each.
#[cfg(feature = "kubernetes")]
fn definitions(schema: &sallyport_config::schema::Schema) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let head = "# This gateway's own kinds: `sallyport schema --kubernetes` prints this file.\n";
    out.write_all(head.as_bytes()).map_err(|error| Failure::Other(error.into()))?;
    let definitions = sallyport_kubernetes::definitions(schema.as_value());
    let print = |definition: &serde_json::Value| {
        let text = sallyport_config::to_yaml(definition).map_err(anyhow::Error::msg)?;
        write!(out, "---\n{text}").map_err(anyhow::Error::from)
    };
    definitions.iter().try_for_each(print).map_err(Failure::Other)
}
