//! The scene of a script: an origin and a gateway on the table's file.

use super::bodies::Bodies;
use super::table::{self, Entry};
use super::{Plan, Script};
use crate::process::{Process, free_address};
use crate::scenarios::Spoiled;
use crate::scenarios::file::{Addresses, replace};
use crate::scenarios::stage::{start_gateway, start_origin};
use anyhow::Result;
use std::net::SocketAddr;
use std::path::Path;

/// What answers behind the gateway.
#[derive(Debug)]
enum Origin {
    Named { _process: Process },
    Bodies { _listening: Bodies },
}

/// A running scene. The gateway ends first.
#[derive(Debug)]
pub struct Scene {
    /// The gateway.
    pub gateway: Process,
    _origin: Origin,
    web: SocketAddr,
}

impl Scene {
    /// Starts what the script needs, with files in `dir`.
    ///
    /// # Errors
    /// A program is missing or does not start.
    pub fn set(script: Script, plan: &Plan, dir: &Path) -> Result<Self> {
        let (origin, listening) = origin(script, plan, dir)?;
        let addresses =
            Addresses { web: free_address()?, admin: free_address()?, origins: vec![listening] };
        let entries = table::entries(plan.hosts, plan.routes);
        table::write_list(&listed(&entries, plan.spoiled), dir)?;
        let Addresses { web, admin, .. } = addresses;
        let path = dir.join("gateway.yaml");
        replace(&path, &table::configuration(web, admin, listening, &entries))?;
        let gateway = start_gateway(&plan.setting, &addresses, &path, dir)?;
        Ok(Self { gateway, _origin: origin, web })
    }

    /// Where the gateway takes requests.
    pub fn target(&self) -> String {
        format!("http://{}", self.web)
    }
}

/// The script's list; spoiled, it has one request of a route that the gateway does not have.
fn listed(entries: &[Entry], Spoiled(spoiled): Spoiled) -> Vec<Entry> {
    let mut listed = entries.to_vec();
    if let (true, Some(last)) = (spoiled, listed.last_mut()) {
        last.route += 1;
    }
    listed
}

/// A spoiled origin says that it is another, miscounts bodies, or does not say what it was asked.
fn origin(script: Script, plan: &Plan, dir: &Path) -> Result<(Origin, SocketAddr)> {
    let Spoiled(spoiled) = plan.spoiled;
    if script == Script::Bodies || (spoiled && script == Script::Pipelined) {
        let bodies = Bodies::start(spoiled)?;
        let address = bodies.address;
        return Ok((Origin::Bodies { _listening: bodies }, address));
    }
    let address = free_address()?;
    let name = if spoiled { "another" } else { "a" };
    let process = start_origin(&plan.setting, name, address, dir)?;
    Ok((Origin::Named { _process: process }, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spoiled_list_names_a_route_that_is_not_there() {
        let entries = table::entries(2, 2);
        assert_eq!(listed(&entries, Spoiled(false)), entries);
        let spoiled = listed(&entries, Spoiled(true));
        assert_eq!(spoiled[..3], entries[..3]);
        assert_eq!(spoiled[3], Entry { host: 1, route: 2 });
    }
}
