//! `shutdown:`, `log:` and the `access_log:` of all listeners.

use sallyport_config::process::{self, check_level};
use sallyport_config::spec;
use sallyport_config::{Node, Place, Sink};
use sallyport_plugin::{Entry, Reader};

use crate::config::process::{LogSettings, Shutdown};

impl From<&spec::Shutdown> for Shutdown {
    fn from(spec: &spec::Shutdown) -> Self {
        Self { delay: spec.delay.0, deadline: spec.deadline.0 }
    }
}

pub(super) fn log(spec: &spec::LogSettings, place: &Place<'_>, sink: &mut Sink) -> LogSettings {
    let level = spec.level.as_ref().and_then(|level| {
        let fix =
            "write off, error, warn, info, debug or trace, or a list such as info,sallyport=debug";
        let level = &*level.0;
        let known = |level: &str| check_level(level).map(|()| level.into());
        let place = Place::Key(place, "level");
        place.parsed(sink, level, fix, |level| known(level).map_err(|_| "is no level"))
    });
    let format = match spec.format {
        spec::LogFormat::Text => process::LogFormat::Text,
        spec::LogFormat::Json => process::LogFormat::Json,
    };
    LogSettings { format, level }
}

/// The filter that all listeners have which do not set one of that name up themselves.
pub(super) fn access_log(
    spec: &spec::AccessLog,
    place: &Place<'_>,
    filters: &mut Reader<'_>,
    sink: &mut Sink,
) -> Option<Entry> {
    filters.of_kind(spec::AccessLog::KIND, Node { value: &spec.0, place: *place }, sink)
}

/// Gives `entry` to a listener with these filters; one that turns it off, or has its own, does
/// without.
pub(super) fn give(entry: &Entry, filters: &mut Vec<Entry>) {
    let own = filters.iter().position(|own| own.name() == entry.name());
    match own.map(|at| (at, &filters[at])) {
        None => filters.insert(0, entry.clone()),
        Some((at, Entry::Off(_))) => drop(filters.remove(at)),
        Some((_, Entry::Use(_))) => {}
    }
}
