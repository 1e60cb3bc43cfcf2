//! The command line: one file a command in `cli/`.

pub mod check;
pub mod run;
pub mod status;
pub mod verdict;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::config::{self, Loaded, PIN_PATH, Problems};

/// `EX_CONFIG` of sysexits.h: the configuration is at fault, and a restart will not help.
pub const EXIT_CONFIG: u8 = 78;

/// The variable that says what is logged, in `tracing`'s filter syntax.
const LOG_VARIABLE: &str = "SALLYPORT_LOG";

/// What aya warns of is that optional debug information was not taken; what matters is an error.
const LOG_DEFAULT: &str = "info,aya=error,aya_obj=error";

/// An XDP classifier: zones, screens, verdicts, and hints for the gateway behind it.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Load the program, attach it and follow the file
    Run(run::Args),
    /// Print every problem of a configuration file; exit 0 or 78
    Check(check::Args),
    /// Print what a running classifier does and sees
    Status(status::Args),
    /// Add, remove or list verdicts
    Verdict(verdict::Args),
}

/// Why a command failed, by what its exit code says.
#[derive(Debug)]
pub enum Failure {
    /// The configuration is at fault.
    Config(Problems),
    /// Anything else is.
    Other(anyhow::Error),
}

impl Failure {
    /// 78 for the configuration, 1 otherwise.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) => EXIT_CONFIG.into(),
            Self::Other(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(problems) => problems.fmt(out),
            // The whole chain in one line: what failed, and because of what.
            Self::Other(error) => write!(out, "sallyport-classifier: {error:#}"),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// Starts logging to standard error. A filter that cannot be read is reported and replaced.
pub fn start_log() {
    let filter = std::env::var(LOG_VARIABLE).ok();
    let parsed = filter.as_deref().map(EnvFilter::try_new);
    let invalid = matches!(parsed, Some(Err(_)));
    let filter = parsed.and_then(Result::ok).unwrap_or_else(|| EnvFilter::new(LOG_DEFAULT));
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(ansi)
        .init();
    if invalid {
        tracing::warn!("{LOG_VARIABLE} is not a filter and is ignored");
    }
}

/// Runs the command.
///
/// # Errors
/// If it failed; the failure knows its exit code.
pub fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(args) => run::main(&args),
        Command::Check(args) => check::main(&args),
        Command::Status(args) => status::main(&args),
        Command::Verdict(args) => verdict::main(&args),
    }
}

fn load(path: &Path) -> Result<Loaded, Failure> {
    config::load(path).map_err(Failure::Config)
}

/// Which classifier is meant: the one that pins in a folder, or that runs on a file.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// The folder of its pins
    #[arg(long, default_value = PIN_PATH, conflicts_with = "config")]
    pin_path: PathBuf,
    /// Its configuration file, which names the folder
    #[arg(long)]
    config: Option<PathBuf>,
}

impl Which {
    fn pin_path(&self) -> Result<PathBuf, Failure> {
        match &self.config {
            Some(file) => Ok(load(file)?.config.pin_path),
            None => Ok(self.pin_path.clone()),
        }
    }
}

/// A time as it is shown: `1m 5s`, `250ms`.
fn shown(time: std::time::Duration) -> String {
    let (seconds, ms) = (time.as_secs(), time.subsec_millis());
    match seconds {
        0 => format!("{ms}ms"),
        1..60 => format!("{seconds}.{}s", ms / 100),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ => format!("{}h {}m", seconds / 3_600, seconds / 60 % 60),
    }
}
