//! The process's own figures, under the names that every Prometheus client gives them.

use prometheus::proto::MetricFamily;

use super::family::{Labels, gauge, label, seconds_total};
use crate::process::ProcessFigures;

/// Every figure that is known, as families.
pub(crate) fn process_families(process: &ProcessFigures) -> Vec<MetricFamily> {
    let cpu = process.cpu.map(|cpu| (Labels::new(), cpu.as_secs_f64()));
    let level = |name, help, value: Option<u64>| {
        gauge(name, help, value.map(|value| (Labels::new(), value as f64)))
    };
    vec![
        seconds_total("process_cpu_seconds_total", "CPU time of all threads so far.", cpu),
        level("process_resident_memory_bytes", "Resident memory.", process.resident_bytes),
        level("process_virtual_memory_bytes", "Address space.", process.virtual_bytes),
        level("process_open_fds", "Open file descriptors.", process.descriptors),
        level("process_max_fds", "File descriptors it may open.", process.descriptors_max),
        level("process_threads", "Threads.", process.threads),
        gauge(
            "process_start_time_seconds",
            "When it started, in seconds since 1970.",
            process.started_s.map(|started_s| (Labels::new(), started_s)),
        ),
    ]
}

/// What was built: a family named `sallyport_build_info` whose one sample is 1. What is not known of it,
/// and given as an empty string, is left out.
#[must_use]
pub fn build_info(version: &str, commit: &str, features: &str) -> MetricFamily {
    let pairs = [("version", version), ("commit", commit), ("features", features)];
    let known = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    let labels = known.map(|(name, value)| label(name, value)).collect();
    gauge("sallyport_build_info", "What was built; always 1.", [(labels, 1.0)])
}
