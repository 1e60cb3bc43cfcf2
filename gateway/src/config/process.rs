//! What a configuration says of the process as a whole: how it ends and what it logs.

use std::time::Duration;

use sallyport_config::process::LogFormat;
pub use sallyport_config::spec::EngineChoice;

/// How the process ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// How long it goes on taking connections once it has said that it will end.
    pub delay: Duration,
    /// How long requests under way may take from then on.
    pub deadline: Duration,
}

/// What the process logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// How lines are written.
    pub format: LogFormat,
    /// The level, or a list of `target=level`; the default where there is none.
    pub level: Option<Box<str>>,
}
