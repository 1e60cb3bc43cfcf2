//! Reading `access_log:`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use sallyport_config::{Fields, Node, Sink};

use super::AccessLog;
use super::format::{Format, Key};
use super::sink::{Address, Syslog, Target};
use super::writer::Tally;
use crate::filter::Filter;
use crate::host::Metrics;
use crate::kind::Setting;
use crate::template::{Scope, Template};

/// Four MiB of lines of the usual length: a second at eight thousand requests in it.
const QUEUE_LINES: u64 = 8192;

/// Fields of one line.
const FIELDS_MAX: usize = 64;

/// The fields of a line where the configuration names none.
const FIELDS: [(&str, &str); 18] = [
    ("time", "${time}"),
    ("method", "${method}"),
    ("path", "${client_path}"),
    ("host", "${host}"),
    ("status", "${status}"),
    ("duration_ms", "${duration_ms}"),
    ("request_bytes", "${request_bytes}"),
    ("response_bytes", "${response_bytes}"),
    ("client", "${client}"),
    ("request_id", "${request_id}"),
    ("trace_id", "${trace_id}"),
    ("virtual_host", "${virtual_host}"),
    ("route", "${route}"),
    ("upstream", "${upstream}"),
    ("endpoint", "${endpoint}"),
    ("cause", "${cause}"),
    ("user_agent", "${header.user-agent}"),
    ("network", "${hint.network}"),
];

