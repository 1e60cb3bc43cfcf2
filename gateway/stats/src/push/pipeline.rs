//! The pipeline with its threads: started, given exporters, flushed, read and shut down.

use std::{
    collections::HashSet,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    batch::Batch,
    catalog::Catalog,
    clock::{Clock, SystemClock},
    config::PipelineConfig,
    core::Core,
    exporter::ExporterSpec,
    meter::LossReason,
    pace::Pace,
    recorder::PushRecorder,
    runner::{Lane, Runner},
    series::SeriesId,
    snapshot::{ExporterSnapshot, PushSnapshot},
};

/// A thread could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the thread {name}")]
pub struct StartError {
    name: String,
    #[source]
    source: io::Error,
}

/// A running pipeline. Dropping it ends its threads without sending what is left; call
/// [`shutdown`](Self::shutdown) for that.
#[derive(Debug)]
pub struct Pipeline {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

/// Reads a pipeline's snapshots. A copy is another handle on the same; once the pipeline was shut
/// down there are no exporters in them.
#[derive(Debug, Clone)]
pub struct Monitor(Arc<Shared>);

impl Monitor {
    /// What the pipeline has counted of itself.
    pub fn snapshot(&self) -> PushSnapshot {
        self.0.snapshot()
    }
}

#[derive(Debug)]
struct Shared {
    core: Arc<Core>,
    rest_max: Duration,
    flush_interval: Duration,
    first_flush: Duration,
    lanes: Mutex<Vec<Running>>,
    stopping: AtomicBool,
}

/// An exporter's thread, as seen from outside. `ended` hangs up when the thread is over.
#[derive(Debug)]
struct Running {
    lane: Arc<Lane>,
    ended: mpsc::Receiver<()>,
}

/// What a shutdown could not deliver.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Lost {
    /// Samples that were still in the buffer.
    pub samples: u64,
    /// Points by exporter, those without loss left out.
    pub points: Vec<(Arc<str>, u64)>,
}

impl Lost {
    /// Whether everything was delivered.
    pub fn is_nothing(&self) -> bool {
        self.samples == 0 && self.points.is_empty()
    }
}

impl Pipeline {
    /// Starts workers and exporters.
    ///
    /// # Errors
    /// If the system does not give a thread; those already started are ended.
    pub fn start(
        config: &PipelineConfig,
        catalog: Arc<Catalog>,
        exporters: Vec<ExporterSpec>,
    ) -> Result<Self, StartError> {
        Self::start_with_clock(config, catalog, exporters, Arc::new(SystemClock::default()))
    }

    /// As [`start`](Self::start), by another clock.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with_clock(
        config: &PipelineConfig,
        catalog: Arc<Catalog>,
        exporters: Vec<ExporterSpec>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let flush_interval = config.flush_interval.max(Duration::from_millis(1));
        let first_flush = clock.now().saturating_add(flush_interval);
        let core = Arc::new(Core::new(config, catalog, clock));
        let shared = Arc::new(Shared {
            core,
            rest_max: config.rest_max,
            flush_interval,
            first_flush,
            lanes: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        let mut pipeline = Self { shared, workers: Vec::new() };
        pipeline.set_exporters(exporters)?;
        for index in 0..pipeline.shared.core.workers() {
            let shared = Arc::clone(&pipeline.shared);
            let worker = spawn(format!("push-worker-{index}"), move || {
                // A panic would be a defect of ours, and is not to end all statistics.
                while catch_unwind(AssertUnwindSafe(|| shared.work(index))).is_err() {
                    thread::park_timeout(Duration::from_secs(1));
                }
            })?;
            pipeline.workers.push(worker);
        }
        Ok(pipeline)
    }

    /// A handle to record with.
    pub fn recorder(&self) -> PushRecorder {
        PushRecorder(Arc::clone(&self.shared.core))
    }

    /// Where series are registered.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.shared.core.catalog
    }

    /// Replaces the exporters. Those that are set to what a running one is go on as they
    /// are; the others' threads are given five seconds for what they have queued. What is in the
    /// buffer goes to the new ones. Of two with one name the first counts.
    ///
    /// # Errors
    /// If the system does not give a thread; then nothing has changed.
    pub fn set_exporters(&self, exporters: Vec<ExporterSpec>) -> Result<(), StartError> {
        const FAREWELL: Duration = Duration::from_secs(5);
        let mut lanes = self.shared.lock();
        let mut fresh: Vec<Running> = Vec::new();
        let (mut kept, mut names) = (Vec::new(), HashSet::new());
        for spec in exporters {
            if !names.insert(Arc::clone(&spec.name)) {
                continue;
            }
            match lanes.iter().position(|running| running.lane.spec.is_as(&spec)) {
                Some(lane) => kept.push(lane),
                None => fresh.push(Running::start(spec, &self.shared.core.clock)?),
            }
        }
        let deadline = self.shared.core.clock.now().saturating_add(FAREWELL);
        let old = std::mem::take(&mut *lanes);
        for (index, running) in old.into_iter().enumerate() {
            if kept.contains(&index) {
                lanes.push(running);
            } else {
                running.lane.close(deadline);
            }
        }
        lanes.append(&mut fresh);
        Ok(())
    }

