//! `health_check`: a path that the gateway answers itself.

use sallyport_config::Value;

use super::super::Scope;
use super::Effect;
use crate::fields::Fields;
use crate::output::{Map, entry, number, text};

pub(super) fn read(_: &Scope<'_>, fields: &Fields<'_>) -> Option<Effect> {
    if fields.flag("pass_through_mode").unwrap_or(false) {
        return fields
            .reject("asks an origin and keeps its answer, write `pass_through_mode: false`");
    }
    fields.ignore("cache_time", "nothing is asked, so that nothing is kept");
    fields.refuse("cluster_min_healthy_percentages", "the answer does not depend on upstreams");
    let mut path = None;
    for header in fields.messages("headers") {
        let is_path = header.text("name").as_deref() == Some(":path");
        let matcher = header.message("string_match");
        let exact = matcher.and_then(|matcher| matcher.text("exact"));
        match exact.or_else(|| header.text("exact_match")) {
            Some(exact) if is_path && path.is_none() => path = Some(exact),
            _ => {
                return header
                    .reject("matches something else than one path, write `:path` exactly");
            }
        }
    }
    match path {
        Some(path) => Some(Effect::HealthCheck(path)),
        None => fields.reject("answers no path, write a matcher of `:path`"),
    }
}

/// The route that answers.
pub(super) fn route(name: &str, path: &str) -> Value {
    Map::new()
        .with("name", text(name))
        .with("match", entry("path", entry("exact", text(path))))
        .with("respond", entry("status", number(200)))
        .done()
}
