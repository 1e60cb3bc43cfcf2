//! Many events a second, and what becomes of them.

use std::{
    fs,
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use sallyport_stats::push::{
    Catalog, Counter, Distributions, Pipeline, PipelineConfig, Recorder, Timing, net::Address,
    statsd::DogStatsdConfig,
};

use crate::sinks::{Kind, Sinks};

fn start(config: &PipelineConfig, specs: Vec<sallyport_stats::push::ExporterSpec>) -> Pipeline {
    let catalog = Arc::new(Catalog::default());
    Pipeline::start(config, catalog, specs).expect("the system gives threads")
}

fn series(pipeline: &Pipeline, count: usize) -> Vec<(Counter, Timing)> {
    let names: Vec<_> = (0..count).map(|index| format!("route-{index}")).collect();
    let catalog = pipeline.catalog();
    let handles = |name: &String| {
        let requests = catalog.metric("requests").attribute("route", name).counter();
        let latency = catalog.metric("latency").attribute("route", name).timing();
        (requests.expect("there is room"), latency.expect("there is room"))
    };
    names.iter().map(handles).collect()
}

/// Events a second that were kept, of as many as the producers can record.
pub(crate) fn accepted(producers: usize, time: Duration) -> f64 {
    let pipeline = start(&PipelineConfig::default(), Vec::new());
    let counter = series(&pipeline, 1)[0].0;
    let kept = AtomicU64::new(0);
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..producers {
            let recorder = pipeline.recorder();
            let kept = &kept;
            scope.spawn(move || {
                while started.elapsed() < time {
                    let batch = (0..1_000).filter(|_| recorder.count(counter, 1)).count();
                    kept.fetch_add(batch as u64, Ordering::Relaxed);
                }
            });
        }
    });
    kept.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
}

/// Two threads record `rate` events a second for some time: counters and timings of many series, in
/// portions every millisecond, as many as are due by then.
fn record(
    pipeline: &Pipeline,
    handles: &[(Counter, Timing)],
    rate: u64,
    time: Duration,
) -> (u64, u64) {
    const THREADS: u64 = 2;
    let (recorded, kept) = (AtomicU64::new(0), AtomicU64::new(0));
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let recorder = pipeline.recorder();
            let (recorded, kept) = (&recorded, &kept);
            scope.spawn(move || {
                let (mut done, mut well) = (0, 0);
                let mut next = handles.iter().cycle();
                while started.elapsed() < time {
                    let due = (started.elapsed().as_secs_f64() * rate as f64) as u64 / THREADS;
                    // A thread that was not run for long does not make up for it at once: that
                    // would be a burst nobody asked for.
                    let portion = (due - done).min(4_000);
                    done = due - portion;
                    for _ in 0..portion {
                        let Some((requests, latency)) = next.next() else { break };
                        let one = match done % 2 {
                            0 => recorder.count(*requests, 1),
                            _ => recorder.time(*latency, Duration::from_micros(done % 10_000)),
                        };
                        well += u64::from(one);
                        done += 1;
                        recorded.fetch_add(1, Ordering::Relaxed);
                    }
                    thread::sleep(Duration::from_millis(1));
                }
                kept.fetch_add(well, Ordering::Relaxed);
            });
        }
    });
    (recorded.load(Ordering::Relaxed), kept.load(Ordering::Relaxed))
}

/// The share of events lost before any exporter.
pub(crate) fn dropped(kind: Kind, rate: u64, time: Duration) -> f64 {
    let sinks = Sinks::new(kind);
    let pipeline = start(&PipelineConfig::default(), sinks.specs());
    let handles = series(&pipeline, 200);
    let (recorded, _) = record(&pipeline, &handles, rate, time);
    let lost = pipeline.snapshot().dropped_total();
    pipeline.shutdown(Duration::from_secs(2));
    lost as f64 / recorded.max(1) as f64
}

/// By how much the process has grown with a pipeline at its defaults that was used, and what the
/// pipeline says of itself, in bytes.
pub(crate) fn memory(time: Duration) -> (usize, usize) {
    let sinks = Sinks::new(Kind::Dead);
    let before = resident_bytes();
    let pipeline = start(&PipelineConfig::default(), sinks.specs());
    let handles = series(&pipeline, 1_000);
    record(&pipeline, &handles, 500_000, time.max(Duration::from_secs(2)));
    let told = pipeline.snapshot().bytes();
    (resident_bytes().saturating_sub(before), told)
}

fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0) * 1_024
}

/// How long after it was recorded a value is at the receiver, ten thousand a second. Each value is
/// the time it was recorded at, so that each can be told.
pub(crate) fn end_to_end_p99(time: Duration) -> Duration {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("it is not zero");
    let address = Address::Udp("127.0.0.1".into(), socket.local_addr().expect("bound").port());
    let config = PipelineConfig {
        flush_interval: Duration::from_millis(20),
        distributions: Distributions::Raw { values_max: 10_000 },
        ..PipelineConfig::default()
    };
    let pipeline = start(&config, vec![DogStatsdConfig::new(address).spec("dogstatsd")]);
    let histogram = pipeline.catalog().metric("t").histogram().expect("it is the first");
    let started = Instant::now();
    let mut taken = thread::scope(|scope| {
        let reader = scope.spawn(move || received(&socket, started, time));
        while started.elapsed() < time {
            for _ in 0..10 {
                pipeline.recorder().observe(histogram, started.elapsed().as_micros() as f64);
            }
            thread::sleep(Duration::from_millis(1));
        }
        reader.join().expect("it does not panic")
    });
    taken.sort_unstable();
    let rank = taken.len() * 99 / 100;
    taken.get(rank).copied().unwrap_or(Duration::MAX)
}

fn received(socket: &UdpSocket, started: Instant, time: Duration) -> Vec<Duration> {
    let (mut taken, mut room) = (Vec::new(), [0; 65_536]);
    while started.elapsed() < time + Duration::from_millis(500) {
        let Ok(length) = socket.recv(&mut room) else { continue };
        let now = started.elapsed();
        let text = String::from_utf8_lossy(&room[..length]);
        let values = text.lines().filter_map(|line| line.split('|').next());
        for value in values.flat_map(|line| line.split(':').skip(1)) {
            let recorded =
                value.parse().map_or(now, |micros: f64| Duration::from_micros(micros as u64));
            taken.push(now.saturating_sub(recorded));
        }
    }
    taken
}
