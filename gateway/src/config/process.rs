//! What a configuration says of the process as a whole: how it ends and what it logs.

use std::time::Duration;

use sallyport_config::process::LogFormat;

/// How the process ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// How long it goes on taking connections once it has said that it will end.
    pub delay: Duration,
    /// How long requests under way may take from then on.
    pub deadline: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { delay: Duration::ZERO, deadline: Duration::from_secs(30) }
    }
}

/// What serves ordinary exchanges of HTTP/1.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineChoice {
    /// The gateway's own engine; Pingora serves what that does not take.
    Auto,
    /// Pingora serves everything.
    #[default]
    Pingora,
}

/// What the process logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// How lines are written.
    pub format: LogFormat,
    /// The level, or a list of `target=level`; the default where there is none.
    pub level: Option<Box<str>>,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: None }
    }
}
