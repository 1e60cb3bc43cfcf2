//! Lines on their way out: a bounded queue, and one thread for each target that empties it.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use prometheus::IntCounter;

use super::sink::{Sink, Target};

/// Lines that are written together, at the most: one system call for a batch of about 128 KiB.
const BATCH_LINES: usize = 256;

/// How long an idle log takes to see that it is to be opened again.
const IDLE: Duration = Duration::from_secs(1);

/// How often a target that fails is complained about.
const COMPLAINT_EVERY: Duration = Duration::from_secs(10);

/// The writers at work. Places that name one target share its writer, so that lines do not mix.
static WRITERS: LazyLock<Mutex<HashMap<Target, Weak<Writer>>>> = LazyLock::new(Mutex::default);

/// Lines of all logs that are queued and not written yet.
static QUEUED: AtomicUsize = AtomicUsize::new(0);

/// How many lines a filter wrote and how many it lost.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) written: IntCounter,
    pub(super) dropped: IntCounter,
}

/// A line and the filter that wrote it.
pub(super) struct Line {
    pub(super) text: String,
    pub(super) tally: Arc<Tally>,
}

/// The entrance to a queue. When the last one is gone its thread writes what is queued, and ends.
#[derive(Debug)]
pub(super) struct Writer {
    queue: SyncSender<Line>,
}

/// Waits until everything that was logged is written, at most for `within`: for the end of the process.
/// Returns whether it is.
pub fn flush(within: Duration) -> bool {
    let deadline = Instant::now() + within;
    while QUEUED.load(Ordering::Acquire) > 0 {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
    true
}

impl Writer {
    /// The writer of `target`, made if there is none; a queue of `lines` then.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(super) fn of(target: &Target, lines: usize) -> io::Result<Arc<Self>> {
        let mut writers = WRITERS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(writer) = writers.get(target).and_then(Weak::upgrade) {
            return Ok(writer);
        }
        let opened = target.clone();
        let writer = Self::start(move || opened.open(), lines)?;
        writers.retain(|_, writer| writer.strong_count() > 0);
        writers.insert(target.clone(), Arc::downgrade(&writer));
        Ok(writer)
    }

    /// A writer to what `open` opens on the writer's thread, and opens again where it could not.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(super) fn start(
        open: impl Fn() -> io::Result<Box<dyn Sink>> + Send + 'static,
        lines: usize,
    ) -> io::Result<Arc<Self>> {
        let (queue, lines) = sync_channel(lines);
        thread::Builder::new().name("access-log".into()).spawn(move || empty(&lines, open))?;
        Ok(Arc::new(Self { queue }))
    }

    /// Queues a line; never waits. Where the queue is full the line is lost, and counted.
    pub(super) fn write(&self, text: String, tally: &Arc<Tally>) {
        QUEUED.fetch_add(1, Ordering::AcqRel);
        match self.queue.try_send(Line { text, tally: tally.clone() }) {
            Ok(()) => {}
            Err(TrySendError::Full(line) | TrySendError::Disconnected(line)) => {
                line.tally.dropped.inc();
                QUEUED.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }
}

/// Writes what comes until nobody can send any more.
fn empty(lines: &Receiver<Line>, open: impl Fn() -> io::Result<Box<dyn Sink>>) {
    // At once: a file is there once its log is.
    let mut sink = open().ok();
    let mut batch = Vec::new();
    let mut complained = None;
    loop {
        match lines.recv_timeout(IDLE) {
            Ok(line) => batch.push(line),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        batch.extend(lines.try_iter().take(BATCH_LINES - batch.len()));
        if let Err(error) = write(&mut sink, &open, &mut batch) {
            let is_due = complained.is_none_or(|at: Instant| at.elapsed() > COMPLAINT_EVERY);
            if is_due {
                tracing::error!(%error, "lines of an access log are lost");
                complained = Some(Instant::now());
            }
        }
    }
}

fn write(
    sink: &mut Option<Box<dyn Sink>>,
    open: &impl Fn() -> io::Result<Box<dyn Sink>>,
    batch: &mut Vec<Line>,
) -> io::Result<()> {
    let (mut result, total) = (Ok(()), batch.len());
    let opened = match sink {
        Some(sink) => Ok(sink),
        none => open().map(|opened| none.insert(opened)).map_err(|error| (0, error)),
    };
    let written = opened.and_then(|sink| sink.write(batch)).unwrap_or_else(|(written, error)| {
        result = Err(error);
        written
    });
    for (index, line) in batch.drain(..).enumerate() {
        let counter = if index < written { &line.tally.written } else { &line.tally.dropped };
        counter.inc();
    }
    QUEUED.fetch_sub(total, Ordering::AcqRel);
    result
}
