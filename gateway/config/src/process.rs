//! What a program that follows a configuration does as a process: its log, its signals, its service
//! manager, and the exit code that tells the configuration's fault from any other.

mod json;
mod log;
mod manual;

use std::fmt;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::problem::Problems;
use crate::watch::Waker;

pub use self::log::{Log, LogFormat, UnknownLevel, check_level};
pub use self::manual::{Completions, Manual};
pub use sd_notify::NotifyState;

/// `EX_CONFIG` of sysexits.h: the configuration is at fault, and a restart will not help.
pub const EXIT_CONFIG: u8 = 78;

/// Why a command failed, by what its exit code says.
#[derive(Debug)]
pub enum Failure {
    /// The configuration is at fault.
    Config(Problems),
    /// The configuration is at fault, and its problems were printed.
    Told,
    /// Anything else is.
    Other(anyhow::Error),
}

impl Failure {
    /// 78 for the configuration, 1 otherwise.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) | Self::Told => EXIT_CONFIG.into(),
            Self::Other(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    /// Problems one a line, each with its file; anything else as a chain in one line: what failed,
    /// and because of what.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(problems) => problems.fmt(out),
            Self::Told => out.write_str("the configuration has problems"),
            Self::Other(error) => write!(out, "{error:#}"),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// Ends the process called `name` as `result` says: what failed is one message on standard error.
#[must_use]
pub fn exit(name: &str, result: Result<(), Failure>) -> ExitCode {
    let Err(failure) = result else { return ExitCode::SUCCESS };
    match &failure {
        Failure::Config(_) => eprintln!("{failure}"),
        Failure::Told => {}
        Failure::Other(_) => eprintln!("{name}: {failure}"),
    }
    failure.exit_code()
}

/// The signals that a service answers to.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    /// Only so that it does not end the process: who writes files reopens them at it.
    _reopen: Signal,
}

impl Signals {
    /// Takes the signals over from the kernel's defaults. To be called before there is anything that
    /// must be tidied up at the end: a signal that comes from now on is kept until it is asked for.
    ///
    /// # Errors
    /// If the kernel refuses.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            _reopen: signal(SignalKind::user_defined1())?,
        })
    }

    /// Waits for another SIGINT or SIGTERM.
    pub async fn until_told_again(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Waits for SIGINT or SIGTERM; SIGHUP reloads in the meantime.
    pub async fn until_told_to_end(&mut self, waker: &Waker) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hangup.recv() => {
                    if !waker.ask() {
                        tracing::error!("SIGHUP: the reload thread has ended");
                    }
                }
            }
        }
    }
}

/// Tells the service manager, if there is one.
pub fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
