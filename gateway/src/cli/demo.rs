//! `sallyport demo`: origins and gateway in one process, to try things out.

use std::path::Path;

use anyhow::Context;
use clap::Parser;
use sallyport_plugin::Kinds;

use super::run::{Addresses, Process};
use super::{ConfigFile, Failure};
use crate::config::Loaded;
use crate::origin::Origin;

/// What the origins are called, in the order of the endpoints.
const NAMES: [&str; 3] = ["one", "two", "three"];

/// Serve three origins and the gateway in one process.
#[derive(Debug, Parser)]
pub struct Args {
    /// The configuration file; an origin is started for its first three endpoints on loopback
    #[arg(long, default_value = "conf/quickstart.yaml")]
    config: ConfigFile,
}

/// Serves until told to end.
///
/// # Errors
/// As `sallyport run`, and if an origin cannot listen.
pub fn main(args: &Args, kinds: Kinds) -> Result<(), Failure> {
    let process = Process::new(None, kinds)?;
    let loaded = process.load(&args.config)?;
    let origins = tokio::runtime::Runtime::new().context("cannot start the origins")?;
    origins.block_on(start_origins(&loaded))?;
    let domain = first_domain(&loaded);
    process.serve(&args.config, loaded, |addresses| greet(&args.config, addresses, &domain))
}

async fn start_origins(loaded: &Loaded) -> anyhow::Result<()> {
    let endpoints = loaded.config.upstreams.iter().flat_map(|upstream| &upstream.endpoints);
    let mut addresses: Vec<_> = endpoints
        .map(|endpoint| endpoint.address)
        .filter(|address| address.ip().is_loopback())
        .collect();
    addresses.sort();
    addresses.dedup();
    for (address, name) in addresses.into_iter().zip(NAMES) {
        let origin = Origin::new(name.to_owned(), std::time::Duration::ZERO, None);
        let socket = origin.bind(address).await?;
        tokio::spawn(async move {
            if let Err(error) = origin.serve(socket).await {
                tracing::error!(%error, name, "an origin ended");
            }
        });
    }
    Ok(())
}

fn first_domain(loaded: &Loaded) -> String {
    let mut domains = loaded.config.virtual_hosts.iter().flat_map(|host| &host.domains);
    domains
        .next()
        .map_or_else(|| "localhost".into(), |domain| domain.to_string().replace('*', "any"))
}

fn greet(config: &Path, addresses: &Addresses, domain: &str) {
    println!("Sallyport is serving {}. Try:\n", config.display());
    for (name, address) in addresses {
        match name.as_str() {
            "admin" => println!("  curl http://{address}/metrics"),
            _ => println!("  curl -H 'Host: {domain}' http://{address}/hello"),
        }
    }
    println!("\nEdit {} and save: traffic moves. Ctrl-C ends it.", config.display());
}
