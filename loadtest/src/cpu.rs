//! CPU time, as the kernel booked it.
//!
//! The scheduler keeps nanoseconds for every thread in `schedstat`; `stat` has the same sum in ticks
//! of ten milliseconds, and with the time of threads that have ended. The first is what a round
//! reports and the second is what it is checked against. Per-CPU totals tell whether anybody else
//! was running where the proxy ran. Nothing here samples or estimates.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

const NS_PER_S: u64 = 1_000_000_000;
/// How far the two accounts may lie apart: a few ticks of rounding and one percent.
const ROUNDING_TICKS: u64 = 4;

/// What a process and its descendants had used at one moment.
#[derive(Clone, Debug)]
pub struct Account {
    at: Instant,
    threads_ns: BTreeMap<u32, u64>,
    ticks: u64,
    cpu_busy_ticks: u64,
}

/// What was used between two moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Wall time between the two.
    pub wall: Duration,
    /// CPU time of the process and its descendants.
    pub process_ns: u64,
    /// The same from the coarse account, which also has threads that ended in between.
    pub process_coarse_ns: u64,
    /// Time during which the CPU ran anything at all.
    pub cpu_busy_ns: u64,
}

impl Account {
    /// Reads the accounts of process `id`, of its descendants, and of the CPU it is pinned to.
    ///
    /// # Errors
    /// The process is gone, or the kernel keeps no scheduler statistics.
    pub fn read(id: u32, cpu: usize) -> Result<Self> {
        let mut account = Self {
            at: Instant::now(),
            threads_ns: BTreeMap::new(),
            ticks: 0,
            cpu_busy_ticks: busy_ticks(&read("/proc/stat")?, cpu).context("/proc/stat")?,
        };
        for process in family(id)? {
            account.add(process)?;
        }
        Ok(account)
    }

    /// What was spent since `before`.
    pub fn since(&self, before: &Self) -> Spent {
        let tick_ns = NS_PER_S / rustix::param::clock_ticks_per_second();
        let thread_ns = |(id, ns): (&u32, &u64)| {
            ns.saturating_sub(before.threads_ns.get(id).copied().unwrap_or(0))
        };
        Spent {
            wall: self.at.duration_since(before.at),
            process_ns: self.threads_ns.iter().map(thread_ns).sum(),
            process_coarse_ns: self.ticks.saturating_sub(before.ticks) * tick_ns,
            cpu_busy_ns: self.cpu_busy_ticks.saturating_sub(before.cpu_busy_ticks) * tick_ns,
        }
    }

    fn add(&mut self, process: u32) -> Result<()> {
        let stat = format!("/proc/{process}/stat");
        self.ticks += process_ticks(&read(&stat)?).context(stat)?;
        for thread in ids_in(&format!("/proc/{process}/task"))? {
            let path = format!("/proc/{process}/task/{thread}/schedstat");
            // A thread may end between the listing and the reading; the coarse account has it.
            if let Ok(text) = fs::read_to_string(&path) {
                self.threads_ns.insert(thread, run_ns(&text).context(path)?);
            }
        }
        Ok(())
    }
}

impl Spent {
    /// Whether the fine account misses time that the coarse one has: a thread ended and took its
    /// nanoseconds with it.
    pub fn misses_time(&self) -> bool {
        let tick_ns = NS_PER_S / rustix::param::clock_ticks_per_second();
        let allowed_ns = ROUNDING_TICKS * tick_ns + self.process_coarse_ns / 100;
        self.process_coarse_ns > self.process_ns + allowed_ns
    }

    /// Share of the wall time that the process ran: near 1 when the proxy was what limited the load.
    pub fn utilisation(&self) -> f64 {
        self.process_ns as f64 / self.wall.as_nanos() as f64
    }

    /// Share of the wall time that something else ran on the same CPU.
    pub fn disturbance(&self) -> f64 {
        self.cpu_busy_ns.saturating_sub(self.process_ns) as f64 / self.wall.as_nanos() as f64
    }
}

/// CPU time of process `id` and its descendants since they began, with that of those that have ended,
/// in steps of a tick (ten milliseconds). For proxies that replace their workers.
///
/// # Errors
/// The process is gone.
pub fn lifetime_ns(id: u32) -> Result<u64> {
    let tick_ns = NS_PER_S / rustix::param::clock_ticks_per_second();
    let mut ticks = 0;
    for process in family(id)? {
        // A child that ended since it was listed is in its parent's account at the next look.
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        ticks += process_ticks(&stat).unwrap_or(0) + ended_children_ticks(&stat).unwrap_or(0);
    }
    Ok(ticks * tick_ns)
}

