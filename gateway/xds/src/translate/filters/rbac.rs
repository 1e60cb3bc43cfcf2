//! `rbac`, as far as it decides by address.

use sallyport_config::Value;

use super::super::Scope;
use super::{Level, Own};
use crate::fields::Fields;
use crate::output::{self, Map, text};

/// Settings of `ip_access`.
pub(super) fn read(fields: &Fields<'_>) -> Option<Value> {
    fields.ignore_all(
        &[
            "shadow_rules",
            "shadow_matcher",
            "shadow_rules_stat_prefix",
            "rules_stat_prefix",
            "track_per_rule_stats",
        ],
        "what would be refused is not counted",
    );
    fields.refuse("matcher", "addresses decide, write `rules`");
    let rules = fields.message("rules")?;
    rules.refuse("audit_logging_options", "refusals are counted, and in the access log");
    let action = rules.choice("action");
    let mut networks = Vec::new();
    for (_, policy) in rules.entries("policies") {
        policy.refuse("condition", "expressions are not known here");
        policy.refuse("checked_condition", "expressions are not known here");
        policy.refuse("cel_config", "expressions are not known here");
        for permission in policy.messages("permissions") {
            if !permission.flag("any").unwrap_or(false) {
                return permission.reject("permits a part of the requests, write routes for them");
            }
        }
        for principal in policy.messages("principals") {
            principals(&principal, &mut networks)?;
        }
    }
    let out = match action.as_deref() {
        None => {
            Map::new().with_some("allow", output::texts(networks)).with("default", text("deny"))
        }
        Some("DENY") if networks.is_empty() => return None,
        Some("DENY") => Map::new().with_some("deny", output::texts(networks)),
        Some(other) => return rules.reject(format!("does {other}, write ALLOW or DENY")),
    };
    let out = out.done();
    match &out {
        // Nobody is let in: the list of those who are cannot be empty.
        Value::Mapping(map) if !map.contains_key("allow") && !map.contains_key("deny") => {
            Some(Map::new().with("deny", everybody()).with("default", text("deny")).done())
        }
        _ => Some(out),
    }
}

fn everybody() -> Value {
    output::list(["0.0.0.0/0", "::/0"].map(text))
}

/// Adds the networks that a principal is.
fn principals(principal: &Fields<'_>, networks: &mut Vec<String>) -> Option<()> {
    if principal.flag("any").unwrap_or(false) {
        networks.extend(["0.0.0.0/0".to_owned(), "::/0".to_owned()]);
        return Some(());
    }
    if let Some(set) = principal.message("or_ids") {
        return set.messages("ids").iter().try_for_each(|one| principals(one, networks));
    }
    for name in ["remote_ip", "direct_remote_ip", "source_ip"] {
        if let Some(range) = principal.message(name) {
            networks.push(network(&range)?);
            return Some(());
        }
    }
    principal.reject("is told by more than its address, which no filter here decides by")
}

/// A `CidrRange` as a network.
pub(in super::super) fn network(range: &Fields<'_>) -> Option<String> {
    let address = range.text("address_prefix").unwrap_or_default();
    let bits = range.uint("prefix_len").unwrap_or(0);
    match address.parse::<std::net::IpAddr>() {
        Ok(address) => Some(format!("{address}/{bits}")),
        Err(_) => range.reject(format!("{address:?} is no address")),
    }
}

pub(super) fn on_route(_: &Scope<'_>, fields: &Fields<'_>, _: Level) -> Option<Own> {
    match fields.message("rbac") {
        Some(rules) => read(&rules).map(Own::Settings),
        None => Some(Own::Off),
    }
}