    /// Puts together what waits in the buffer, now and on this thread, so that there is room again.
    /// For who records many samples at a time, and would rather work than lose any.
    pub fn gather(&self) {
        for worker in 0..self.shared.core.workers() {
            self.shared.core.drain(worker, usize::MAX);
        }
    }

    /// Tells the exporters, with the next flush, that these series of its catalogue have ended.
    pub(super) fn retire(&self, series: impl IntoIterator<Item = SeriesId>) {
        self.shared.core.retire(series);
    }

    /// Hands all that was recorded before this call to the exporters, now.
    pub fn flush(&self) {
        let batch = self.shared.core.flush();
        self.shared.distribute(&batch);
    }

    /// What the pipeline has counted of itself.
    pub fn snapshot(&self) -> PushSnapshot {
        self.shared.snapshot()
    }

    /// A handle to read snapshots with, wherever the pipeline itself is.
    pub fn monitor(&self) -> Monitor {
        Monitor(Arc::clone(&self.shared))
    }

    /// Stops recording, sends what there is, and waits for that until `patience` is over. Says
    /// what was lost. A thread that hangs longer is left behind.
    pub fn shutdown(mut self, patience: Duration) -> Lost {
        let core = Arc::clone(&self.shared.core);
        core.ring.close();
        self.stop_workers();
        let batch = core.flush();
        self.shared.distribute(&batch);
        let deadline = core.clock.now().saturating_add(patience);
        let started = std::time::Instant::now();
        let lanes = std::mem::take(&mut *self.shared.lock());
        for running in &lanes {
            running.lane.close(deadline);
        }
        let mut lost = Lost { samples: core.ring.len() as u64, points: Vec::new() };
        for running in lanes {
            // Nothing is ever sent: the other end is dropped when the thread is over.
            let left = patience.saturating_sub(started.elapsed());
            if let Err(mpsc::RecvTimeoutError::Timeout) = running.ended.recv_timeout(left) {
                running.lane.abandon();
            }
            let points = running.lane.meter.read().lost[LossReason::Shutdown as usize];
            if points > 0 {
                lost.points.push((Arc::clone(&running.lane.spec.name), points));
            }
        }
        lost
    }

    fn stop_workers(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        for worker in &self.workers {
            worker.thread().unpark();
        }
        for worker in self.workers.drain(..) {
            // A worker that has panicked has nothing left to say.
            let _ended = worker.join();
        }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.shared.core.ring.close();
        self.stop_workers();
        for running in self.shared.lock().drain(..) {
            running.lane.close(Duration::ZERO);
        }
    }
}

impl Shared {
    /// A worker's life; the first one flushes as well.
    fn work(&self, index: usize) {
        let core = &self.core;
        let mut pace = Pace::new(self.rest_max);
        let mut next_flush = self.first_flush;
        while !self.stopping.load(Ordering::Relaxed) {
            let found = core.drain(index, pace.batch());
            let now = core.clock.now();
            if index == 0 && now >= next_flush {
                self.distribute(&core.flush());
                // From now on, not from when it was due: one flush makes up for any number missed.
                next_flush = now.saturating_add(self.flush_interval);
            }
            let until_flush = next_flush.saturating_sub(now).max(Duration::from_micros(50));
            if let Some(rest) = pace.rest(found) {
                thread::park_timeout(if index == 0 { rest.min(until_flush) } else { rest });
            }
        }
    }

    fn snapshot(&self) -> PushSnapshot {
        let exporters = self.lock().iter().map(Running::snapshot).collect();
        PushSnapshot::new(&self.core, exporters)
    }

    fn distribute(&self, batch: &Arc<Batch>) {
        for running in self.lock().iter() {
            running.lane.put(batch);
        }
    }

    /// Only whole exporters are put in and taken out.
    fn lock(&self) -> MutexGuard<'_, Vec<Running>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    /// A thread that nobody feeds must not wait for ever.
    fn drop(&mut self) {
        self.lane.outbox.close();
    }
}

impl Running {
    fn start(spec: ExporterSpec, clock: &Arc<dyn Clock>) -> Result<Self, StartError> {
        // The system takes no zero byte in a thread's name.
        let name = format!("push-{}", spec.name).replace('\0', "_");
        let lane = Arc::new(Lane::new(spec));
        let runner = Runner::new(Arc::clone(&lane), Arc::clone(clock));
        let (hold, ended) = mpsc::channel();
        let _thread = spawn(name, move || {
            runner.run();
            drop(hold);
        })?;
        Ok(Self { lane, ended })
    }

    fn snapshot(&self) -> ExporterSnapshot {
        let (queued_batches, queued_bytes) = self.lane.outbox.load();
        let name = Arc::clone(&self.lane.spec.name);
        ExporterSnapshot::new(name, self.lane.meter.read(), queued_batches, queued_bytes)
    }
}

fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    let builder = thread::Builder::new().name(name.clone());
    builder.spawn(body).map_err(|source| StartError { name, source })
}

#[cfg(test)]
mod tests;
