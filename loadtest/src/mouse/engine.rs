//! Small clients and downloads in one loop, so that the load has no threads that wait for each other.
//!
//! What came for a small client is looked at first; downloads are read in their turns, a few at a time.

use super::Targets;
use super::mice::Mouse;
use super::pace::{Pace, Progress, WINDOW};
use crate::bulk::{BULK, Flow, SMALL};
use crate::interrupt::Interrupt;
use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// What the kernel takes in of a download before it is read: a few turns at the rates of these tests.
const RECEIVE_BUFFER_BYTES: usize = 256 * 1024;
const READ_BYTES: usize = 1024 * 1024;
/// Downloads that are read between two looks at the small clients.
const READS_MAX: usize = 4;
/// How often the probe asks the origin directly.
const PROBE: Duration = Duration::from_millis(4);
const HOUSEKEEPING: Duration = Duration::from_millis(50);
/// Downloads have settled when what is read varies by no more over so many windows.
const SETTLED_VARIATION: f64 = 0.05;
const SETTLED_WINDOWS: u32 = 6;
/// Longest latency that is told from longer ones.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// What was seen of one turn.
pub(super) struct Seen {
    /// Of small requests, in nanoseconds.
    pub(super) latencies: Histogram<u64>,
    /// Of the probe, in nanoseconds.
    pub(super) direct: Histogram<u64>,
    /// Of the downloads.
    pub(super) bulk: Progress,
}

/// The downloads of a group of cells, and whoever asks beside them.
pub(super) struct Engine {
    targets: Targets,
    flows: Vec<Flow>,
    pace: Pace,
    scratch: Vec<u8>,
}

/// The small clients of one turn; the last is the probe.
struct Clients {
    mice: Vec<Mouse>,
    epoll: OwnedFd,
    probe_due: Instant,
}

impl Engine {
    /// Begins so many downloads, each to be read at this rate.
    pub(super) fn new(targets: &Targets, bulk: usize, bytes_per_s: u64) -> Result<Self> {
        let open = |_| Flow::open(targets.gateway, None, BULK, Some(RECEIVE_BUFFER_BYTES));
        let flows = (0..bulk).map(open).collect::<Result<_>>()?;
        let pace = Pace::new(bulk, bytes_per_s, Instant::now());
        Ok(Self { targets: *targets, flows, pace, scratch: vec![0; READ_BYTES] })
    }

    /// Reads until the downloads run evenly; false if they do not within `limit`.
    pub(super) fn settle(&mut self, limit: Duration, interrupt: &Interrupt) -> Result<bool> {
        let deadline = Instant::now() + limit;
        while !self.flows.is_empty() && Instant::now() < deadline {
            let length = WINDOW * SETTLED_WINDOWS;
            let mut clients = Clients::none()?;
            let seen = self.observe(&mut clients, length, interrupt)?;
            let moving = seen.bulk.longest_still() < length / 2;
            if moving && seen.bulk.variation() <= SETTLED_VARIATION {
                return Ok(true);
            }
        }
        Ok(self.flows.is_empty())
    }

    /// A turn of so many small clients and the probe.
    pub(super) fn turn(
        &mut self,
        small: usize,
        length: Duration,
        interrupt: &Interrupt,
    ) -> Result<Seen> {
        let mut clients = Clients::connect(&self.targets, small)?;
        self.observe(&mut clients, length, interrupt)
    }

    fn observe(
        &mut self,
        clients: &mut Clients,
        length: Duration,
        interrupt: &Interrupt,
    ) -> Result<Seen> {
        let start = Instant::now();
        let end = start + length;
        let histogram = || Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3);
        let bulk = Progress::new(self.flows.len(), start);
        let mut seen = Seen { latencies: histogram()?, direct: histogram()?, bulk };
        let mut housekeeping = start;
        clients.ask_all()?;
        loop {
            let now = Instant::now();
            if now >= end {
                seen.bulk.finish(now);
                return Ok(seen);
            }
            if now >= housekeeping {
                interrupt.check()?;
                housekeeping = now + HOUSEKEEPING;
            }
            clients.probe(now)?;
            let dues = [Some(end), Some(housekeeping), clients.due(), self.pace.due()];
            let due = dues.into_iter().flatten().min().unwrap_or(end);
            clients.serve(due, &mut seen, &mut self.scratch)?;
            self.read_due(&mut seen.bulk)?;
        }
    }

    fn read_due(&mut self, progress: &mut Progress) -> Result<()> {
        for _ in 0..READS_MAX {
            let now = Instant::now();
            let Some((flow, allowed_bytes)) = self.pace.next(now) else { break };
            let at_most = usize::try_from(allowed_bytes).unwrap_or(usize::MAX);
            let taken = self.flows[flow].take(at_most, &mut self.scratch)? as u64;
            self.pace.read(flow, taken);
            progress.read(flow, taken, now);
        }
        Ok(())
    }
}

impl Clients {
    fn none() -> Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self { mice: Vec::new(), epoll, probe_due: Instant::now() })
    }

    fn connect(targets: &Targets, small: usize) -> Result<Self> {
        let mut clients = Self::none()?;
        let places = std::iter::repeat_n(targets.gateway, small).chain([targets.direct]);
        for (index, target) in places.enumerate() {
            let mouse = Mouse::connect(target, SMALL)?;
            let data = EventData::new_u64(index as u64);
            epoll::add(&clients.epoll, mouse.socket(), data, EventFlags::IN)?;
            clients.mice.push(mouse);
        }
        Ok(clients)
    }

    fn ask_all(&mut self) -> Result<()> {
        let small = self.mice.len().saturating_sub(1);
        self.mice[..small].iter_mut().try_for_each(Mouse::ask)
    }

    /// Asks the origin directly if it is time to.
    fn probe(&mut self, now: Instant) -> Result<()> {
        let Some(probe) = self.mice.last_mut() else { return Ok(()) };
        if now < self.probe_due || probe.is_waiting() {
            return Ok(());
        }
        self.probe_due = now + PROBE;
        probe.ask()
    }

    fn due(&self) -> Option<Instant> {
        self.mice.last().filter(|probe| !probe.is_waiting()).map(|_| self.probe_due)
    }

    /// Waits for answers until `due` and asks again for each that came.
    fn serve(&mut self, due: Instant, seen: &mut Seen, scratch: &mut [u8]) -> Result<()> {
        let wait = due.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(wait).context("a wait")?;
        let mut events = Vec::with_capacity(256);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout))
        {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("epoll"),
        }
        let probe = self.mice.len().saturating_sub(1);
        for event in events {
            let index = event.data.u64() as usize;
            let Some(latency) = self.mice[index].read(scratch)? else { continue };
            let latency_ns = latency.as_nanos() as u64;
            if index == probe {
                seen.direct.saturating_record(latency_ns);
            } else {
                seen.latencies.saturating_record(latency_ns);
                self.mice[index].ask()?;
            }
        }
        Ok(())
    }
}
