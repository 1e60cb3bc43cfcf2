//! The status that an object has and the one that it deserves, as one. Pure.

use serde_json::{Map, Value, json};

use super::{ObjectStatus, StatusOf};

/// What is to be written in the place of the status `known`, or nothing if it says so already. What
/// others wrote stays. `now` is the time since when new conditions hold.
pub(crate) fn merge(known: &Value, status: &ObjectStatus, now: &str) -> Option<Value> {
    let mut merged = known.as_object().cloned().unwrap_or_default();
    let wanted = status.wanted.as_object()?;
    match status.of {
        StatusOf::Ingress => merged.extend(wanted.clone()),
        StatusOf::HttpRoute
        | StatusOf::GrpcRoute
        | StatusOf::TlsRoute
        | StatusOf::TlsAlphaRoute => parents(&mut merged, wanted, now),
        StatusOf::Gateway | StatusOf::GatewayClass | StatusOf::Filter | StatusOf::Policy => {
            object(&mut merged, wanted, now);
        }
    }
    (Value::Object(merged.clone()) != *known && !(merged.is_empty() && known.is_null()))
        .then_some(Value::Object(merged))
}

/// Says in every condition of acceptance that the gateway does not accept.
pub(super) fn reject(wanted: &mut Value, message: &str) {
    deny(wanted, ("Accepted", "UnsupportedValue"), message);
}

/// Says in every condition of references that one of them leads to what the gateway does not accept.
pub(super) fn unresolve(wanted: &mut Value, message: &str) {
    deny(wanted, ("ResolvedRefs", "InvalidFilter"), message);
}

/// Makes every condition of a type that holds one that does not, for this reason.
fn deny(wanted: &mut Value, (kind, reason): (&str, &str), message: &str) {
    match wanted {
        Value::Object(fields) if fields.get("type").is_some_and(|it| *it == kind) => {
            let holds = fields.get("status").is_some_and(|status| status == "True");
            let said = [("status", "False"), ("reason", reason), ("message", message)];
            for (key, value) in said.into_iter().filter(|_| holds) {
                fields.insert(key.into(), value.into());
            }
        }
        Value::Object(fields) => {
            fields.values_mut().for_each(|value| deny(value, (kind, reason), message));
        }
        Value::Array(items) => {
            items.iter_mut().for_each(|value| deny(value, (kind, reason), message));
        }
        _ => {}
    }
}

/// Conditions are merged by type, listeners by name; everything else is replaced.
fn object(merged: &mut Map<String, Value>, wanted: &Map<String, Value>, now: &str) {
    for (key, value) in wanted {
        let known = merged.get(key).cloned().unwrap_or_default();
        let value = match &**key {
            "conditions" => conditions(&known, value, now),
            "listeners" => listeners(&known, value, now),
            _ => value.clone(),
        };
        merged.insert(key.clone(), value);
    }
}

fn conditions(known: &Value, wanted: &Value, now: &str) -> Value {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (known, mut wanted) = (list(known), list(wanted));
    for condition in &mut wanted {
        let before = known.iter().find(|before| before["type"] == condition["type"]);
        let since = before.filter(|before| before["status"] == condition["status"]);
        let since = since.and_then(|before| before["lastTransitionTime"].as_str());
        condition["lastTransitionTime"] = since.unwrap_or(now).into();
    }
    let others = known.into_iter().filter(|before| {
        // Times before the first write are made up by the API server's default.
        let is_placeholder = before["reason"] == "Pending";
        !is_placeholder && !wanted.iter().any(|condition| condition["type"] == before["type"])
    });
    let others: Vec<_> = others.collect();
    others.into_iter().chain(wanted).collect()
}

fn listeners(known: &Value, wanted: &Value, now: &str) -> Value {
    let items = wanted.as_array().cloned().unwrap_or_default().into_iter().map(|mut listener| {
        let of_name = known.as_array().into_iter().flatten();
        let before = of_name.clone().find(|before| before["name"] == listener["name"]);
        let before = before.map(|before| before["conditions"].clone()).unwrap_or_default();
        listener["conditions"] = conditions(&before, &listener["conditions"], now);
        listener
    });
    items.collect()
}

/// The list of parents, which several controllers share: each has the entries with its own name.
fn parents(merged: &mut Map<String, Value>, wanted: &Map<String, Value>, now: &str) {
    let list = |of: &Map<String, Value>| {
        of.get("parents").and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let (known, ours) = (list(merged), list(wanted));
    let controller = wanted.get("controllerName").cloned().unwrap_or_default();
    let is_ours = |entry: &&Value| entry["controllerName"] == controller;
    let mut entries: Vec<_> = known.iter().filter(|entry| !is_ours(entry)).cloned().collect();
    for mut entry in ours {
        let mut before = known.iter().filter(is_ours);
        let before = before.find(|before| before["parentRef"] == entry["parentRef"]);
        let before = before.map(|before| before["conditions"].clone()).unwrap_or_default();
        entry["conditions"] = conditions(&before, &entry["conditions"], now);
        entries.push(entry);
    }
    if !entries.is_empty() || !known.is_empty() {
        merged.insert("parents".to_owned(), json!(entries));
    }
}

#[cfg(test)]
mod tests;
