//! The proxies, each in a file of its own that turns a site into what the proxy is started with.
//!
//! Owns the files, the command and the way to have files read again. Settings are the same for all
//! where they can be: one worker, no access log, no compression, upstream connections kept alive,
//! `X-Forwarded-For` written, endpoints in turn; beyond that nothing is tuned. What a proxy cannot do
//! is said here with its reason and becomes a dash in the tables. Starting is [`crate::bench`]'s part.

pub mod bare;
pub mod caddy;
pub mod envoy;
pub mod haproxy;
pub mod nginx;
pub mod pingap;
pub mod sallyport;
pub mod traefik;

use crate::process::Process;
use crate::site::Feature;
use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

/// How long a proxy may take to answer for a file that was posted to it.
const POST: Duration = Duration::from_secs(60);

/// Everything that serving a site takes.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Files and what is in them.
    pub files: Vec<(PathBuf, String)>,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// How files that changed get into force.
    pub reload: Reload,
}

/// How a proxy takes up a file that was written anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reload {
    /// It watches the file.
    Watched,
    /// On this signal to its first process.
    Signalled(Signal),
    /// The first file is posted to this address and path.
    Posted(SocketAddr, &'static str),
    /// Not at all.
    Never,
}

/// What a proxy cannot do, and so has no figure for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported(pub String);

impl std::fmt::Display for Unsupported {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Unsupported {}

impl Unsupported {
    /// The proxy called `who` does not have that feature.
    pub fn feature(who: &str, feature: &Feature) -> Self {
        Self(format!("{who} has not got {}", feature.name()))
    }
}

impl Setup {
    /// Writes all files.
    pub fn write(&self) -> Result<()> {
        self.files.iter().try_for_each(|(path, text)| replace(path, text))
    }

    /// Writes the files that are not as in `before`, and has `process` take them up. Whether it has
    /// is for its answers to show.
    ///
    /// # Errors
    /// A file cannot be written, or the proxy refused what was posted or cannot reload.
    pub fn apply(&self, before: &Self, process: &Process) -> Result<()> {
        for (path, text) in self.files.iter().filter(|file| !before.files.contains(file)) {
            replace(path, text)?;
        }
        match self.reload {
            Reload::Watched => Ok(()),
            Reload::Signalled(signal) => send(process, signal),
            Reload::Posted(address, path) => post(address, path, &self.files[0].1),
            Reload::Never => bail!("cannot reload"),
        }
    }
}

/// Moves the file into place whole: whoever watches it never reads half of it.
fn replace(path: &PathBuf, text: &str) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text).with_context(|| new.display().to_string())?;
    Ok(fs::rename(&new, path)?)
}

fn send(process: &Process, signal: Signal) -> Result<()> {
    let id = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
    Ok(kill_process(id.context("no process id")?, signal)?)
}

/// Posts JSON and waits for the answer, which must be a 200.
fn post(address: SocketAddr, path: &str, text: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(POST))?;
    let length = text.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(text.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{path} answered {answer:?}");
    Ok(())
}

/// Words of a command.
fn words<const COUNT: usize>(words: [&str; COUNT]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(files: &[(PathBuf, &str)]) -> Setup {
        let files = files.iter().map(|(path, text)| (path.clone(), (*text).to_owned())).collect();
        Setup { files, command: Vec::new(), reload: Reload::Watched }
    }

    #[test]
    fn only_files_that_changed_are_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let (fixed, table) = (dir.path().join("fixed.yaml"), dir.path().join("table.yaml"));
        let before = setup(&[(fixed.clone(), "a"), (table.clone(), "b")]);
        before.write().unwrap();
        fs::write(&fixed, "untouched").unwrap();
        let process = Process::start("sleeper", 0, &["sleep", "60"], dir.path()).unwrap();
        let after = setup(&[(fixed.clone(), "a"), (table.clone(), "c")]);
        after.apply(&before, &process).unwrap();
        assert_eq!(fs::read_to_string(fixed).unwrap(), "untouched");
        assert_eq!(fs::read_to_string(table).unwrap(), "c");
    }

    #[test]
    fn what_cannot_reload_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let process = Process::start("sleeper", 0, &["sleep", "60"], dir.path()).unwrap();
        let fixed = Setup { reload: Reload::Never, ..setup(&[]) };
        assert!(fixed.apply(&fixed, &process).is_err());
    }
}
