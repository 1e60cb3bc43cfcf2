#![doc = include_str!("ip_access/README.md")]

use std::sync::Arc;

use http::StatusCode;
use ipnet::IpNet;
use sallyport_config::{Fields, Node, Sink, scalar, schema};
use sallyport_route::Hints;

use crate::exchange::Exchange;
use crate::filter::{Answer, Filter, Flow, Phases};
use crate::kind::{Kind, Setting};

mod prefixes;
mod spec;

pub use spec::{Access, IpAccessSpec};

use prefixes::{Prefixes, Verdict};

/// `ip_access:` in `filters:`.
pub const KIND: Kind = Kind { name: "ip_access", read, schema: schema::settings::<IpAccessSpec> };

/// Prefixes of one list: some 3 MB, and more than the lists of countries and clouds have.
const PREFIXES_MAX: usize = 100_000;

/// Names of networks or screens, which are looked through one by one.
const NAMES_MAX: usize = 100;

/// Lets clients in by where they are.
#[derive(Debug)]
struct IpAccess {
    prefixes: Prefixes,
    allow_networks: Vec<Box<str>>,
    deny_networks: Vec<Box<str>>,
    deny_screens: Vec<Box<str>>,
    default: Verdict,
}

fn read(node: Node<'_>, sink: &mut Sink, _: &mut Setting<'_>) -> Option<Arc<dyn Filter>> {
    node.mapping(sink, |fields, sink| {
        let allow = fields.optional(sink, "allow", prefixes);
        let deny = fields.optional(sink, "deny", prefixes);
        let allow_networks = names(fields, sink, "allow_networks");
        let deny_networks = names(fields, sink, "deny_networks");
        let deny_screens = names(fields, sink, "deny_screens");
        let default = fields.optional(sink, "default", verdict);
        let lists = ["allow", "deny", "allow_networks", "deny_networks", "deny_screens"];
        if !lists.iter().any(|list| fields.has(list)) {
            return node.refuse(sink, "lists nobody", "write `allow:`, `deny:` or a list by hints");
        }
        let allows = fields.has("allow") || fields.has("allow_networks");
        let by_lists = if allows { Verdict::Deny } else { Verdict::Allow };
        let marked = |prefixes: Option<Vec<IpNet>>, verdict| {
            prefixes.unwrap_or_default().into_iter().map(move |prefix| (prefix, verdict))
        };
        let all = marked(allow, Verdict::Allow).chain(marked(deny, Verdict::Deny));
        Some(Arc::new(IpAccess {
            prefixes: Prefixes::new(all),
            allow_networks,
            deny_networks,
            deny_screens,
            default: default.unwrap_or(by_lists),
        }) as Arc<dyn Filter>)
    })
}

fn prefixes(node: Node<'_>, sink: &mut Sink) -> Option<Vec<IpNet>> {
    let prefixes = node.list(sink, scalar::network)?;
    if prefixes.len() > PREFIXES_MAX {
        let what = format!("has {} prefixes", prefixes.len());
        return node.refuse(sink, what, "write at most 100000");
    }
    Some(prefixes)
}

fn names(fields: &mut Fields<'_>, sink: &mut Sink, key: &'static str) -> Vec<Box<str>> {
    let names = fields.optional(sink, key, |node, sink| {
        let names = node.list(sink, scalar::name)?;
        if names.len() > NAMES_MAX {
            return node.refuse(sink, format!("has {} names", names.len()), "write at most 100");
        }
        Some(names)
    });
    names.unwrap_or_default()
}

fn verdict(node: Node<'_>, sink: &mut Sink) -> Option<Verdict> {
    match node.text(sink)? {
        "allow" => Some(Verdict::Allow),
        "deny" => Some(Verdict::Deny),
        other => node.refuse(sink, format!("is {other:?}"), "write allow or deny"),
    }
}

impl IpAccess {
    fn judge(&self, x: &Exchange<'_>) -> Verdict {
        let is_listed = |names: &[Box<str>], found: &str| names.iter().any(|name| **name == *found);
        let network_is = |names: &[Box<str>], hints: &Hints| {
            hints.network.as_deref().is_some_and(|network| is_listed(names, network))
        };
        let hints = x.about.hints;
        let denied = hints.is_some_and(|hints| {
            network_is(&self.deny_networks, hints)
                || hints.screens.iter().any(|screen| is_listed(&self.deny_screens, screen))
        });
        if denied {
            return Verdict::Deny;
        }
        // Who it is cannot be told, so nor can it be told that they are not on a list.
        let Some(client) = x.about.client else { return Verdict::Deny };
        if let Some(verdict) = self.prefixes.find(client) {
            return verdict;
        }
        match hints {
            Some(hints) if network_is(&self.allow_networks, hints) => Verdict::Allow,
            _ => self.default,
        }
    }
}

impl Filter for IpAccess {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS
    }

    fn request_headers<'a>(&'a self, x: Exchange<'a>) -> Flow<'a> {
        match self.judge(&x) {
            Verdict::Allow => Flow::Continue,
            Verdict::Deny => {
                let text = "not from this address";
                Flow::answer(Answer::error(StatusCode::FORBIDDEN, "forbidden", text))
            }
        }
    }
}

#[cfg(test)]
mod tests;
