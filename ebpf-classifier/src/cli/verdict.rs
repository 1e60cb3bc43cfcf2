//! `sallyport-classifier verdict`: what the gateway does by itself, by hand.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use classifier_abi::{Address, NetworkAction, Verdict, VerdictReason};
use sallyport_config::units;

use super::{Failure, Which, shown};
use crate::pinned::{self, Access, Maps};

/// The longest verdict: an address has another owner some day.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Add, remove or list verdicts.
#[derive(Debug, Parser)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Let nothing from an address in, for a time
    Add {
        /// The address
        address: IpAddr,
        /// For how long, up to 24h
        #[arg(long = "for", default_value = "60s", value_parser = duration)]
        time: Duration,
        /// Why: operator, 4xx, refused, limit or plugin
        #[arg(long, default_value = "operator", value_parser = reason)]
        reason: VerdictReason,
        #[command(flatten)]
        which: Which,
    },
    /// Let an address in again
    Del {
        /// The address
        address: IpAddr,
        #[command(flatten)]
        which: Which,
    },
    /// Print the addresses that are not let in
    List {
        #[command(flatten)]
        which: Which,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    units::duration(text)
        .filter(|time| !time.is_zero() && *time <= LONGEST)
        .ok_or_else(|| "write a time above 0 and up to 24h, such as 60s or 5m".into())
}

fn reason(text: &str) -> Result<VerdictReason, String> {
    let labels = VerdictReason::ALL.map(VerdictReason::label);
    let found = VerdictReason::ALL.into_iter().find(|reason| reason.label() == text);
    found.ok_or_else(|| format!("write one of {}", labels.join(", ")))
}

/// Changes or prints the verdicts of a running classifier.
///
/// # Errors
/// If its maps cannot be opened or the address may not have a verdict.
pub fn main(args: &Args) -> Result<(), Failure> {
    match &args.action {
        Action::Add { address, time, reason, which } => {
            Ok(add(&open(which, Access::Write)?, *address, *time, *reason)?)
        }
        Action::Del { address, which } => Ok(del(&open(which, Access::Write)?, *address)?),
        Action::List { which, json } => Ok(list(&open(which, Access::Read)?, *json)?),
    }
}

fn open(which: &Which, access: Access) -> Result<Maps, Failure> {
    Ok(Maps::open(&which.pin_path()?, access)?)
}

fn add(maps: &Maps, ip: IpAddr, time: Duration, reason: VerdictReason) -> anyhow::Result<()> {
    let address = Address::from(ip);
    let generation = maps.meta().context("cannot read `meta`")?.generation;
    let network = maps.network(address, generation).context("cannot read `networks`")?;
    if network.is_some_and(|network| network.action() == NetworkAction::Allow) {
        bail!("{ip} is in a network marked `allow`: it can have no verdict");
    }
    let expires_ns = pinned::ktime_ns().saturating_add(time.as_nanos() as u64);
    let verdict = Verdict { expires_ns, reason: reason as u32, reserved: 0 };
    maps.verdicts.insert(&address, verdict).context("cannot write `verdicts`")?;
    println!("{ip}: not let in for {} ({})", shown(time), reason.label());
    Ok(())
}

fn del(maps: &Maps, ip: IpAddr) -> anyhow::Result<()> {
    if !maps.verdicts.remove(&ip.into()).context("cannot write `verdicts`")? {
        bail!("{ip} is under no verdict");
    }
    println!("{ip}: let in again");
    Ok(())
}

fn list(maps: &Maps, json: bool) -> anyhow::Result<()> {
    let now_ns = pinned::ktime_ns();
    let mut verdicts = maps.verdicts.entries().context("cannot read `verdicts`")?;
    verdicts.retain(|(_, verdict)| verdict.expires_ns > now_ns);
    verdicts.sort_by_key(|(address, _)| *address);
    let mut rows = Vec::new();
    for (address, verdict) in verdicts {
        let ip = IpAddr::from(address);
        let left = Duration::from_nanos(verdict.expires_ns - now_ns);
        let reason = VerdictReason::from_number(verdict.reason).map_or("?", VerdictReason::label);
        if json {
            let (expires_s, address) = (left.as_secs_f64(), ip.to_string());
            rows.push(serde_json::json!({
                "address": address, "reason": reason, "expires_s": expires_s,
            }));
        } else {
            println!("{:<40} {:<10} {}", ip.to_string(), reason, shown(left));
        }
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    }
    Ok(())
}
