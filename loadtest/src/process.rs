//! One child process, pinned to a CPU and sure to end.
//!
//! Every program a run starts goes through here: `taskset` puts it on its CPU, `setpriv` has the
//! kernel interrupt it should this process vanish, and a guard ends it by its id when the value is
//! dropped, which a panic does too. What the program does is its caller's business.

use crate::interrupt::Interrupt;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a process may take to go after SIGINT before it is killed.
const GOODBYE: Duration = Duration::from_secs(3);
/// How long a server may take until it accepts connections.
const START: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// A running program; dropping it ends the program and waits until it is gone.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, a program and its arguments, on `cpu`; what it prints goes to a file named
    /// after it in `dir`.
    ///
    /// # Errors
    /// The program, `taskset` or `setpriv` is missing.
    pub fn start<S: AsRef<OsStr>>(
        name: &str,
        cpu: usize,
        command: &[S],
        dir: &Path,
    ) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let out = fs::File::create(&log).with_context(|| format!("{}", log.display()))?;
        let child = Command::new("taskset")
            .args(["-c", &cpu.to_string(), "setpriv", "--pdeathsig", "INT"])
            .args(command)
            .stdin(Stdio::null())
            .stderr(out.try_clone()?)
            .stdout(out)
            .spawn()
            .context("could not start taskset (Debian package util-linux)")?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Its process id; `taskset` and `setpriv` have become the program by `exec`, so it is the
    /// program's own.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it accepts connections at `address`.
    ///
    /// # Errors
    /// It ended, took longer than ten seconds, or the run was interrupted.
    pub fn wait_for_listener(&mut self, address: SocketAddr, interrupt: &Interrupt) -> Result<()> {
        let deadline = Instant::now() + START;
        while TcpStream::connect(address).is_err() {
            interrupt.check()?;
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at start ({status}): {}", self.name, self.printed().trim());
            }
            if Instant::now() > deadline {
                bail!("{} does not listen on {address}: {}", self.name, self.printed().trim());
            }
            sleep(POLL);
        }
        Ok(())
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// It takes longer than `limit`, or the run was interrupted.
    pub fn wait(&mut self, limit: Duration, interrupt: &Interrupt) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            interrupt.check()?;
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("{} did not end within {limit:?}", self.name);
            }
            sleep(POLL);
        }
    }

    /// How it ended; none while it runs.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Fails if it has ended: a proxy that died mid-run has no figures.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} ended ({status}): {}", self.name, self.printed().trim()),
            None => Ok(()),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        // SIGINT is "stop now" to nginx and Pingora alike; nginx's workers follow their master.
        kill_process(Pid::from_child(&self.child), Signal::INT)?;
        let deadline = Instant::now() + GOODBYE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                self.child.kill()?;
                self.child.wait()?;
            }
            sleep(POLL);
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("WARNING: {} (process {}) may be left: {error}", self.name, self.id());
        }
    }
}

/// A loopback address nobody listens on at this moment.
pub fn free_address() -> Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("no free port")?;
    Ok(listener.local_addr()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let process = Process::start("sleeper", 0, &["sleep", "60"], dir.path()).unwrap();
        let id = process.id();
        let run = std::thread::spawn(move || {
            let _process = process;
            panic!("a run that fails");
        });
        assert!(run.join().is_err());
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn a_server_that_ends_at_start_is_reported_with_what_it_said() {
        let dir = tempfile::tempdir().unwrap();
        let command = ["sh", "-c", "echo no such thing; exit 3"];
        let mut process = Process::start("broken", 0, &command, dir.path()).unwrap();
        let address = free_address().unwrap();
        let error = process.wait_for_listener(address, &Interrupt::default()).unwrap_err();
        assert!(error.to_string().contains("no such thing"), "{error}");
    }
}
