//! What became of the gateway's process while a scenario ran: memory, descriptors, CPU.
//!
//! Samples the kernel's accounts of one process and says whether memory and descriptors crept. It
//! knows nothing of requests.

use crate::cpu::Account;
use crate::figures::Spread;
use crate::memory::held_bytes;
use anyhow::{Context, Result};
use serde::Serialize;
use std::fs;
use std::time::{Duration, Instant};

/// What a process held at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// Since the watch began.
    pub at_s: f64,
    /// Proportional set size, children included.
    pub memory_bytes: u64,
    /// Open file descriptors.
    pub descriptors: usize,
    /// Share of its CPU that it used since the sample before.
    pub cpu_share: f64,
}

/// A process that is being watched.
#[derive(Debug)]
pub struct Watch {
    id: u32,
    cpu: usize,
    every: Duration,
    began: Instant,
    last: Account,
    last_at: Instant,
    samples: Vec<Sample>,
}

/// What a process held late in a run, compared with what it held early.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Drift {
    /// Median from 10 to 40 % of the run.
    pub early: f64,
    /// Median of the last 30 %.
    pub late: f64,
}

impl Watch {
    /// Begins to watch process `id`, which runs on `cpu`; a sample is due every `every`.
    ///
    /// # Errors
    /// The process is gone.
    pub fn begin(id: u32, cpu: usize, every: Duration) -> Result<Self> {
        let (last, now) = (Account::read(id, cpu)?, Instant::now());
        Ok(Self { id, cpu, every, began: now, last, last_at: now, samples: Vec::new() })
    }

    /// Takes a sample if one is due.
    ///
    /// # Errors
    /// The process is gone.
    pub fn look(&mut self) -> Result<()> {
        if self.last_at.elapsed() < self.every {
            return Ok(());
        }
        let account = Account::read(self.id, self.cpu)?;
        self.samples.push(Sample {
            at_s: self.began.elapsed().as_secs_f64(),
            memory_bytes: held_bytes(self.id)?,
            descriptors: descriptors(self.id)?,
            cpu_share: account.since(&self.last).utilisation(),
        });
        (self.last, self.last_at) = (account, Instant::now());
        Ok(())
    }

    /// What was seen.
    pub fn finish(self) -> Vec<Sample> {
        self.samples
    }
}

/// Open file descriptors of process `id`.
fn descriptors(id: u32) -> Result<usize> {
    let folder = format!("/proc/{id}/fd");
    Ok(fs::read_dir(&folder).context(folder)?.count())
}

/// Early and late of one figure; none where either part has no sample.
pub fn drift(samples: &[Sample], figure: fn(&Sample) -> f64) -> Option<Drift> {
    let end = samples.last()?.at_s;
    let median = |from: f64, to: f64| {
        let within = |sample: &&Sample| sample.at_s >= from * end && sample.at_s <= to * end;
        Spread::of(samples.iter().filter(within).map(figure)).map(|spread| spread.median)
    };
    Some(Drift { early: median(0.1, 0.4)?, late: median(0.7, 1.0)? })
}

impl Drift {
    /// Whether the late figure is at most `factor` times the early one and `slack` more.
    pub fn within(&self, factor: f64, slack: f64) -> bool {
        self.late <= self.early * factor + slack
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Process;

    fn sample(at_s: f64, memory_bytes: u64) -> Sample {
        Sample { at_s, memory_bytes, descriptors: 10, cpu_share: 0.0 }
    }

    fn memory(sample: &Sample) -> f64 {
        sample.memory_bytes as f64
    }

    #[test]
    fn drift_compares_late_with_early_and_leaves_out_the_warm_up() {
        let samples: Vec<Sample> =
            (1..=100).map(|at| sample(f64::from(at), if at < 10 { 1 } else { 100 })).collect();
        let drift = drift(&samples, memory).unwrap();
        assert_eq!(drift, Drift { early: 100.0, late: 100.0 });
        assert!(drift.within(1.0, 0.0));
    }

    #[test]
    fn what_grows_is_seen_to_grow() {
        let samples: Vec<Sample> =
            (1..=100).map(|at| sample(f64::from(at), 1000 + 10 * at as u64)).collect();
        let drift = drift(&samples, memory).unwrap();
        assert!(drift.late > drift.early + 500.0, "{drift:?}");
        assert!(!drift.within(1.1, 100.0));
        assert!(drift.within(2.0, 0.0));
    }

    #[test]
    fn too_few_samples_show_nothing() {
        assert_eq!(drift(&[], memory), None);
        assert_eq!(drift(&[sample(1.0, 1)], memory), None);
    }

    #[test]
    fn a_process_is_sampled() {
        let dir = tempfile::tempdir().unwrap();
        let process = Process::start("watched", 0, &["sleep", "60"], dir.path()).unwrap();
        let mut watch = Watch::begin(process.id(), 0, Duration::ZERO).unwrap();
        watch.look().unwrap();
        let samples = watch.finish();
        assert!(samples[0].memory_bytes > 0 && samples[0].descriptors >= 3, "{samples:?}");
    }
}
