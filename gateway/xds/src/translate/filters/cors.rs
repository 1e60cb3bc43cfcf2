//! `cors`: what routes and virtual hosts say of other sites' pages.

use std::time::Duration;

use sallyport_config::Value;

use super::super::fraction::percent_or;
use super::super::{Scope, matching};
use super::{Level, Own};
use crate::fields::Fields;
use crate::output::{self, Map, entry, text};

pub(super) fn on_route(scope: &Scope<'_>, fields: &Fields<'_>, _: Level) -> Option<Own> {
    let enabled = percent_or(fields, "filter_enabled", &scope.runtime, 100.0);
    if fields.has("shadow_enabled") {
        fields.ignore("shadow_enabled", "a policy is in force or it is not");
    }
    fields.refuse("allow_private_network_access", "private networks are not told apart");
    fields.ignore(
        "forward_not_matching_preflights",
        "a preflight of an origin that is not allowed is answered without permission",
    );
    let mut origins = Vec::new();
    for matcher in fields.messages("allow_origin_string_match") {
        origins.push(origin(matching::string(&matcher)?));
    }
    let methods = words(fields.text("allow_methods"));
    let headers = words(fields.text("allow_headers"));
    let expose = words(fields.text("expose_headers"));
    let max_age = fields.text("max_age").and_then(|seconds| seconds.trim().parse().ok());
    let credentials = fields.flag("allow_credentials").unwrap_or(false);
    match enabled {
        0.0 => return Some(Own::Off),
        100.0 => {}
        percent => return fields.reject(format!("filter_enabled is {percent} %, write 0 or 100")),
    }
    if origins.is_empty() {
        return fields.reject("allows no origin, write allow_origin_string_match");
    }
    let out = Map::new()
        .with("origins", output::list(origins))
        .with_some("methods", methods)
        .with_some("headers", headers)
        .with_some("expose", expose)
        .with_some("credentials", credentials.then_some(Value::Bool(true)))
        .with_some("max_age", max_age.map(Duration::from_secs).and_then(output::time));
    Some(Own::Settings(out.done()))
}

fn origin((key, value): (&'static str, Value)) -> Value {
    let written = value.as_str().unwrap_or_default();
    match key {
        "exact" => text(written),
        "prefix" => entry("regex", text(format!("{}.*", super::super::regex::escaped(written)))),
        _ => entry("regex", text(written)),
    }
}

/// A list that is written as one text.
fn words(written: Option<String>) -> Option<Value> {
    let written = written?;
    let words = written.split(',').map(str::trim).filter(|word| !word.is_empty() && *word != "*");
    output::texts(words.map(str::to_owned))
}
