//! `sallyport origin`: something to route to.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;

use super::Failure;
use crate::origin::Origin;

/// Serve a small HTTP origin for demos and tests.
#[derive(Debug, Parser)]
pub struct Args {
    /// Where to listen
    #[arg(long)]
    address: SocketAddr,
    /// The name it answers with
    #[arg(long, default_value = "origin")]
    name: String,
    /// How long it waits before it answers, such as 20ms
    #[arg(long, value_parser = latency)]
    latency: Option<Duration>,
    /// Answer with a body of so many bytes instead of a description of the request
    #[arg(long)]
    body_bytes: Option<usize>,
}

fn latency(text: &str) -> Result<Duration, String> {
    sallyport_config::units::duration(text)
        .ok_or_else(|| format!("{text:?} is not a time such as 20ms"))
}

/// Serves until the process is ended.
///
/// # Errors
/// If the address cannot be listened on.
pub fn main(args: &Args) -> Result<(), Failure> {
    let origin = Origin::new(args.name.clone(), args.latency.unwrap_or_default(), args.body_bytes);
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    runtime.block_on(async {
        let socket = origin.bind(args.address).await?;
        tracing::info!(name = args.name, address = %socket.local_addr()?, "listening");
        tokio::select! {
            ended = origin.serve(socket) => ended,
            interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        }
    })?;
    Ok(())
}
