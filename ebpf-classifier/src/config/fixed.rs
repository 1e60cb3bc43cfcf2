//! What a running classifier cannot change: where its maps are, how large, and its socket.
//!
//! A reload that would change any of it is refused as a whole: half of a file in force would be worse
//! than none of it.

use std::net::SocketAddr;
use std::path::PathBuf;

use sallyport_config::{Found, Sink};

use super::{Config, Limits};

/// The parts of the configuration that the process was started with.
#[derive(Clone, Debug)]
pub struct Fixed {
    pin_path: PathBuf,
    metrics: Option<SocketAddr>,
    limits: Limits,
    ipv6_prefix: u32,
}

const FIX: &str = "restart sallyport-classifier to apply this, or undo it to apply the rest";

impl Fixed {
    /// Remembers what `config` fixes.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            pin_path: config.pin_path.clone(),
            metrics: config.metrics,
            limits: config.limits.clone(),
            ipv6_prefix: config.ipv6_prefix,
        }
    }

    /// Notes every difference.
    pub(super) fn hold(&self, config: &Config, problems: &mut Sink) {
        let mut refuse = |place: String, what: String| {
            problems.push(Found::error(0, place, what, FIX));
        };
        if config.pin_path != self.pin_path {
            let what =
                format!("moved from {} to {}", self.pin_path.display(), config.pin_path.display());
            refuse("pin_path".into(), what);
        }
        if config.metrics != self.metrics {
            refuse("metrics".into(), "the metrics address changed".into());
        }
        if config.ipv6_prefix != self.ipv6_prefix {
            let what = format!("changed from {} to {}", self.ipv6_prefix, config.ipv6_prefix);
            refuse("ipv6_prefix".into(), what);
        }
        let limits = config.limits.entries().into_iter().zip(self.limits.entries());
        for ((key, new), (_, old)) in limits.filter(|((_, new), (_, old))| new != old) {
            refuse(format!("limits.{key}"), format!("changed from {old} to {new}"));
        }
    }
}
