//! What a running gateway cannot change: what its workers and its view of the classifier are built
//! around.
//!
//! A reload that would change any of it is refused as a whole, with a problem that says so: half of
//! a file in force would be worse than none of it.

use sallyport_config::Found;
use sallyport_config::spec::Providers;

use super::model::{Classifier, Config};

/// The parts of the configuration that the process was started with.
#[derive(Clone, Debug)]
pub struct RestartOnly {
    upstream_idle_connections: u64,
    classifier: Option<Classifier>,
    providers: Option<Providers>,
}

const FIX: &str = "restart sallyport to apply this, or undo it to apply the rest";

impl RestartOnly {
    /// Remembers what of `config` cannot change.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            upstream_idle_connections: config.limits.upstream_idle_connections,
            classifier: config.classifier.clone(),
            providers: config.providers.clone(),
        }
    }

    /// Notes every difference.
    pub(super) fn check(&self, config: &Config, problems: &mut Vec<Found>) {
        let mut refuse = |place: &str, what: &str| {
            problems.push(Found::error(0, place.into(), what.into(), FIX));
        };
        if config.limits.upstream_idle_connections != self.upstream_idle_connections {
            refuse("limits.upstream_idle_connections", "the size of the pool changed");
        }
        if config.providers != self.providers {
            refuse("providers", "a source changed, came or went");
        }
        let maps = |classifier: &Option<Classifier>| {
            classifier.as_ref().map(|it| (it.pin_path.clone(), it.required))
        };
        if maps(&config.classifier) != maps(&self.classifier) {
            refuse("classifier", "`pin_path` or `required` changed, or the section came or went");
        }
    }
}
