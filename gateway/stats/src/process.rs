//! What a process takes of the machine: the figures and how they are exposed. Reading them is left
//! to whoever has a process.

use std::time::Duration;

use prometheus::proto::MetricFamily;

/// One reading; what could not be read is `None` and is not exposed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ProcessFigures {
    /// CPU time of all threads since the start.
    pub cpu: Option<Duration>,
    /// Resident memory.
    pub resident_bytes: Option<u64>,
    /// Address space in use.
    pub virtual_bytes: Option<u64>,
    /// Open file descriptors.
    pub descriptors: Option<u64>,
    /// File descriptors that may be open at once.
    pub descriptors_max: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// When it started, in seconds since 1970.
    pub started_s: Option<f64>,
}

impl ProcessFigures {
    /// As Prometheus families named `process_*`, to be given to
    /// [`Registry::render_with`](crate::Registry::render_with).
    pub fn families(&self) -> Vec<MetricFamily> {
        crate::exposition::process_families(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Registry;

    #[test]
    fn what_is_not_known_is_not_exposed() {
        let cpu = Some(Duration::from_millis(1_250));
        let figures = ProcessFigures { cpu, threads: Some(7), ..ProcessFigures::default() };
        let text = Registry::new(1).render_with(figures.families());
        assert!(text.contains("# TYPE process_cpu_seconds_total counter"), "{text}");
        assert!(text.contains("\nprocess_cpu_seconds_total 1.25\n"), "{text}");
        assert!(text.contains("\nprocess_threads 7\n"), "{text}");
        assert!(!text.contains("process_open_fds"), "{text}");
    }
}
