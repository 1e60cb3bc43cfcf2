//! What a running gateway cannot change: its sockets, and what is built around them.
//!
//! A reload that would change any of it is refused as a whole, with a problem that says so: half of
//! a file in force would be worse than none of it.

use sallyport_config::Found;

use super::admin::AdminAddress;
use super::model::{Classifier, Config, Listener};

/// The parts of the configuration that the process was started with.
#[derive(Clone, Debug)]
pub struct Fixed {
    listeners: Vec<Listener>,
    admin: Option<AdminAddress>,
    upstream_idle_connections: u64,
    classifier: Option<Classifier>,
}

const FIX: &str = "restart sallyport to apply this, or undo it to apply the rest";

impl Fixed {
    /// Remembers what `config` fixes.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            listeners: config.listeners.clone(),
            admin: config.admin.as_ref().map(|admin| admin.address.clone()),
            upstream_idle_connections: config.limits.upstream_idle_connections,
            classifier: config.classifier.clone(),
        }
    }

    /// Notes every difference, and puts the listeners of `config` in the order they run in.
    pub(super) fn hold(&self, config: &mut Config, problems: &mut Vec<Found>) {
        let mut refuse = |place: String, what: String| {
            problems.push(Found::error(0, place, what, FIX));
        };
        for (index, new) in config.listeners.iter().enumerate() {
            let place = format!("listeners[{index}]");
            match self.listeners.iter().find(|old| old.name == new.name) {
                None => refuse(place, format!("listener {:?} is new", new.name)),
                Some(old) if old.address != new.address => refuse(
                    format!("{place}.address"),
                    format!(
                        "listener {:?} moved from {} to {}",
                        new.name, old.address, new.address
                    ),
                ),
                Some(old) if old.h2c != new.h2c => {
                    refuse(
                        format!("{place}.h2c"),
                        format!("listener {:?} changed protocols", new.name),
                    );
                }
                Some(_) => {}
            }
        }
        for old in &self.listeners {
            if !config.listeners.iter().any(|new| new.name == old.name) {
                refuse("listeners".into(), format!("listener {:?} is gone", old.name));
            }
        }
        if config.admin.as_ref().map(|admin| &admin.address) != self.admin.as_ref() {
            refuse("admin".into(), "the admin address changed".into());
        }
        if config.limits.upstream_idle_connections != self.upstream_idle_connections {
            refuse(
                "limits.upstream_idle_connections".into(),
                "the size of the pool changed".into(),
            );
        }
        let maps = |classifier: &Option<Classifier>| {
            classifier.as_ref().map(|it| (it.pin_path.clone(), it.required))
        };
        if maps(&config.classifier) != maps(&self.classifier) {
            refuse(
                "classifier".into(),
                "`pin_path` or `required` changed, or the section came or went".into(),
            );
        }
        let position =
            |listener: &Listener| self.listeners.iter().position(|old| old.name == listener.name);
        config.listeners.sort_by_key(position);
    }
}
