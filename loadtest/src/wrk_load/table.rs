//! A table of hosts and routes: the gateway's file and the script's list, from one source.
//!
//! Since both are written from the same entries, every line of the list names a request that the
//! gateway knows and the route that must take it.

use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// One request and the route it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Virtual host, by number.
    pub host: usize,
    /// Route of that host, by number.
    pub route: usize,
}

impl Entry {
    fn domain(&self) -> String {
        format!("h{}.example", self.host)
    }

    fn prefix(&self) -> String {
        format!("/r{}", self.route)
    }

    /// The route's name, alone in the whole table.
    fn name(&self) -> String {
        format!("h{}-r{}", self.host, self.route)
    }
}

/// Every route of every host.
pub fn entries(hosts: usize, routes: usize) -> Vec<Entry> {
    let of = |host| (0..routes).map(move |route| Entry { host, route });
    (0..hosts).flat_map(of).collect()
}

/// Where the script's list is.
pub fn list(dir: &Path) -> PathBuf {
    dir.join("table.txt")
}

/// Writes the script's list: host, a path below the route's prefix, and the route's name.
///
/// # Errors
/// The folder cannot be written to.
pub fn write_list(entries: &[Entry], dir: &Path) -> Result<()> {
    let file = list(dir);
    let line =
        |entry: &Entry| format!("{} {}/x {}\n", entry.domain(), entry.prefix(), entry.name());
    let text: String = entries.iter().map(line).collect();
    fs::write(&file, text).with_context(|| file.display().to_string())
}

/// The gateway's file: these routes, each of which puts its name into its answers, and a virtual host
/// for all other names that forwards everything.
pub fn configuration(
    web: SocketAddr,
    admin: SocketAddr,
    origin: SocketAddr,
    entries: &[Entry],
) -> String {
    let mut file = format!(
        "listeners:\n  - name: web\n    address: \"{web}\"\n    \
         filters: [{{ headers: {{ response: {{ set: {{ x-route: \"${{route}}\" }} }} }} }}]\n\
         admin: {{ address: \"{admin}\", hosts: [loadtest.example] }}\n\
         upstreams:\n  - {{ name: origin, endpoints: [{{ address: \"{origin}\" }}] }}\n\
         virtual_hosts:\n  - name: others\n    domains: [\"*\"]\n    routes:\n      \
         - {{ name: everything, forward: {{ upstream: origin }} }}\n"
    );
    for of_host in entries.chunk_by(|one, next| one.host == next.host) {
        let domain = of_host[0].domain();
        // Writing to a string cannot fail.
        writeln!(file, "  - name: {domain}\n    domains: [{domain}]\n    routes:").ok();
        file.extend(of_host.iter().map(route));
    }
    file
}

fn route(entry: &Entry) -> String {
    format!(
        "      - {{ name: {}, match: {{ path: {{ prefix: {} }} }}, forward: {{ upstream: origin }} }}\n",
        entry.name(),
        entry.prefix()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_and_file_have_the_same_routes() {
        let dir = tempfile::tempdir().unwrap();
        let entries = entries(3, 4);
        let address: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        let file = configuration(address, address, address, &entries);
        write_list(&entries, dir.path()).unwrap();
        let listed = fs::read_to_string(list(dir.path())).unwrap();
        assert_eq!(listed.lines().count(), 12);
        assert_eq!(listed.lines().nth(5), Some("h1.example /r1/x h1-r1"));
        for line in listed.lines() {
            let name = line.rsplit(' ').next().unwrap();
            assert_eq!(file.matches(&format!("name: {name},")).count(), 1, "{name}");
        }
        assert_eq!(file.matches("domains: [h").count(), 3);
    }
}
