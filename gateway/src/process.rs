//! What this process takes of the machine, read from the kernel: CPU time, memory, file
//! descriptors, threads.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use sallyport_stats::ProcessFigures;

/// The process that this runs in.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    started: SystemTime,
}

impl Process {
    /// To be called at its start: that is the moment it is said to have started.
    #[must_use]
    pub fn starting() -> Self {
        Self { started: SystemTime::now() }
    }

    /// What it takes now. Opens a file and lists the descriptors: some ten microseconds, and one for
    /// each descriptor.
    #[must_use]
    pub fn figures(&self) -> ProcessFigures {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = |key| field(&status, key).map(|kib| kib << 10);
        ProcessFigures {
            cpu: cpu_time(),
            resident_bytes: kib("VmRSS"),
            virtual_bytes: kib("VmSize"),
            descriptors: descriptors(),
            descriptors_max: getrlimit(Resource::Nofile).current,
            threads: field(&status, "Threads"),
            started_s: self.started.duration_since(UNIX_EPOCH).ok().map(|it| it.as_secs_f64()),
        }
    }
}

fn cpu_time() -> Option<Duration> {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).ok()
}

/// The first number of a line of `/proc/self/status`.
fn field(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Open ones, without the one that lists them.
fn descriptors() -> Option<u64> {
    let listed = fs::read_dir("/proc/self/fd").ok()?.count();
    Some(listed.saturating_sub(1) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_can_be_read_of_this_process() {
        let process = Process::starting();
        let before = process.figures();
        let files: Vec<_> = (0..50).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        let after = process.figures();
        assert!(after.cpu.unwrap() > Duration::ZERO && after.cpu >= before.cpu);
        assert!(after.resident_bytes.unwrap() > 1 << 20);
        assert!(after.virtual_bytes >= after.resident_bytes);
        assert!(after.threads.unwrap() >= 1);
        assert!(after.descriptors.unwrap() >= files.len() as u64);
        assert!(after.descriptors_max >= after.descriptors);
        assert!(after.started_s.unwrap() > 1.7e9);
    }

    #[test]
    fn a_line_is_found_by_its_whole_key() {
        let status = "VmRSSx:\t1 kB\nVmRSS:\t  1234 kB\nThreads:\t5\n";
        assert_eq!(field(status, "VmRSS"), Some(1234));
        assert_eq!((field(status, "Threads"), field(status, "Thread")), (Some(5), None));
    }
}
