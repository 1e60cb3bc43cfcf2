//! User instructions of a request, by callgrind.
//!
//! Time on a machine that is shared says little about a change of a few percent; instructions are the
//! same in every run. The gateway serves a number of requests under `valgrind --tool=callgrind`, and
//! then more of them: the difference is what requests cost, without the start and the end. They come
//! one after the other over keep-alive connections, so that each has its own turns of the reactor: a
//! loaded gateway, which finds several ready at once, pays less.
//!
//! The kernel's part is not in it, nor what the caches do.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::Client;
use crate::interrupt::Interrupt;
use crate::origin::{Origin, Stage};
use crate::process::Process;

/// Requests that are not counted: afterwards what is made once is made.
const BEFORE: usize = 400;
/// How long a program may take to start or to end under valgrind.
const PATIENCE: Duration = Duration::from_secs(120);
const BODY_BYTES: usize = 1024;

/// How much is counted.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// Requests that are counted.
    #[arg(long, default_value_t = 1200)]
    pub count: usize,
    /// Connections, each with one request after the other.
    #[arg(long, default_value_t = 16)]
    pub connections: usize,
    /// Routes of the virtual host, of which one in the middle is asked for.
    #[arg(long, default_value_t = 100)]
    pub routes: usize,
}

/// User instructions that `gateway` takes for a request.
///
/// # Errors
/// valgrind or nginx is missing, the gateway does not serve, or the run was interrupted.
pub fn of_request(gateway: &Path, plan: &Plan) -> Result<u64> {
    ensure!(plan.count > 0 && plan.connections > 0 && plan.routes > 0, "nothing is counted");
    let interrupt = Interrupt::install()?;
    let dir = TempDir::new()?;
    let origin = Origin::start(&Stage::one(BODY_BYTES), 0, dir.path(), &interrupt)?;
    let config = dir.path().join("sallyport.yaml");
    fs::write(&config, configuration(plan.routes, origin.upstreams[0][0]))?;
    let counted = |requests| {
        let run = Run { gateway, config: &config, dir: dir.path(), interrupt: &interrupt, plan };
        run.instructions(requests).with_context(|| format!("{requests} requests"))
    };
    let (few, many) = (counted(BEFORE)?, counted(BEFORE + plan.count)?);
    Ok(many.saturating_sub(few) / plan.count as u64)
}

/// A gateway with as many routes to `origin`.
fn configuration(routes: usize, origin: SocketAddr) -> String {
    let mut text = format!(
        "listeners: [ {{ name: web, address: 127.0.0.1:0 }} ]\n\
         upstreams: [ {{ name: up, endpoints: [ {{ address: \"{origin}\" }} ] }} ]\n\
         virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    routes:\n"
    );
    for route in 0..routes {
        writeln!(
            text,
            "      - {{ name: r{route}, match: {{ path: {{ prefix: /r{route}/ }} }}, \
             forward: {{ upstream: up }} }}"
        )
        .expect("a string takes what is written to it");
    }
    text
}

struct Run<'r> {
    gateway: &'r Path,
    config: &'r Path,
    dir: &'r Path,
    interrupt: &'r Interrupt,
    plan: &'r Plan,
}

impl Run<'_> {
    /// Instructions of a gateway that serves `requests` and ends.
    fn instructions(&self, requests: usize) -> Result<u64> {
        let out = self.dir.join("callgrind.out");
        let out_option = format!("--callgrind-out-file={}", out.display());
        let command = [
            "valgrind".as_ref(),
            "--tool=callgrind".as_ref(),
            out_option.as_ref(),
            self.gateway.as_os_str(),
            "run".as_ref(),
            "--threads".as_ref(),
            "1".as_ref(),
            "--config".as_ref(),
            self.config.as_os_str(),
        ];
        let mut process = Process::start("gateway", 0, &command, self.dir)
            .context("could not start valgrind (Debian package valgrind)")?;
        let address = self.listening(&mut process)?;
        self.load(address, requests)?;
        let id = Pid::from_raw(i32::try_from(process.id())?).context("a process has an id")?;
        kill_process(id, Signal::TERM)?;
        process.wait(PATIENCE, self.interrupt)?;
        total(&fs::read_to_string(&out)?).context("callgrind has written no total")
    }

    /// Where the gateway says that it listens.
    fn listening(&self, process: &mut Process) -> Result<SocketAddr> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.interrupt.check()?;
            process.check_alive()?;
            let printed = process.printed();
            let address = printed.split_once("name=web address=");
            if let Some((_, rest)) = address.filter(|(_, rest)| rest.contains('\n')) {
                let address = rest.split_ascii_whitespace().next().unwrap_or_default();
                return address.parse().with_context(|| format!("{address:?} is no address"));
            }
            if Instant::now() > deadline {
                bail!("the gateway does not listen: {}", printed.trim());
            }
            sleep(Duration::from_millis(50));
        }
    }

    fn load(&self, address: SocketAddr, requests: usize) -> Result<()> {
        let clients = (0..self.plan.connections).map(|_| Client::connect(address));
        let mut clients = clients.collect::<Result<Vec<_>>>()?;
        let path = format!("/r{}/page?q=1", self.plan.routes / 2);
        for request in 0..requests {
            self.interrupt.check()?;
            let index = request % clients.len();
            clients[index].fetch(&path)?;
        }
        Ok(())
    }
}

/// The total that callgrind wrote.
fn total(written: &str) -> Option<u64> {
    let lines = written.lines().rev();
    let mut totals = lines.filter_map(|line| {
        line.strip_prefix("totals: ").or_else(|| line.strip_prefix("summary: "))
    });
    totals.next()?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_what_callgrind_says() {
        assert_eq!(total("events: Ir\nsummary: 7\nfn=(1)\n+1 5\n"), Some(7));
        assert_eq!(total("events: Ir\nfn=(1)\n+1 5\ntotals: 1234\n"), Some(1234));
        assert_eq!(total("events: Ir\n"), None);
    }
}
