//! `sallyport-classifier verdict`: what the gateway does by itself, by hand.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::{Parser, Subcommand};
use classifier_abi::{NetworkAction, Prefix, Verdict, VerdictReason};
use ipnet::IpNet;
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
    /// Let nothing from an address or network in, for a time
    Add {
        /// The address, or a prefix such as 192.0.2.0/24; of an IPv6 address, the `ipv6_prefix` it is in
        #[arg(value_parser = target)]
        address: Target,
        /// For how long, up to 24h
        #[arg(long = "for", default_value = "60s", value_parser = duration)]
        time: Duration,
        /// Why: operator, 4xx, refused, limit or plugin
        #[arg(long, default_value = "operator", value_parser = reason)]
        reason: VerdictReason,
        #[command(flatten)]
        which: Which,
    },
    /// Let an address or network in again
    Del {
        /// As it was added
        #[arg(value_parser = target)]
        address: Target,
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

/// Whom a verdict is on.
#[derive(Clone, Copy, Debug)]
enum Target {
    Address(IpAddr),
    Network(IpNet),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Network(network) => network.fmt(f),
        }
    }
}

impl Target {
    fn prefix(&self, maps: &Maps) -> anyhow::Result<Prefix> {
        Ok(match self {
            Self::Address(address) => {
                maps.verdicts.source(*address).context("cannot read `meta`")?
            }
            Self::Network(network) => {
                let before = if network.addr().is_ipv4() { 96 } else { 0 };
                let bits = before + u32::from(network.prefix_len());
                Prefix::new(network.network().into(), bits)
            }
        })
    }
}

fn target(text: &str) -> Result<Target, String> {
    let address = text.parse().map(Target::Address);
    let target = address.or_else(|_| text.parse().map(Target::Network));
    target.map_err(|_| "write an address or a prefix, such as 192.0.2.1 or 2001:db8::/48".into())
}

/// A prefix as it is written; an address alone where it is one.
fn written(prefix: &Prefix) -> String {
    let address = prefix.address();
    let whole = prefix.bits == 128;
    let bits = if address.is_v4() && prefix.bits >= 96 { prefix.bits - 96 } else { prefix.bits };
    let ip = IpAddr::from(address);
    if whole { ip.to_string() } else { format!("{ip}/{bits}") }
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

fn add(maps: &Maps, target: Target, time: Duration, reason: VerdictReason) -> anyhow::Result<()> {
    let prefix = target.prefix(maps)?;
    if prefix.bits == 0 {
        bail!("{target} is everybody: write a longer prefix");
    }
    let generation = maps.meta().context("cannot read `meta`")?.generation;
    let asked = match target {
        Target::Address(address) => address.into(),
        Target::Network(_) => prefix.address(),
    };
    let network = maps.network(asked, generation).context("cannot read `networks`")?;
    if network.is_some_and(|network| network.action() == NetworkAction::Allow) {
        bail!("{target} is in a network marked `allow`: it can have no verdict");
    }
    let expires_ns = pinned::ktime_ns().saturating_add(time.as_nanos() as u64);
    let verdict = Verdict { expires_ns, reason: reason as u32, reserved: 0 };
    maps.verdicts.insert(&prefix, verdict).map_err(|error| match error.raw_os_error() {
        Some(libc::E2BIG | libc::ENOSPC) => anyhow!(
            "there is no room for another verdict: remove one (`verdict list`), or raise \
             `limits.verdicts`, which needs new maps"
        ),
        _ => anyhow!("cannot write `verdicts`: {error}"),
    })?;
    println!("{}: not let in for {} ({})", written(&prefix), shown(time), reason.label());
    Ok(())
}

fn del(maps: &Maps, target: Target) -> anyhow::Result<()> {
    let prefix = target.prefix(maps)?;
    if !maps.verdicts.remove(&prefix).context("cannot write `verdicts`")? {
        bail!("{} is under no verdict", written(&prefix));
    }
    println!("{}: let in again", written(&prefix));
    Ok(())
}

fn list(maps: &Maps, json: bool) -> anyhow::Result<()> {
    let now_ns = pinned::ktime_ns();
    let mut verdicts = maps.verdicts.entries().context("cannot read `verdicts`")?;
    verdicts.retain(|(_, verdict)| verdict.expires_ns > now_ns);
    verdicts.sort_by_key(|(prefix, _)| (prefix.octets, prefix.bits));
    let mut rows = Vec::new();
    for (prefix, verdict) in verdicts {
        let ip = written(&prefix);
        let left = Duration::from_nanos(verdict.expires_ns - now_ns);
        let reason = VerdictReason::from_number(verdict.reason).map_or("?", VerdictReason::label);
        if json {
            let (expires_s, address) = (left.as_secs_f64(), ip);
            rows.push(serde_json::json!({
                "address": address, "reason": reason, "expires_s": expires_s,
            }));
        } else {
            println!("{ip:<43} {reason:<10} {}", shown(left));
        }
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    }
    Ok(())
}
