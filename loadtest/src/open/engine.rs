//! The loop of an offer: what is due is sent, what came is read, what takes too long is given up.

use super::connection::{Connection, Event, Pending};
use super::{Answer, Failures, Offer, Outcome};
use crate::interrupt::Interrupt;
use anyhow::{Context, Result};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the last answers may take after the last request.
const GRACE: Duration = Duration::from_secs(2);
/// How often what takes too long is looked for.
const HOUSEKEEPING: Duration = Duration::from_millis(50);
const BUFFER_BYTES: usize = 256 * 1024;
const EVENTS: usize = 256;

pub(super) struct Engine<'offer> {
    offer: &'offer Offer,
    requests: Vec<Vec<u8>>,
    epoll: OwnedFd,
    slots: Vec<Option<Connection>>,
    /// Slots without a request under way; taken in turn, so that all connections are used.
    free: VecDeque<usize>,
    /// Requests that are due and have no connection.
    waiting: VecDeque<u64>,
    next: u64,
    start: Instant,
    outcome: Outcome,
    buffer: Vec<u8>,
}

impl<'offer> Engine<'offer> {
    pub(super) fn new(offer: &'offer Offer, start: Instant) -> Result<Self> {
        let count = offer.connections;
        Ok(Self {
            offer,
            requests: offer.requests(),
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            slots: (0..count).map(|_| None).collect(),
            free: (0..count).collect(),
            waiting: VecDeque::new(),
            next: 0,
            start,
            outcome: Outcome {
                planned: offer.planned(),
                warm_up: offer.warm_up,
                scheduled: offer.scheduled(),
                ..Outcome::default()
            },
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    pub(super) fn run(mut self, enough: &AtomicBool, interrupt: &Interrupt) -> Result<Outcome> {
        let busy_before = thread_time();
        let mut housekeeping = self.start + HOUSEKEEPING;
        let mut events = Vec::with_capacity(EVENTS);
        while !self.is_finished() {
            self.poll(&mut events, housekeeping)?;
            for event in events.drain(..) {
                self.take(event);
            }
            self.dispatch();
            if Instant::now() >= housekeeping {
                interrupt.check()?;
                self.give_up();
                if enough.load(Ordering::Relaxed) {
                    self.end();
                }
                housekeeping = Instant::now() + HOUSEKEEPING;
            }
        }
        self.abandon();
        self.outcome.wall = self.start.elapsed();
        self.outcome.busy = thread_time().saturating_sub(busy_before);
        Ok(self.outcome)
    }

    fn is_finished(&self) -> bool {
        let quiet = self.waiting.is_empty() && self.free.len() == self.slots.len();
        let all_sent = self.next == self.outcome.planned;
        all_sent && (quiet || self.start.elapsed() > self.outcome.scheduled + GRACE)
    }

    /// Has nothing more be due.
    fn end(&mut self) {
        if self.next < self.outcome.planned {
            self.outcome.scheduled = self.offer.due(self.next);
            self.outcome.planned = self.next;
        }
    }

    /// Waits for a socket, the next request or the next look around, whichever is first.
    fn poll(&self, events: &mut Vec<epoll::Event>, housekeeping: Instant) -> Result<()> {
        let due = (self.next < self.outcome.planned)
            .then(|| self.start + self.offer.due(self.next))
            .map_or(housekeeping, |due| due.min(housekeeping));
        let timeout = due.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(timeout).context("a timeout too long to wait")?;
        events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("polling"),
        }
    }

    fn take(&mut self, event: epoll::Event) {
        let slot = event.data.u64() as usize;
        let Some(connection) = &mut self.slots[slot] else { return };
        let flags = event.flags;
        if flags.contains(EventFlags::OUT) {
            self.write(slot);
        } else {
            let came = connection.read(&mut self.buffer);
            self.settle(slot, came);
        }
    }

    /// Turns to every request that is due by now, in order, and to those that waited before them.
    fn dispatch(&mut self) {
        let now = Instant::now();
        while self.next < self.outcome.planned {
            let due = self.start + self.offer.due(self.next);
            if due > now {
                break;
            }
            self.outcome.lateness.push(now - due);
            self.waiting.push_back(self.next);
            self.next += 1;
        }
        while !self.waiting.is_empty() && self.send_next(now) {}
    }

    /// Hands the request that has waited longest to a free slot; whether there were both.
    fn send_next(&mut self, now: Instant) -> bool {
        let Some(slot) = self.free.pop_front() else { return false };
        let Some(number) = self.waiting.pop_front() else { return false };
        if self.slots[slot].is_none() && !self.connect(slot) {
            self.fail(number, |failures| &mut failures.connect);
            self.free.push_back(slot);
            return true;
        }
        if let Some(connection) = &mut self.slots[slot] {
            connection.begin(number, now);
            self.write(slot);
        }
        true
    }

    fn connect(&mut self, slot: usize) -> bool {
        let Ok(connection) = Connection::open(self.offer.target, self.offer.source) else {
            return false;
        };
        let data = EventData::new_u64(slot as u64);
        let flags = connection.polled_for;
        let polled = epoll::add(&self.epoll, connection.socket(), data, flags).is_ok();
        self.slots[slot] = polled.then_some(connection);
        polled
    }

    /// Writes what is to be written, and asks to be told of room only while there is more.
    fn write(&mut self, slot: usize) {
        let Some(connection) = &mut self.slots[slot] else { return };
        let Some(number) = connection.pending.map(|pending| pending.number) else { return };
        let request = &self.requests[number as usize % self.requests.len()];
        let event = connection.write(request);
        let wants_room = connection.wants_to_write(request.len());
        self.settle(slot, event);
        self.poll_for_room(slot, wants_room);
    }

    fn poll_for_room(&mut self, slot: usize, wants_room: bool) {
        let Some(connection) = &mut self.slots[slot] else { return };
        let out = if wants_room { EventFlags::OUT } else { EventFlags::empty() };
        if connection.polled_for != EventFlags::IN | out {
            connection.polled_for = EventFlags::IN | out;
            let data = EventData::new_u64(slot as u64);
            let flags = connection.polled_for;
            if epoll::modify(&self.epoll, connection.socket(), data, flags).is_err() {
                self.settle(slot, Event::Closed);
            }
        }
    }

    /// Books what a connection came to, and frees its slot if its request is over.
    fn settle(&mut self, slot: usize, event: Event) {
        if event == Event::None {
            return;
        }
        let Some(connection) = &mut self.slots[slot] else { return };
        let answering = connection.is_answering();
        let pending = connection.pending.take();
        let keeps = matches!(event, Event::Answered { keep: true, .. }) && !self.offer.close;
        if !keeps {
            self.slots[slot] = None;
        }
        match pending {
            Some(pending) => {
                self.free.push_back(slot);
                self.book(pending, event, answering);
            }
            None => self.outcome.reconnects += 1,
        }
    }

    fn book(&mut self, pending: Pending, event: Event, answering: bool) {
        match event {
            Event::Answered { status, .. } if status < 400 => self.answered(pending.number),
            Event::Answered { .. } => self.fail(pending.number, |failures| &mut failures.status),
            Event::Refused => self.fail(pending.number, |failures| &mut failures.connect),
            Event::Unreadable => self.fail(pending.number, |failures| &mut failures.unreadable),
            _ if answering => self.fail(pending.number, |failures| &mut failures.broken),
            _ => self.fail(pending.number, |failures| &mut failures.closed),
        }
    }

    fn answered(&mut self, number: u64) {
        let due = self.offer.due(number);
        let latency = self.start.elapsed().saturating_sub(due);
        self.outcome.answers.push(Answer { due, latency });
    }

    fn fail(&mut self, number: u64, kind: fn(&mut Failures) -> &mut u64) {
        *kind(&mut self.outcome.failures) += 1;
        self.outcome.failed.push(self.offer.due(number));
    }

    /// Fails requests that have been under way for too long; their connections end with them.
    fn give_up(&mut self) {
        let now = Instant::now();
        self.time_out(|pending| now.saturating_duration_since(pending.since) > PATIENCE);
    }

    /// Fails whatever is not answered by now.
    fn abandon(&mut self) {
        self.time_out(|_| true);
        while let Some(number) = self.waiting.pop_front() {
            self.fail(number, |failures| &mut failures.timeout);
        }
    }

    fn time_out(&mut self, is_over: impl Fn(&Pending) -> bool) {
        for slot in 0..self.slots.len() {
            let pending = self.slots[slot].as_ref().and_then(|connection| connection.pending);
            if let Some(pending) = pending.filter(&is_over) {
                self.slots[slot] = None;
                self.free.push_back(slot);
                self.fail(pending.number, |failures| &mut failures.timeout);
            }
        }
    }
}

/// CPU time of this thread.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
