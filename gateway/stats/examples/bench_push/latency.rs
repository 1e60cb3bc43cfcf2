//! One event's push, timed.

use std::{
    hint::black_box,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use sallyport_stats::push::{Catalog, Counter, Pipeline, PipelineConfig, PushRecorder, Recorder};

/// Beyond this all are the same.
const TOP_NS: usize = 4_096;

/// How often which time was taken. Small, so that it does not push out of the caches what is being
/// measured.
pub(crate) struct Times(Box<[u32; TOP_NS + 1]>);

impl Times {
    fn new() -> Self {
        Self(Box::new([0; TOP_NS + 1]))
    }

    fn add(&mut self, time: Duration) {
        self.0[(time.as_nanos() as usize).min(TOP_NS)] += 1;
    }

    fn merge(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(other.0.iter()).for_each(|(sum, more)| *sum += more);
        self
    }

    /// The time below which a share `q` lies, in nanoseconds.
    pub(crate) fn at(&self, q: f64) -> u64 {
        let total: u64 = self.0.iter().map(|count| u64::from(*count)).sum();
        let rank = (q * total as f64) as u64;
        let mut below = 0;
        let found = self.0.iter().position(|count| {
            below += u64::from(*count);
            below > rank
        });
        found.unwrap_or(TOP_NS) as u64
    }
}

/// What timing nothing takes.
pub(crate) fn clock() -> Times {
    let mut times = Times::new();
    for _ in 0..2_000_000 {
        let start = Instant::now();
        times.add(black_box(start).elapsed());
    }
    times
}

/// What it takes to record one event that is kept, the clock included. With a pause, a thread
/// records 250 events and sleeps.
pub(crate) fn push(
    producers: usize,
    shards: usize,
    pause: Option<Duration>,
    time: Duration,
) -> Times {
    let workers = PipelineConfig::default().workers.min(shards);
    let config = PipelineConfig { shards, workers, ..PipelineConfig::default() };
    let pipeline = Pipeline::start(&config, Arc::new(Catalog::default()), Vec::new());
    let pipeline = pipeline.expect("the system gives threads");
    let counter = pipeline.catalog().metric("requests").counter().expect("it is the first");
    let threads: Vec<_> = (0..producers)
        .map(|_| {
            let recorder = pipeline.recorder();
            thread::spawn(move || produce(&recorder, counter, pause, time))
        })
        .collect();
    let times = threads.into_iter().map(|thread| thread.join().expect("it does not panic"));
    times.fold(Times::new(), |sum, times| sum.merge(&times))
}

fn produce(
    recorder: &PushRecorder,
    counter: Counter,
    pause: Option<Duration>,
    time: Duration,
) -> Times {
    let mut times = Times::new();
    let end = Instant::now() + time;
    while Instant::now() < end {
        for _ in 0..250 {
            let start = Instant::now();
            let kept = recorder.count(black_box(counter), black_box(1));
            let taken = start.elapsed();
            if kept {
                times.add(taken);
            }
        }
        if let Some(pause) = pause {
            thread::sleep(pause);
        }
    }
    times
}
