//! Routes that lead to an upstream that could not be translated.

use std::collections::HashSet;

use sallyport_config::{Mapping, Value};

use crate::findings::{Findings, Outcome};

/// Leaves out the routes that name an upstream which is not among `upstreams`, and tells each of
/// them.
pub(super) fn pruned(hosts: Vec<Value>, upstreams: &[Value], findings: &Findings) -> Vec<Value> {
    let names: HashSet<&str> =
        upstreams.iter().filter_map(|upstream| key(upstream, "name")).collect();
    hosts.into_iter().map(|host| host_without(host, &names, findings)).collect()
}

/// The text under a key of a mapping.
fn key<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    let Value::Mapping(map) = value else { return None };
    map.get(key)?.as_str()
}

fn host_without(host: Value, names: &HashSet<&str>, findings: &Findings) -> Value {
    // Next to always nothing is missing, and then nothing need be copied.
    if missing(&host, names).is_none() {
        return host;
    }
    let name = key(&host, "name").unwrap_or_default().to_owned();
    let Value::Mapping(map) = host else { return host };
    let mut out = Mapping::default();
    for (key, value) in map.iter() {
        let value = match (key.as_str(), value) {
            (Some("routes"), Value::Sequence(routes)) => {
                let kept = routes.iter().filter(|route| is_whole(&name, route, names, findings));
                Value::Sequence(kept.cloned().collect())
            }
            (_, value) => value.clone(),
        };
        out.insert(key.as_str().unwrap_or_default(), value);
    }
    Value::Mapping(out)
}

fn is_whole(host: &str, route: &Value, names: &HashSet<&str>, findings: &Findings) -> bool {
    let Some(missing) = missing(route, names) else { return true };
    let place = format!("{host}/{}", key(route, "name").unwrap_or_default());
    let what = format!("leads to cluster {missing:?}, which cannot be used");
    findings.note(Outcome::Refused, &place, what);
    false
}

/// The first upstream within a value that is not there.
fn missing<'v>(value: &'v Value, names: &HashSet<&str>) -> Option<&'v str> {
    match value {
        Value::Mapping(map) => map.iter().find_map(|(key, value)| match (key.as_str(), value) {
            (Some("upstream"), Value::String(name)) => {
                (!names.contains(&**name)).then_some(&**name)
            }
            (_, value) => missing(value, names),
        }),
        Value::Sequence(items) => items.iter().find_map(|item| missing(item, names)),
        _ => None,
    }
}
