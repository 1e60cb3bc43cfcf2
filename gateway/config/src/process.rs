//! What a program that follows a configuration does as a process: its log, its signals, its service
//! manager, and the exit code that tells the configuration's fault from any other.

mod json;
mod manual;

use std::fmt;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use self::json::JsonLines;
use crate::problem::Problems;
use crate::watch::Waker;

pub use self::manual::{Completions, Manual};
pub use sd_notify::NotifyState;

/// `EX_CONFIG` of sysexits.h: the configuration is at fault, and a restart will not help.
pub const EXIT_CONFIG: u8 = 78;

/// The variable that says what is logged, in `tracing`'s filter syntax.
const LOG_VARIABLE: &str = "SALLYPORT_LOG";

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

/// Starts logging to standard error, by `default` where the environment does not say otherwise: what it says is
/// added to `default`, so that a level for everything does not bring back what `default` keeps quiet by name. It is a
/// list of `tracing`'s directives, in which the word `json` stands for lines of JSON and `text` for lines of text. A
/// filter that cannot be read is reported and ignored.
///
/// # Panics
/// If logging was started before.
pub fn start_log(default: &str) {
    let written = std::env::var(LOG_VARIABLE).unwrap_or_default();
    let Wanted { is_json, directives } = Wanted::of(&written);
    let invalid = EnvFilter::try_new(&directives).err();
    let filter = match &invalid {
        None if !directives.is_empty() => EnvFilter::new(format!("{default},{directives}")),
        _ => EnvFilter::new(default),
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match is_json {
        true => lines.event_format(JsonLines).init(),
        // Without colours: the lines are the same wherever they go.
        false => lines.with_target(false).with_ansi(false).init(),
    }
    if let Some(error) = invalid {
        tracing::warn!(%error, "{LOG_VARIABLE} is not a filter and is ignored");
    }
}

/// What the environment says of the log.
struct Wanted {
    is_json: bool,
    directives: String,
}

impl Wanted {
    fn of(written: &str) -> Self {
        let parts = || written.split(',').map(str::trim).filter(|part| !part.is_empty());
        let is_format = |part: &&str| matches!(*part, "json" | "text");
        let is_json = parts().rfind(is_format) == Some("json");
        let directives: Vec<_> = parts().filter(|part| !is_format(part)).collect();
        Self { is_json, directives: directives.join(",") }
    }
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

#[cfg(test)]
mod tests {
    use super::Wanted;

    #[test]
    fn formats_are_words_among_the_directives() {
        for (written, is_json, directives) in [
            ("", false, ""),
            ("json", true, ""),
            ("debug", false, "debug"),
            ("json,info,sallyport=debug", true, "info,sallyport=debug"),
            ("warn, json", true, "warn"),
            ("json,text", false, ""),
        ] {
            let wanted = Wanted::of(written);
            assert_eq!((wanted.is_json, &*wanted.directives), (is_json, directives), "{written}");
        }
    }
}
