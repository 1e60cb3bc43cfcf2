//! Long downloads, for the tests in which they are what others have to live beside.
//!
//! Owns one download, the origin that has something long to send, and the gateway's file for both. A
//! download asks again when its object ends, on the same connection, so it lasts as long as it is read.
//! What it reads is thrown away inside the kernel (`MSG_TRUNC`), because copying it out would cost the
//! load more than it costs a proxy to pass it on. Who reads when, and how much, is its user's matter.

mod flow;

pub use flow::Flow;

use crate::interrupt::Interrupt;
use crate::nginx;
use crate::process::{Process, free_address};
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;

/// The path of the object that downloads read.
pub const BULK: &str = "/bulk/object";
/// The path of the small answers.
pub const SMALL: &str = "/small";
/// Length of the object: enough that a download seldom asks again, and little of a page cache.
pub const OBJECT_BYTES: u64 = 64 << 20;
/// Length of a small answer.
const SMALL_BYTES: usize = 1024;

/// Two nginx processes on the load's CPU: one sends the object from the page cache, the other answers
/// small requests, so that neither waits for the other's event loop.
#[derive(Debug)]
pub struct Origins {
    /// Where the object is.
    pub bulk: SocketAddr,
    /// Where the small answers are.
    pub small: SocketAddr,
    processes: [Process; 2],
}

impl Origins {
    /// Starts both on `cpu`, with their files in `dir`.
    ///
    /// # Errors
    /// nginx is missing or does not start.
    pub fn start(cpu: usize, dir: &Path, interrupt: &Interrupt) -> Result<Self> {
        let root = dir.join("root");
        fs::create_dir_all(root.join("bulk"))?;
        // A hole: it becomes zeros in the page cache, and takes no room on any disk.
        File::create(root.join(&BULK[1..]))?.set_len(OBJECT_BYTES)?;
        let (bulk, small) = (free_address()?, free_address()?);
        let start = |name, conf, address| start(name, conf, address, cpu, dir, interrupt);
        let bulk_process = start("bulk", bulk_origin(bulk, &root, dir), bulk)?;
        let small_process = start("small", nginx::origin(small, SMALL_BYTES, dir), small)?;
        Ok(Self { bulk, small, processes: [bulk_process, small_process] })
    }

    /// Fails if one has ended.
    ///
    /// # Errors
    /// What it said before it ended.
    pub fn check_alive(&mut self) -> Result<()> {
        self.processes.iter_mut().try_for_each(Process::check_alive)
    }
}

fn start(
    name: &str,
    conf: String,
    address: SocketAddr,
    cpu: usize,
    dir: &Path,
    interrupt: &Interrupt,
) -> Result<Process> {
    let file = dir.join(format!("{name}.conf"));
    fs::write(&file, conf)?;
    let mut process = Process::start(name, cpu, &nginx::command(&file), dir)?;
    process.wait_for_listener(address, interrupt).context("the origin (Debian package nginx)")?;
    Ok(process)
}

fn bulk_origin(listen: SocketAddr, root: &Path, dir: &Path) -> String {
    let server = format!(
        "server {{ listen {listen} backlog=4096; sendfile on; \
         sendfile_max_chunk 256k; root {}; default_type application/octet-stream; }}\n",
        root.display()
    );
    nginx::around("bulk", &server, 1, dir)
}

/// The gateway's file: the object and the small answers, each with an upstream of its own.
pub fn configuration(listen: SocketAddr, admin: SocketAddr, origins: &Origins) -> String {
    let Origins { bulk, small, .. } = origins;
    format!(
        r#"listeners:
  - name: web
    address: "{listen}"
admin: {{ address: "{admin}", hosts: [loadtest.example] }}
upstreams:
  - name: bulk
    endpoints: [{{ address: "{bulk}" }}]
  - name: small
    endpoints: [{{ address: "{small}" }}]
virtual_hosts:
  - name: everyone
    domains: ["*"]
    routes:
      - name: bulk
        match: {{ path: {{ prefix: /bulk }} }}
        forward: {{ upstream: bulk }}
      - name: small
        match: {{ path: {{ prefix: / }} }}
        forward: {{ upstream: small }}
"#
    )
}

/// Where the gateway takes requests and tells what it is doing, and its process.
#[derive(Debug)]
pub struct Gateway {
    /// Where it takes requests.
    pub listen: SocketAddr,
    /// Where it tells its figures.
    pub admin: SocketAddr,
    /// Its process.
    pub process: Process,
}

impl Gateway {
    /// Starts `program` on `cpu` with so many threads, before `origins`.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(
        program: &Path,
        cpu: usize,
        threads: usize,
        origins: &Origins,
        dir: &Path,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let (listen, admin) = (free_address()?, free_address()?);
        let conf = dir.join("sallyport.yaml");
        fs::write(&conf, configuration(listen, admin, origins))?;
        let (program, conf) = (program.display().to_string(), conf.display().to_string());
        let threads = threads.to_string();
        let command = [&program, "run", "--config", &conf, "--threads", &threads];
        let mut process = Process::start("gateway", cpu, &command, dir)?;
        process.wait_for_listener(listen, interrupt)?;
        Ok(Self { listen, admin, process })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_is_a_prefix_that_the_small_answers_do_not_have() {
        assert!(BULK.starts_with("/bulk/") && !SMALL.starts_with("/bulk"));
    }

    #[test]
    fn the_origin_sends_from_the_page_cache() {
        let address = "127.0.0.1:8080".parse().unwrap();
        let conf = bulk_origin(address, Path::new("/run/root"), Path::new("/run"));
        assert!(conf.contains("sendfile on;") && conf.contains("root /run/root;"), "{conf}");
    }
}
