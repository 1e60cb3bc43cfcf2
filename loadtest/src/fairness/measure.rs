//! The run: downloads begun one by one, then read as fast as they come.

use super::placement::{Workers, newcomer};
use super::{Flow, Plan, Run, arithmetic};
use crate::bench::Cpus;
use crate::bulk::{self, BULK, Gateway};
use crate::cpu::Account;
use crate::interrupt::Interrupt;
use anyhow::{Context, Result, ensure};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Downloads and clients are few; more would measure the load.
const FLOWS_MAX: usize = 512;
const CLIENTS_MAX: usize = 200;
const READ_BYTES: usize = 256 * 1024;
const POLL: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Runs the plan against `gateway`, which nobody else asks anything of; both are on the CPUs that `cpus` says.
///
/// # Errors
/// A download failed, the run was interrupted, or the plan has nothing in it.
pub fn measure(
    plan: &Plan,
    gateway: &mut Gateway,
    cpus: Cpus,
    interrupt: &Interrupt,
) -> Result<Run> {
    let Plan { threads, flows, clients, seconds } = *plan;
    ensure!(flows > 0 && clients > 0 && threads > 0 && seconds > 0, "nothing to do");
    ensure!(flows <= FLOWS_MAX, "--flows: at most {FLOWS_MAX}");
    ensure!(clients <= CLIENTS_MAX, "--clients: at most {CLIENTS_MAX}");
    let mut workers = Workers::at(gateway.admin)?;
    let mut downloads = Downloads::begin(plan, gateway, &mut workers, interrupt)?;
    let placed = workers.active()?;
    let accounts = downloads.read(seconds, gateway, cpus, interrupt)?;
    let stayed =
        (!placed.is_empty()).then(|| workers.settled(flows as i64, interrupt)).transpose()?;
    gateway.process.check_alive()?;
    let stayed = stayed.map(|now| now == placed);
    let Busy { gateway_busy, disturbance, load_own, load_busy } = accounts;
    Ok(Run {
        flows: downloads.seen,
        threads,
        stayed,
        gateway_busy,
        disturbance,
        load_own,
        load_busy,
    })
}

struct Busy {
    gateway_busy: f64,
    disturbance: f64,
    load_own: f64,
    load_busy: f64,
}

struct Downloads {
    open: Vec<bulk::Flow>,
    seen: Vec<Flow>,
    epoll: OwnedFd,
}

impl Downloads {
    /// Begins one after another, so that each can be told where it fell.
    fn begin(
        plan: &Plan,
        gateway: &Gateway,
        workers: &mut Workers,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let (mut open, mut seen) = (Vec::new(), Vec::new());
        let mut before = workers.active()?;
        for index in 0..plan.flows {
            let client = index % plan.clients;
            let source = Ipv4Addr::new(127, 0, 0, 2 + client as u8);
            let flow = bulk::Flow::open(gateway.listen, Some(source), BULK, None)?;
            epoll::add(&epoll, flow.socket(), EventData::new_u64(index as u64), EventFlags::IN)?;
            let after = workers.settled(index as i64 + 1, interrupt)?;
            let worker = newcomer(&before, &after);
            seen.push(Flow { client, worker, bytes_per_s: vec![0; plan.seconds] });
            open.push(flow);
            before = after;
        }
        Ok(Self { open, seen, epoll })
    }

    /// Reads for so many seconds; the CPU time is that of the seconds that count.
    fn read(
        &mut self,
        seconds: usize,
        gateway: &Gateway,
        cpus: Cpus,
        interrupt: &Interrupt,
    ) -> Result<Busy> {
        let id = gateway.process.id();
        let read = || -> Result<_> {
            Ok((Account::read(id, cpus.proxy)?, Account::read(std::process::id(), cpus.load)?))
        };
        let start = Instant::now();
        let at = |second: usize| start + Duration::from_secs(second as u64);
        let from = arithmetic::DROPPED_FIRST.min(seconds / 2);
        self.read_until(at(from), start, interrupt)?;
        let before = read()?;
        self.read_until(at(seconds.saturating_sub(arithmetic::DROPPED_LAST)), start, interrupt)?;
        let after = read()?;
        self.read_until(at(seconds), start, interrupt)?;
        let (gateway, load) = (after.0.since(&before.0), after.1.since(&before.1));
        Ok(Busy {
            gateway_busy: gateway.utilisation(),
            disturbance: gateway.disturbance(),
            // Everything that was started is this process's family, the gateway too.
            load_own: load.utilisation() - gateway.utilisation(),
            load_busy: load.cpu_busy_ns as f64 / load.wall.as_nanos() as f64,
        })
    }

    fn read_until(&mut self, end: Instant, start: Instant, interrupt: &Interrupt) -> Result<()> {
        let mut scratch = vec![0; READ_BYTES];
        let mut events = Vec::with_capacity(FLOWS_MAX);
        while Instant::now() < end {
            interrupt.check()?;
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&POLL))
            {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("epoll"),
            }
            let second = start.elapsed().as_secs() as usize;
            for event in events.drain(..) {
                self.take(event.data.u64() as usize, second, &mut scratch)?;
            }
        }
        Ok(())
    }

    /// One piece from one download, so that the load is as even as it can be.
    fn take(&mut self, index: usize, second: usize, scratch: &mut [u8]) -> Result<()> {
        let taken = self.open[index].take(READ_BYTES, scratch);
        let taken = taken.with_context(|| format!("download {}", index + 1))?;
        if let Some(bytes) = self.seen[index].bytes_per_s.get_mut(second) {
            *bytes += taken as u64;
        }
        Ok(())
    }
}
