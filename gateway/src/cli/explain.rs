//! `sallyport explain`: a decision without a server.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sallyport_plugin::{Kinds, Metrics};
use sallyport_route::Hints;
use sallyport_stats::Registry;

use super::{ConfigFile, Failure, load};
use crate::admin::{parse_client, parse_header};
use crate::config::parse_hints;
use crate::explain::{Question, explain};
use crate::snapshot::Snapshot;

/// Say what becomes of a request, and why.
#[derive(Debug, Parser)]
pub struct Args {
    /// The configuration file
    file: ConfigFile,
    /// The host, as the client sends it
    #[arg(long)]
    host: String,
    /// The path, with its query if it has one
    #[arg(long)]
    path: String,
    /// The method
    #[arg(long, default_value = "GET")]
    method: Method,
    /// A header field, `name: value`; may be repeated
    #[arg(long = "header", value_parser = parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The client's address
    #[arg(long, value_name = "IP[:PORT]", value_parser = parse_client)]
    client: Option<IpAddr>,
    /// A hint of the classifier's, `network=office`; also zone, protocol, screens, syn_rate and ja4; may be
    /// repeated
    #[arg(long = "hint", value_name = "HINT=VALUE", value_parser = checked_hint)]
    hints: Vec<String>,
    /// The name that the client asks for in its TLS handshake
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// The listener; the first one by default
    #[arg(long)]
    listener: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Refused while the command line is read, where the message says which argument it is.
fn checked_hint(text: &str) -> Result<String, String> {
    parse_hints([text]).map(|_| text.to_owned())
}

fn hints(texts: &[String]) -> anyhow::Result<Option<Hints>> {
    let hints = parse_hints(texts.iter().map(String::as_str)).map_err(anyhow::Error::msg)?;
    Ok((!texts.is_empty()).then_some(hints))
}

/// Prints the explanation.
///
/// # Errors
/// If the configuration has problems or no such listener.
pub fn main(args: Args, kinds: Kinds) -> Result<(), Failure> {
    let loaded = load(&args.file, kinds)?;
    let snapshot = Snapshot::compile(loaded, 1, None, &Registry::new(1), &Metrics::default())?;
    let listener = snapshot.listener(args.listener.as_deref()).map_err(anyhow::Error::msg)?;
    let mut headers = HeaderMap::new();
    for (name, value) in args.headers {
        headers.append(name, value);
    }
    let question = Question {
        host: args.host,
        path: args.path,
        method: args.method,
        headers,
        client: args.client,
        hints: hints(&args.hints)?,
        sni: args.sni,
        listener,
    };
    let answer = explain(&Arc::new(snapshot), &question);
    if args.json {
        println!(
            "{}",
            serde_json::to_string_pretty(&answer).context("cannot print the explanation")?
        );
    } else {
        print!("{answer}");
    }
    Ok(())
}
