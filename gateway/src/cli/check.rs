//! `sallyport check`: every problem at once.

use clap::Parser;
use sallyport_plugin::Kinds;

use super::{ConfigFile, Failure, load};
use crate::classifier::{proxies_with_rates, proxy_hint};

/// Print every problem of a configuration file; exit 0 or 78.
#[derive(Debug, Parser)]
pub struct Args {
    /// The configuration file
    file: ConfigFile,
}

/// Loads the file and says what is in it.
///
/// # Errors
/// The problems, if there are any.
pub fn main(args: &Args, kinds: Kinds) -> Result<(), Failure> {
    let loaded = load(&args.file, kinds)?;
    let config = &loaded.config;
    let routes: usize = config.virtual_hosts.iter().map(|host| host.routes.len()).sum();
    println!(
        "{}: ok: {} listeners, {} virtual hosts, {routes} routes, {} upstreams in {} files",
        args.file.display(),
        config.listeners.len(),
        config.virtual_hosts.len(),
        config.upstreams.len(),
        loaded.files.len(),
    );
    if let Some(classifier) = &config.classifier {
        let trusted: Vec<_> =
            config.listeners.iter().flat_map(|listener| listener.trusted_proxies.clone()).collect();
        for proxy in proxies_with_rates(&classifier.pin_path, &trusted) {
            println!("note: {}", proxy_hint(proxy));
        }
    }
    Ok(())
}
