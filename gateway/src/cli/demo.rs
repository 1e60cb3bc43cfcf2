//! `sallyport demo`: origins and gateway in one process, to try things out.

use std::path::Path;

use anyhow::Context;
use clap::Parser;
use http::HeaderName;
use sallyport_balance::Policy;
use sallyport_config::process::Log;
use sallyport_plugin::Kinds;
use sallyport_route::PathMatch;

use super::run::Process;
use super::{ConfigFile, Failure};
use crate::config::{Action, HashOn, Loaded, Location};
use crate::origin::Origin;
use crate::server::Addresses;

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
pub fn main(args: &Args, kinds: Kinds, log: Log) -> Result<(), Failure> {
    let process = Process::new(None, kinds, log)?;
    let loaded = process.load(&args.config)?;
    let origins = tokio::runtime::Runtime::new().context("cannot start the origins")?;
    origins.block_on(start_origins(&loaded))?;
    let domain = first_domain(&loaded);
    let sticky = first_sticky(&loaded);
    let greet = |addresses: &Addresses| greet(&args.config, addresses, &domain, sticky.as_ref());
    process.serve(&args.config, loaded, greet)
}

async fn start_origins(loaded: &Loaded) -> anyhow::Result<()> {
    let endpoints = loaded.config.upstreams.iter().flat_map(|upstream| &upstream.endpoints);
    let mut addresses: Vec<_> = endpoints
        .filter_map(|endpoint| match &endpoint.location {
            Location::At(address) => address.as_inet(),
            Location::Name(_) => None,
        })
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

/// The path of the first route to an upstream that hashes a header field, and that field.
fn first_sticky(loaded: &Loaded) -> Option<(String, HeaderName)> {
    let routes = loaded.config.virtual_hosts.iter().flat_map(|host| &host.routes);
    routes.into_iter().find_map(|route| {
        let (Action::Forward(forward), PathMatch::Prefix(path)) =
            (&route.action, &route.matches.path)
        else {
            return None;
        };
        let upstream = &loaded.config.upstreams[forward.targets.first()?.upstream];
        match (upstream.policy, &upstream.hash_on) {
            (Policy::Maglev { .. } | Policy::RingHash, HashOn::Header(field)) => {
                Some((path.to_string(), field.clone()))
            }
            _ => None,
        }
    })
}

fn greet(
    config: &Path,
    addresses: &Addresses,
    domain: &str,
    sticky: Option<&(String, HeaderName)>,
) {
    println!("Sallyport is serving {}. Try:\n", config.display());
    for (name, address) in addresses {
        if name == "admin" {
            match address.strip_prefix("unix:") {
                Some(path) => println!("  curl --unix-socket {path} http://localhost/metrics"),
                None => println!("  curl http://{address}/metrics"),
            }
            continue;
        }
        let three_times = "for n in 1 2 3; do curl -s";
        println!("  {three_times} -H 'Host: {domain}' http://{address}/hello; done");
        if let Some((path, field)) = sticky {
            println!(
                "  {three_times} -H 'Host: {domain}' -H '{field}: ann' http://{address}{path}; done"
            );
        }
    }
    println!("\nEdit {} and save: traffic moves. Ctrl-C ends it.", config.display());
}
