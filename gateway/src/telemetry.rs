//! What happens at run time, as lines on standard error.

use tracing_subscriber::EnvFilter;

/// The variable that says what is logged, in `tracing`'s filter syntax.
const VARIABLE: &str = "SALLYPORT_LOG";

/// Pingora logs every client that goes away as an error; what matters of it is logged by the phase
/// that knows the route.
const DEFAULT: &str = "info,pingora_core=off,pingora_proxy=off,pingora_runtime=warn";

/// Starts logging. A filter that cannot be read is reported and replaced by the default.
pub fn start() {
    let filter = std::env::var(VARIABLE).ok();
    let parsed = filter.as_deref().map(EnvFilter::try_new);
    let invalid = matches!(parsed, Some(Err(_)));
    let filter = parsed.and_then(Result::ok).unwrap_or_else(|| EnvFilter::new(DEFAULT));
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(ansi)
        .init();
    if invalid {
        tracing::warn!("{VARIABLE} is not a filter and is ignored");
    }
}