/// RFC 5424, 6.2.1, without those that are the system's own.
const FACILITIES: [(&str, u8); 10] = [
    ("user", 1),
    ("daemon", 3),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

pub(super) fn read(
    node: Node<'_>,
    sink: &mut Sink,
    setting: &mut Setting<'_>,
) -> Option<Arc<dyn Filter>> {
    let folder = setting.folder;
    node.mapping(sink, |fields, sink| {
        let target = match fields.has("to") {
            true => fields.optional(sink, "to", |node, sink| target(node, sink, folder)),
            false => Some(Target::Stdout),
        };
        let format = format(fields, sink);
        let queue = fields.optional(sink, "queue", |node, sink| node.number(sink, 1, 1 << 20));
        Some(Arc::new(AccessLog {
            format: format?,
            target: target?,
            queue_lines: queue.unwrap_or(QUEUE_LINES) as usize,
            tally: Arc::new(tally(&setting.host.metrics, setting.name)),
            writer: OnceLock::new(),
        }) as Arc<dyn Filter>)
    })
}

pub(super) fn tally(metrics: &Metrics, filter: &str) -> Tally {
    let family =
        |name, help| metrics.counters(name, help, &["filter"]).with_label_values(&[filter]);
    Tally {
        written: family("sallyport_access_log_written_total", "Lines written to access logs."),
        dropped: family("sallyport_access_log_dropped_total", "Lines that access logs lost."),
    }
}

fn target(node: Node<'_>, sink: &mut Sink, folder: &Path) -> Option<Target> {
    match node.value.as_str() {
        Some("stdout") => return Some(Target::Stdout),
        Some(other) => {
            let fix = "write stdout, { file: PATH } or { syslog: { address: ADDRESS } }";
            return node.refuse(sink, format!("{other:?} is no target"), fix);
        }
        None => {}
    }
    node.mapping(sink, |fields, sink| {
        fields.exactly_one(sink, &["file", "syslog"])?;
        let file = fields.optional(sink, "file", |node, sink| file(node, sink, folder));
        let syslog = fields.optional(sink, "syslog", syslog);
        file.map(Target::File).or(syslog.map(Target::Syslog))
    })
}

/// A file in a folder that is there. Its folder's true name makes one target of what is one.
fn file(node: Node<'_>, sink: &mut Sink, folder: &Path) -> Option<PathBuf> {
    let path = folder.join(&*node.name(sink)?);
    let shown = path.display();
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return node.refuse(sink, format!("{shown} is no file"), "name a file");
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let Ok(parent) = parent.canonicalize() else {
        let fix = "make the folder, for the gateway's user to write in";
        return node.refuse(sink, format!("the folder of {shown} does not exist"), fix);
    };
    let path = parent.join(name);
    if path.is_dir() {
        return node.refuse(sink, format!("{} is a folder", path.display()), "name a file in it");
    }
    Some(path)
}

fn syslog(node: Node<'_>, sink: &mut Sink) -> Option<Syslog> {
    node.mapping(sink, |fields, sink| {
        let address = fields.required(sink, "address", address);
        let facility = match fields.has("facility") {
            true => fields.optional(sink, "facility", facility),
            false => Some(16),
        };
        Some(Syslog { address: address?, facility: facility? })
    })
}

fn address(node: Node<'_>, sink: &mut Sink) -> Option<Address> {
    let text = node.text(sink)?;
    if let Some(Ok(address)) = text.strip_prefix("udp://").map(str::parse) {
        return Some(Address::Udp(address));
    }
    match text.strip_prefix("unix:").map(Path::new) {
        Some(path) if path.is_absolute() => Some(Address::Unix(path.into())),
        _ => {
            let fix = "write udp://IP:PORT or unix:/PATH, such as unix:/dev/log";
            node.refuse(sink, format!("{text:?} is no address"), fix)
        }
    }
}

fn facility(node: Node<'_>, sink: &mut Sink) -> Option<u8> {
    let text = node.text(sink)?;
    let known = FACILITIES.iter().find(|facility| facility.0 == text);
    known.map(|facility| facility.1).or_else(|| {
        let fix = "write user, daemon or local0 to local7";
        node.refuse(sink, format!("{text:?} is no facility"), fix)
    })
}

fn format(fields: &mut Fields<'_>, sink: &mut Sink) -> Option<Format> {
    let text = match fields.has("format") {
        true => fields.optional(sink, "format", text_or_json)?,
        false => None,
    };
    if let Some(text) = text {
        if fields.has("fields") {
            let fix = "write either `fields` or a `template`";
            return fields.node().refuse(sink, "has `fields` and a template", fix);
        }
        return Some(Format::Text(text));
    }
    if fields.has("fields") {
        return fields.optional(sink, "fields", json).map(Format::Json);
    }
    let default = |(name, text): &(&str, &str)| {
        Some((Key::new(name), Template::parse(text, Scope::Ended).ok()?))
    };
    Some(Format::Json(FIELDS.iter().filter_map(default).collect()))
}

/// The template; `None` in it for JSON.
fn text_or_json(node: Node<'_>, sink: &mut Sink) -> Option<Option<Template>> {
    match node.value.as_str() {
        Some("json") => Some(None),
        Some(other) => {
            let fix = "write json or { template: TEXT }";
            node.refuse(sink, format!("{other:?} is no format"), fix)
        }
        None => {
            node.mapping(sink, |fields, sink| fields.required(sink, "template", text).map(Some))
        }
    }
}

fn text(node: Node<'_>, sink: &mut Sink) -> Option<Template> {
    let text = node.text(sink)?;
    if text.contains(|character: char| character.is_control() && character != '\t') {
        let fix = "write one line: its end is added";
        return node.refuse(sink, "has control characters", fix);
    }
    Template::read(node, sink, Scope::Ended)
}

fn json(node: Node<'_>, sink: &mut Sink) -> Option<Vec<(Key, Template)>> {
    let fields = node.entries(sink, |name, node, sink| {
        Some((Key::new(name), Template::read(node, sink, Scope::Ended)?))
    })?;
    match fields.len() {
        0 => node.refuse(sink, "is empty", "name at least one field"),
        1..=FIELDS_MAX => Some(fields),
        many => node.refuse(sink, format!("has {many} fields"), "write at most 64"),
    }
}

#[cfg(test)]
mod tests {
    use super::{FIELDS, Scope, Template};

    #[test]
    fn every_default_field_has_a_variable() {
        for (name, text) in FIELDS {
            assert!(Template::parse(text, Scope::Ended).unwrap().variable().is_some(), "{name}");
        }
    }
}