/// The process and everything it forked, parents first.
pub(crate) fn family(id: u32) -> Result<Vec<u32>> {
    let mut members = vec![id];
    let mut next = 0;
    while let Some(&process) = members.get(next) {
        members.extend(children(process)?);
        next += 1;
    }
    Ok(members)
}

fn children(process: u32) -> Result<Vec<u32>> {
    let mut children = Vec::new();
    for thread in ids_in(&format!("/proc/{process}/task"))? {
        let listed = fs::read_to_string(format!("/proc/{process}/task/{thread}/children"));
        let listed = listed.unwrap_or_default();
        children.extend(listed.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
    }
    Ok(children)
}

fn ids_in(dir: &str) -> Result<Vec<u32>> {
    let entries = fs::read_dir(dir).with_context(|| dir.to_owned())?;
    let names = entries.flatten().map(|entry| entry.file_name());
    Ok(names.filter_map(|name| name.to_str()?.parse().ok()).collect())
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.to_owned())
}

/// First field of a `schedstat` line: nanoseconds on a CPU.
fn run_ns(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

/// `utime` plus `stime` of a `stat` line. The program's name, in parentheses, may hold anything, so
/// fields are counted from the last parenthesis.
fn process_ticks(stat: &str) -> Option<u64> {
    two_fields(stat, 11)
}

/// `cutime` plus `cstime`: children that ended and were waited for.
fn ended_children_ticks(stat: &str) -> Option<u64> {
    two_fields(stat, 13)
}

fn two_fields(stat: &str, skip: usize) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(skip).map(str::parse::<u64>);
    Some(times.next()?.ok()? + times.next()?.ok()?)
}

/// Everything but idle and waiting for disks, from the `cpuN` line of `/proc/stat`. Guest time is
/// part of user time already.
fn busy_ticks(stat: &str, cpu: usize) -> Option<u64> {
    let label = format!("cpu{cpu}");
    let line = stat.lines().find(|line| line.split_whitespace().next() == Some(&label))?;
    let fields: Vec<u64> =
        line.split_whitespace().skip(1).map(str::parse).collect::<Result<_, _>>().ok()?;
    let busy = [0, 1, 2, 5, 6, 7];
    busy.iter().map(|&field| fields.get(field).copied()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Process;

    fn account(threads_ns: &[(u32, u64)], ticks: u64, cpu_busy_ticks: u64) -> Account {
        let threads_ns = threads_ns.iter().copied().collect();
        Account { at: Instant::now(), threads_ns, ticks, cpu_busy_ticks }
    }

    #[test]
    fn first_field_of_schedstat_is_the_run_time() {
        assert_eq!(run_ns("233759 120 1\n"), Some(233_759));
        assert_eq!(run_ns(""), None);
    }

    #[test]
    fn a_process_name_may_hold_parentheses_and_spaces() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 12 34 0 0 20 0 3 0 99 0 0";
        assert_eq!(process_ticks(stat), Some(46));
        assert_eq!(ended_children_ticks(&stat.replace("34 0 0", "34 5 6")), Some(11));
        assert_eq!(process_ticks("7 (short) S 1"), None);
    }

    #[test]
    fn idle_and_disk_waits_are_not_busy() {
        let stat =
            "cpu  9 9 9 9 9 9 9 9 0 0\ncpu1 10 2 3 1000 500 4 5 6 0 0\ncpu11 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(busy_ticks(stat, 1), Some(30));
        assert_eq!(busy_ticks(stat, 2), None);
    }

    #[test]
    fn new_threads_count_from_zero_and_ended_ones_show_in_the_coarse_account() {
        let before = account(&[(1, 1_000_000_000), (2, 500)], 100, 200);
        let after = account(&[(1, 1_600_000_000), (3, 50)], 190, 300);
        let spent = after.since(&before);
        assert_eq!(spent.process_ns, 600_000_050);
        assert_eq!(spent.process_coarse_ns, 900_000_000);
        assert_eq!(spent.cpu_busy_ns, 1_000_000_000);
        assert!(spent.misses_time());
    }

    #[test]
    fn a_busy_process_spends_and_its_account_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let command = ["sh", "-c", "while :; do :; done"];
        let busy = Process::start("busy", 0, &command, dir.path()).unwrap();
        let before = Account::read(busy.id(), 0).unwrap();
        let since = || Account::read(busy.id(), 0).unwrap().since(&before);
        while since().process_coarse_ns < 100_000_000 {
            std::thread::yield_now();
        }
        let spent = since();
        assert!(spent.process_ns > 50_000_000 && !spent.misses_time(), "{spent:?}");
    }
}
