//! `shutdown:`, `log:`, `insecure:` and the `access_log:` of all listeners.

use std::time::Duration;

use sallyport_config::process::{LogFormat, check_level};
use sallyport_config::{Node, Sink, Value, units};
use sallyport_plugin::{Entry, Reader};

use super::RawListener;
use crate::config::process::{EngineChoice, LogSettings, Shutdown};

pub(super) fn shutdown(node: Node<'_>, sink: &mut Sink) -> Option<Shutdown> {
    node.mapping(sink, |fields, sink| {
        let default = Shutdown::default();
        let delay = fields.optional(sink, "delay", time);
        let deadline = fields.optional(sink, "deadline", time);
        Some(Shutdown {
            delay: delay.unwrap_or(default.delay),
            deadline: deadline.unwrap_or(default.deadline),
        })
    })
}

/// A time up to an hour; none at all is one.
fn time(node: Node<'_>, sink: &mut Sink) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_secs(3600);
    if let Value::Number(number) = node.value {
        let what = format!("is {number}, not a string with a unit");
        return node.refuse(sink, what, format!("write {number}s if it is seconds"));
    }
    node.parsed(sink, "write a time from 0s to 1h, such as 5s", |text| {
        units::duration(text).filter(|time| *time <= LONGEST).ok_or("is not such a time")
    })
}

pub(super) fn insecure(node: Node<'_>, sink: &mut Sink) -> Option<EngineChoice> {
    node.mapping(sink, |fields, sink| {
        let engine = fields.optional(sink, "engine", |node, sink| {
            node.parsed(sink, "write auto or pingora", |text| match text {
                "auto" => Ok(EngineChoice::Auto),
                "pingora" => Ok(EngineChoice::Pingora),
                _ => Err("is no engine"),
            })
        });
        Some(engine.unwrap_or_default())
    })
}

pub(super) fn log(node: Node<'_>, sink: &mut Sink) -> Option<LogSettings> {
    node.mapping(sink, |fields, sink| {
        let format = fields.optional(sink, "format", |node, sink| {
            node.parsed(sink, "write text or json", |text| match text {
                "text" => Ok(LogFormat::Text),
                "json" => Ok(LogFormat::Json),
                _ => Err("is no format"),
            })
        });
        let level = fields.optional(sink, "level", |node, sink| {
            let fix = "write off, error, warn, info, debug or trace, or a list such as \
                       info,sallyport=debug";
            node.parsed(sink, fix, |text| match text {
                "" => Err("names no level"),
                text => check_level(text).map(|()| text.into()).map_err(|_| "is no level"),
            })
        });
        Some(LogSettings { format: format.unwrap_or(LogFormat::Text), level })
    })
}

/// The filter that all listeners have which do not set one of that name up themselves.
pub(super) fn access_log(
    node: Node<'_>,
    filters: &mut Reader<'_>,
    sink: &mut Sink,
) -> Option<Entry> {
    filters.of_kind("access_log", node, sink)
}

/// Gives `entry` to every listener; one that turns it off, or has its own, does without.
pub(super) fn give_to_all(entry: &Entry, listeners: &mut [RawListener]) {
    for listener in listeners {
        let own = listener.filters.iter().position(|own| own.name() == entry.name());
        match own.map(|at| (at, &listener.filters[at])) {
            None => listener.filters.insert(0, entry.clone()),
            Some((at, Entry::Off(_))) => drop(listener.filters.remove(at)),
            Some((_, Entry::Use(_))) => {}
        }
    }
}
