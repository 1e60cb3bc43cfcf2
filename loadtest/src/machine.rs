//! What a figure was measured on, to be kept beside it.
//!
//! Reads what the kernel and the programs say of themselves; whatever cannot be had is left out.

use serde::Serialize;
use std::fs;
use std::process::Command;

/// The machine and the programs that a run does not bring along.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Kernel release.
    pub kernel: Option<String>,
    /// Processor name.
    pub processor: Option<String>,
    /// Processors online, whichever of them this process may use.
    pub cpus: Option<usize>,
    /// nginx's version line.
    pub nginx: Option<String>,
    /// wrk's version line.
    pub wrk: Option<String>,
    /// Commit of the working directory, if it is a checkout.
    pub commit: Option<String>,
}

impl Machine {
    /// Describes this one.
    pub fn describe() -> Self {
        Self {
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(trimmed),
            processor: processor(),
            cpus: cpus(),
            nginx: first_line("nginx", &["-v"]),
            wrk: first_line("wrk", &["--version"]),
            commit: first_line("git", &["describe", "--always", "--dirty", "--abbrev=12"]),
        }
    }
}

fn trimmed(text: String) -> String {
    text.trim().to_owned()
}

fn processor() -> Option<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn cpus() -> Option<usize> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").ok()?;
    Some(cpuinfo.lines().filter(|line| line.starts_with("processor")).count())
}

/// nginx says its version on standard error and wrk exits with 1 having said it, so the output
/// counts and the status does not; but an error message of git's is no commit.
pub(crate) fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let said = String::from_utf8(said).ok()?;
    let line = said.lines().map(str::trim).find(|line| !line.is_empty())?.to_owned();
    (!line.starts_with("fatal:")).then_some(line)
}
