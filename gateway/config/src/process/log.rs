//! The process's log: lines on standard error, whose format and level can change while it runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{Event, Subscriber};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload::Handle;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::json::JsonLines;

/// The variable that says what is logged, in `tracing`'s filter syntax.
const LOG_VARIABLE: &str = "SALLYPORT_LOG";

/// The log of this process. A copy is another handle on the same one.
#[derive(Clone, Debug)]
pub struct Log {
    /// What is kept quiet by name, whatever is wanted.
    default: Arc<str>,
    /// What the environment asks for, which a configuration does not overrule.
    environment: Arc<Wanted>,
    filter: Handle<EnvFilter, Registry>,
    is_json: Arc<AtomicBool>,
    /// The directives in force, as they were written.
    directives: Arc<Mutex<String>>,
}

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is wrong with a list of directives.
#[derive(Debug)]
pub struct UnknownLevel(String);

impl std::fmt::Display for UnknownLevel {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:?} is no level and no list of `target=level`", self.0)
    }
}

impl std::error::Error for UnknownLevel {}

impl Log {
    /// Starts logging to standard error, by `default` where the environment does not say otherwise:
    /// what it says is added to `default`, so that a level for everything does not bring back what
    /// `default` keeps quiet by name. It is a list of `tracing`'s directives, in which the word `json`
    /// stands for lines of JSON and `text` for lines of text. A filter that cannot be read is reported
    /// and ignored.
    ///
    /// # Panics
    /// If logging was started before.
    pub fn start(default: &str) -> Self {
        let written = std::env::var(LOG_VARIABLE).unwrap_or_default();
        let mut wanted = Wanted::of(&written);
        let invalid = EnvFilter::try_new(&wanted.directives).err();
        if invalid.is_some() {
            wanted.directives.clear();
        }
        let filter =
            filter(default, &wanted.directives).unwrap_or_else(|_| EnvFilter::new(default));
        let (filter, handle) = tracing_subscriber::reload::Layer::new(filter);
        let is_json = Arc::new(AtomicBool::new(wanted.format == Some(LogFormat::Json)));
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .event_format(Lines::new(is_json.clone()));
        tracing_subscriber::registry().with(filter).with(lines).init();
        if let Some(error) = invalid {
            tracing::warn!(%error, "{LOG_VARIABLE} is not a filter and is ignored");
        }
        Self {
            default: default.into(),
            directives: Arc::new(Mutex::new(wanted.directives.clone())),
            environment: Arc::new(wanted),
            filter: handle,
            is_json,
        }
    }

    /// The level or the directives in force, beyond what is always kept quiet.
    #[must_use]
    pub fn level(&self) -> String {
        let directives = self.directives.lock().unwrap_or_else(PoisonError::into_inner);
        match directives.as_str() {
            "" => self.default.split(',').next().unwrap_or("info").to_owned(),
            written => written.to_owned(),
        }
    }

    /// How lines are written.
    #[must_use]
    pub fn format(&self) -> LogFormat {
        match self.is_json.load(Ordering::Relaxed) {
            true => LogFormat::Json,
            false => LogFormat::Text,
        }
    }

    /// Logs by `directives` from now on: a level such as `debug`, or a list of `target=level`; nothing
    /// written means the level by default.
    ///
    /// # Errors
    /// If it is neither; nothing changes then.
    pub fn set_level(&self, directives: &str) -> Result<(), UnknownLevel> {
        check_level(directives)?;
        let unknown = || UnknownLevel(directives.to_owned());
        let filter = filter(&self.default, directives).map_err(|_| unknown())?;
        self.filter.reload(filter).map_err(|_| unknown())?;
        let mut in_force = self.directives.lock().unwrap_or_else(PoisonError::into_inner);
        directives.clone_into(&mut in_force);
        Ok(())
    }

    /// Applies what a configuration says, unless the environment says otherwise.
    pub fn configure(&self, format: LogFormat, level: Option<&str>) {
        let format = self.environment.format.unwrap_or(format);
        self.is_json.store(format == LogFormat::Json, Ordering::Relaxed);
        if self.environment.directives.is_empty()
            && let Err(error) = self.set_level(level.unwrap_or_default())
        {
            tracing::error!(%error, "the level of the log stays as it is");
        }
    }
}

/// Whether `directives` can be a level of the log: a single word must be one of the levels, since
/// `tracing` takes any other for a target.
///
/// # Errors
/// If they cannot.
pub fn check_level(directives: &str) -> Result<(), UnknownLevel> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_known = |directive: &str| {
        directive.contains('=')
            || LEVELS.iter().any(|level| directive.trim().eq_ignore_ascii_case(level))
    };
    let is_readable = EnvFilter::try_new(directives).is_ok();
    let all_known = directives.is_empty() || directives.split(',').all(is_known);
    if is_readable && all_known { Ok(()) } else { Err(UnknownLevel(directives.to_owned())) }
}

fn filter(
    default: &str,
    directives: &str,
) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    match directives {
        "" => EnvFilter::try_new(default),
        written => EnvFilter::try_new(format!("{default},{written}")),
    }
}

/// Lines in the format in force.
struct Lines {
    is_json: Arc<AtomicBool>,
    text: Format<Full>,
}

impl Lines {
    fn new(is_json: Arc<AtomicBool>) -> Self {
        // Without colours: the lines are the same wherever they go.
        Self { is_json, text: Format::default().with_target(false).with_ansi(false) }
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        out: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        match self.is_json.load(Ordering::Relaxed) {
            true => JsonLines.format_event(context, out, event),
            false => self.text.format_event(context, out, event),
        }
    }
}

/// What the environment says of the log.
#[derive(Debug)]
struct Wanted {
    format: Option<LogFormat>,
    directives: String,
}

impl Wanted {
    fn of(written: &str) -> Self {
        let parts = || written.split(',').map(str::trim).filter(|part| !part.is_empty());
        let format = |part: &str| match part {
            "json" => Some(LogFormat::Json),
            "text" => Some(LogFormat::Text),
            _ => None,
        };
        let directives: Vec<_> = parts().filter(|part| format(part).is_none()).collect();
        Self { format: parts().filter_map(format).next_back(), directives: directives.join(",") }
    }
}

#[cfg(test)]
mod tests {
    use super::{LogFormat, Wanted, check_level};

    #[test]
    fn formats_are_words_among_the_directives() {
        let (json, text) = (Some(LogFormat::Json), Some(LogFormat::Text));
        for (written, format, directives) in [
            ("", None, ""),
            ("json", json, ""),
            ("debug", None, "debug"),
            ("json,info,sallyport=debug", json, "info,sallyport=debug"),
            ("warn, json", json, "warn"),
            ("json,text", text, ""),
        ] {
            let wanted = Wanted::of(written);
            assert_eq!((wanted.format, &*wanted.directives), (format, directives), "{written}");
        }
    }

    #[test]
    fn a_word_that_is_no_level_is_no_level() {
        for good in ["", "info", "DEBUG", "warn,sallyport=trace", "off"] {
            assert!(check_level(good).is_ok(), "{good}");
        }
        for bad in ["loud", "info,loud", "sallyport=loud", "=", "info,"] {
            assert!(check_level(bad).is_err(), "{bad}");
        }
    }
}
