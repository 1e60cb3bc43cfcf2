//! `sallyport demo`: origins, gateway and clients in one process, to try things out.
//!
//! Of the three origins the second is slow, and the third fails now and then, so that the page has
//! something to show.

mod traffic;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

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

/// How late the slow origin answers.
const SLOW: Duration = Duration::from_millis(60);

/// Serve three origins and the gateway in one process, with some traffic.
#[derive(Debug, Parser)]
pub struct Args {
    /// The configuration file; an origin is started for its first three endpoints on loopback
    #[arg(long, default_value = "conf/quickstart.yaml")]
    config: ConfigFile,
    /// Send no requests but yours
    #[arg(long)]
    quiet: bool,
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
    let clear = loaded.config.listeners.iter().find(|listener| listener.tls.is_none());
    let clear = clear.map(|listener| listener.name.clone()).filter(|_| !args.quiet);
    let plan = Arc::new(traffic::Plan::of(&loaded.config));
    let greet = |addresses: &Addresses| {
        greet(&args.config, addresses, &domain, sticky.as_ref());
        let address = clear.and_then(|name| addresses.get(&*name)?.parse().ok());
        if let Some(address) = address {
            origins.spawn(traffic::drive(address, plan));
        }
    };
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
        let latency = if name == NAMES[1] { SLOW } else { Duration::ZERO };
        let origin = Origin::new(name.to_owned(), latency, None);
        let origin = if name == NAMES[2] { origin.failing_now_and_then() } else { origin };
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
                None => {
                    println!("  http://{address}/ in a browser shows what happens");
                    println!("  curl http://{address}/metrics");
                }
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
