//! The stage of a scenario: origins, an echo, and the gateway on a generated file.
//!
//! Owns what is started and where it listens; everything ends with the value. What is done to the
//! stage while a scenario plays is [`super::acts`]' part.

use super::file::{self, Addresses, CANARY, ROUTE, Shape};
use super::{Kind, Spoiled};
use crate::bench::{Cpus, beside};
use crate::client::Client;
use crate::echo::Echo;
use crate::interrupt::Interrupt;
use crate::process::{Process, free_address};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Names of the origins; the last is the canary of a split.
pub const ORIGINS: [&str; 3] = ["a", "b", CANARY];
/// Worker threads of the gateway: what is shared between them should be seen to be.
const THREADS: &str = "2";

/// What every stage has in common.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The gateway's binary, which is the origins' too.
    pub gateway: PathBuf,
    /// Who runs where: the gateway, and the origins with k6.
    pub cpus: Cpus,
    /// Raised when the run should stop.
    pub interrupt: Interrupt,
}

/// A gateway that serves, and what stands behind it. The gateway ends first.
#[derive(Debug)]
pub struct Stage {
    /// The gateway.
    pub gateway: Process,
    /// Where everybody listens.
    pub addresses: Addresses,
    /// The gateway's file.
    pub file: PathBuf,
    origins: Vec<Process>,
    _echo: Option<Echo>,
}

impl Setting {
    /// With this gateway, or the one beside this program.
    ///
    /// # Errors
    /// The gateway would share its CPU.
    pub fn new(gateway: Option<&Path>, cpus: Cpus) -> Result<Self> {
        let cpus = cpus.check()?;
        let gateway = gateway.map_or_else(|| beside("sallyport"), |it| Ok(it.to_owned()))?;
        Ok(Self { gateway, cpus, interrupt: Interrupt::install()? })
    }
}

impl Stage {
    /// Starts everything for a scenario, with files in `dir`, and waits until it listens.
    ///
    /// # Errors
    /// A program is missing or does not start.
    pub fn set(kind: Kind, spoiled: Spoiled, setting: &Setting, dir: &Path) -> Result<Self> {
        let echo = echo(kind, spoiled)?;
        let (origins, listening) = match &echo {
            Some(echo) => (Vec::new(), vec![echo.address]),
            None => start_origins(setting, dir)?,
        };
        let addresses =
            Addresses { web: free_address()?, admin: free_address()?, origins: listening };
        let path = dir.join("gateway.yaml");
        file::replace(&path, &file::text(&addresses, kind.first_shape(spoiled)))?;
        let gateway = start_gateway(setting, &addresses, &path, dir)?;
        Ok(Self { gateway, addresses, file: path, origins, _echo: echo })
    }

    /// Puts another file in the place of the gateway's.
    pub fn rewrite(&self, shape: Shape) -> Result<()> {
        file::replace(&self.file, &file::text(&self.addresses, shape))
    }

    /// Ends the origin of that name, or all.
    pub fn end_origins(&mut self, name: Option<&str>) -> usize {
        let before = self.origins.len();
        let mut index = 0;
        self.origins.retain(|_| {
            index += 1;
            name.is_some_and(|name| ORIGINS[index - 1] != name)
        });
        before - self.origins.len()
    }

    /// Requests that the gateway has answered on the route that k6 asks for.
    pub fn served(&self) -> Result<u64> {
        let hosts = self.ask("/routes")?;
        let routes = hosts[0]["routes"].as_array().context("/routes has no routes")?;
        let route = routes.iter().find(|route| route["route"] == ROUTE).context(ROUTE)?;
        route["requests"].as_u64().context("/routes counts no requests")
    }

    /// How many configurations have come in force, and whether the latest was refused.
    pub fn version(&self) -> Result<(u64, bool)> {
        let config = self.ask("/config")?;
        let version = config["version"].as_u64().context("/config has no version")?;
        Ok((version, !config["refused"].is_null()))
    }

    /// Whether the gateway's file is the one in force, told by how many routes it has: no two
    /// versions within fifty have as many.
    pub fn is_current(&self) -> Result<bool> {
        let (_, refused) = self.version()?;
        let routes = self.ask("/routes")?;
        let count = routes[0]["routes"].as_array().context("/routes has no routes")?.len();
        let written = std::fs::read_to_string(&self.file)?;
        Ok(!refused && written.matches("respond:").count() + 1 == count)
    }

    fn ask(&self, path: &str) -> Result<Value> {
        let body = Client::connect(self.addresses.admin)?.fetch(path)?;
        serde_json::from_slice(&body).with_context(|| format!("the admin listener's {path}"))
    }
}

fn echo(kind: Kind, spoiled: Spoiled) -> Result<Option<Echo>> {
    match (kind, spoiled) {
        (Kind::Websocket, Spoiled(true)) => Ok(Some(Echo::breaking_after(2)?)),
        (Kind::Websocket, Spoiled(false)) => Ok(Some(Echo::start()?)),
        _ => Ok(None),
    }
}

fn start_origins(setting: &Setting, dir: &Path) -> Result<(Vec<Process>, Vec<SocketAddr>)> {
    let mut origins = Vec::new();
    let mut addresses = Vec::new();
    for name in ORIGINS {
        let address = free_address()?;
        origins.push(start_origin(setting, name, address, dir)?);
        addresses.push(address);
    }
    Ok((origins, addresses))
}

/// Starts `sallyport origin` under that name and waits until it listens.
///
/// # Errors
/// The binary is missing or does not start.
pub fn start_origin(
    setting: &Setting,
    name: &str,
    address: SocketAddr,
    dir: &Path,
) -> Result<Process> {
    let gateway = program(setting)?;
    let listen = address.to_string();
    let command = [&gateway, "origin", "--name", name, "--address", &listen];
    let mut origin = Process::start(&format!("origin-{name}"), setting.cpus.load, &command, dir)?;
    origin.wait_for_listener(address, &setting.interrupt)?;
    Ok(origin)
}

/// Starts the gateway on the file at `path` and waits until it listens.
///
/// # Errors
/// The binary is missing, or the file is refused.
pub fn start_gateway(
    setting: &Setting,
    addresses: &Addresses,
    path: &Path,
    dir: &Path,
) -> Result<Process> {
    let (gateway, path) = (program(setting)?, path.display().to_string());
    let command = [&gateway, "run", "--threads", THREADS, "--config", &path];
    let mut process = Process::start("gateway", setting.cpus.proxy, &command, dir)?;
    process.wait_for_listener(addresses.web, &setting.interrupt)?;
    process.wait_for_listener(addresses.admin, &setting.interrupt)?;
    Ok(process)
}

fn program(setting: &Setting) -> Result<String> {
    let gateway = &setting.gateway;
    ensure!(gateway.exists(), "{} is missing: build sallyport first", gateway.display());
    Ok(gateway.display().to_string())
}
