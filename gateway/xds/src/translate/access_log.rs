//! Access logs as filters `access_log`.

use sallyport_config::Value;

use crate::fields::Fields;
use crate::output::{Map, entry, text};

/// The entries for a list of access logs.
pub(super) fn entries(fields: &Fields<'_>, name: &str) -> Vec<Value> {
    let mut entries = Vec::new();
    for log in fields.messages(name) {
        log.text("name");
        log.refuse("filter", "every request has its line");
        let Some(config) = log.any("typed_config") else { continue };
        let Some(target) = target(&config) else { continue };
        let named =
            (!entries.is_empty()).then(|| text(format!("access_log_{}", entries.len() + 1)));
        let settings = Map::new().with("to", target).done();
        entries.push(Map::new().with("access_log", settings).with_some("name", named).done());
    }
    entries
}

fn target(config: &Fields<'_>) -> Option<Value> {
    const FORMAT: &str = "lines are JSON with the fields that docs/filters.md lists; other fields are \
                          written as `fields` in a file";
    match config.type_name().rsplit('.').next() {
        Some("FileAccessLog") => {
            config
                .ignore_all(&["format", "json_format", "typed_json_format", "log_format"], FORMAT);
            let path = config.text("path").unwrap_or_default();
            match &*path {
                "/dev/stdout" | "/dev/stderr" | "/proc/self/fd/1" | "/proc/self/fd/2" => {
                    Some(text("stdout"))
                }
                path => Some(entry("file", text(path))),
            }
        }
        Some("StdoutAccessLog" | "StderrAccessLog") => {
            config.ignore("log_format", FORMAT);
            Some(text("stdout"))
        }
        _ => {
            config.leave("lines go to a file, standard output or syslog");
            None
        }
    }
}
