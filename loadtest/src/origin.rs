//! The origin of a run: where it listens, and its process.
//!
//! Several upstreams of several endpoints are one nginx that listens in as many places, on loopback
//! addresses of their own, so that a proxy has to keep them apart. What the origin answers is
//! [`crate::nginx`]'s matter.

use crate::interrupt::Interrupt;
use crate::nginx;
use crate::process::{Process, free_address};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

/// Addresses of one port: `127.0.0.1` and on.
const HOSTS_MAX: usize = 250;

/// What is to stand behind the proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Length of every answer, up to [`nginx::BODY_BYTES_MAX`].
    pub body_bytes: usize,
    /// Upstreams, up to 250.
    pub upstreams: usize,
    /// Endpoints of each.
    pub endpoints: usize,
}

impl Stage {
    /// One endpoint.
    pub fn one(body_bytes: usize) -> Self {
        Self { body_bytes, upstreams: 1, endpoints: 1 }
    }

    /// One port for each endpoint of an upstream, one host for each upstream.
    fn addresses(&self, ports: &[u16]) -> Vec<Vec<SocketAddr>> {
        let host = |index: usize| IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1 + index as u8));
        let endpoints = |upstream| ports.iter().map(move |&port| (host(upstream), port).into());
        (0..self.upstreams).map(|upstream| endpoints(upstream).collect()).collect()
    }
}

/// A running origin; dropping it ends it.
#[derive(Debug)]
pub struct Origin {
    process: Process,
    /// Endpoints of every upstream.
    pub upstreams: Vec<Vec<SocketAddr>>,
    /// Where the same process answers differently, with [`nginx::OTHER_BODY`].
    pub other: SocketAddr,
    /// Length of every answer but the other's.
    pub body_bytes: usize,
}

impl Origin {
    /// Starts it on `cpu`, with its files in `dir`.
    ///
    /// # Errors
    /// The stage is too large, nginx is missing or does not start, or the run was interrupted.
    pub fn start(stage: &Stage, cpu: usize, dir: &Path, interrupt: &Interrupt) -> Result<Self> {
        ensure!(stage.body_bytes <= nginx::BODY_BYTES_MAX, "a body is at most 1 MiB");
        ensure!((1..=HOSTS_MAX).contains(&stage.upstreams), "1 to {HOSTS_MAX} upstreams");
        let ports = (0..stage.endpoints).map(|_| Ok(free_address()?.port()));
        let upstreams = stage.addresses(&ports.collect::<Result<Vec<u16>>>()?);
        let other = free_address()?;
        let conf = dir.join("origin.conf");
        let listen = upstreams.concat();
        fs::write(&conf, nginx::origin_at(&listen, Some(other), stage.body_bytes, dir))?;
        let mut process = Process::start("origin", cpu, &nginx::command(&conf), dir)?;
        let context = "the origin (Debian package nginx)";
        process.wait_for_listener(other, interrupt).context(context)?;
        Ok(Self { process, upstreams, other, body_bytes: stage.body_bytes })
    }

    /// Fails if it has ended.
    pub fn check_alive(&mut self) -> Result<()> {
        self.process.check_alive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_all_different() {
        let stage = Stage { body_bytes: 1, upstreams: 100, endpoints: 10 };
        let ports: Vec<u16> = (9000..9010).collect();
        let upstreams = stage.addresses(&ports);
        assert_eq!(upstreams[99][9], "127.0.0.100:9009".parse().unwrap());
        let mut all = upstreams.concat();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 1000);
    }
}
