//! Changes of header fields, which Envoy has at four levels and as a filter of its own.
//!
//! Changes of several levels that meet in one request are worked out here and become one filter of
//! the most specific place, so that it does not matter in which order filters of different places
//! run.

use sallyport_config::Value;

use crate::fields::Fields;
use crate::output::{self, Map, text};

/// One change of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Remove,
    Set(String),
    Add(String),
}

/// Changes of one message's fields, in the order in which they are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Changes(Vec<(String, Change)>);

/// Changes of requests and of responses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mutations {
    request: Changes,
    response: Changes,
}

impl Mutations {
    /// Those that a route, a virtual host or a route configuration has.
    pub(super) fn of_level(fields: &Fields<'_>) -> Self {
        let read = |add: &str, remove: &str| {
            let mut changes = Changes::default();
            for name in fields.texts(remove) {
                changes.0.push((name.to_ascii_lowercase(), Change::Remove));
            }
            for option in fields.messages(add) {
                changes.0.extend(appended(&option));
            }
            changes
        };
        Self {
            request: read("request_headers_to_add", "request_headers_to_remove"),
            response: read("response_headers_to_add", "response_headers_to_remove"),
        }
    }

    /// Those of the filter `header_mutation`.
    pub(super) fn of_filter(fields: &Fields<'_>) -> Self {
        fields.refuse("query_parameter_mutations", "parameters of the query cannot be changed");
        for name in ["response_trailers_mutations", "request_trailers_mutations"] {
            fields.refuse(name, "trailers cannot be changed");
        }
        let read = |name: &str| {
            let mut changes = Changes::default();
            for mutation in fields.messages(name) {
                if let Some(name) = mutation.text("remove") {
                    changes.0.push((name.to_ascii_lowercase(), Change::Remove));
                }
                if let Some(option) = mutation.message("append") {
                    changes.0.extend(appended(&option));
                }
                mutation.refuse("remove_on_match", "fields are removed by their whole name only");
            }
            changes
        };
        Self { request: read("request_mutations"), response: read("response_mutations") }
    }

    /// Refuses several `Set-Cookie` fields at `fields`: one key of ours has one value, and theirs
    /// cannot be joined as those of other fields can (RFC 9110, 5.3).
    pub(super) fn check_cookies(&self, fields: &Fields<'_>) {
        let is_cookie = |(name, change): &&(String, Change)| {
            name == "set-cookie" && matches!(change, Change::Add(_))
        };
        if self.response.0.iter().filter(is_cookie).count() > 1 {
            let what = "adds several Set-Cookie fields, write one, or a filter in WebAssembly";
            fields.remark(crate::Outcome::Refused, what);
        }
    }

    /// Whether nothing is changed.
    pub(super) fn is_empty(&self) -> bool {
        self.request.0.is_empty() && self.response.0.is_empty()
    }

    /// These, and then `later`.
    pub(super) fn then(mut self, later: &Self) -> Self {
        self.request.0.extend(later.request.0.iter().cloned());
        self.response.0.extend(later.response.0.iter().cloned());
        self
    }

    /// As an entry of `filters`; `None` where nothing is changed.
    pub(super) fn written(&self, name: Option<&str>) -> Option<Value> {
        let mut settings = Map::new();
        settings.put_some("request", self.request.written());
        settings.put_some("response", self.response.written());
        let entry = Map::new().with("headers", settings.filled()?);
        Some(entry.with_some("name", name.map(text)).done())
    }
}

impl Changes {
    /// What all changes come to: ours removes first, then sets, then adds.
    fn written(&self) -> Option<Value> {
        let (mut remove, mut set, mut add) = (Vec::new(), Map::new(), Map::new());
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in &self.0 {
            if !names.contains(&&**name) {
                names.push(name);
            }
        }
        for name in names {
            let mut added = Vec::new();
            for (_, change) in self.0.iter().filter(|(changed, _)| changed == name) {
                match change {
                    Change::Add(_) => {}
                    Change::Remove | Change::Set(_) => added.clear(),
                }
                added.push(change);
            }
            let mut values = added.into_iter();
            let first = values.next();
            match first {
                Some(Change::Remove) => remove.push(text(name)),
                Some(Change::Set(value)) => set.put(name, text(&**value)),
                _ => {}
            }
            let rest = first.filter(|change| matches!(change, Change::Add(_))).into_iter();
            let rest: Vec<_> = rest
                .chain(values)
                .filter_map(|change| match change {
                    Change::Add(value) => Some(value.as_str()),
                    _ => None,
                })
                .collect();
            if !rest.is_empty() {
                // One key has one value; a field of several values is a list (RFC 9110, 5.3).
                add.put(name, text(rest.join(", ")));
            }
        }
        let mut out = Map::new();
        out.put_some("remove", output::filled(remove));
        out.put_some("set", set.filled());
        out.put_some("add", add.filled());
        out.filled()
    }
}

/// Reads a `HeaderValueOption`.
fn appended(option: &Fields<'_>) -> Option<(String, Change)> {
    option.ignore("keep_empty_value", "a field whose value comes out empty is left out");
    let header = option.message("header")?;
    let name = header.text("key").unwrap_or_default().to_ascii_lowercase();
    header.refuse("raw_value", "values are text, write `value`");
    let value = template(&header, &header.text("value").unwrap_or_default());
    let replaces = option.flag("append") == Some(false);
    let change = match option.choice("append_action").as_deref() {
        Some("OVERWRITE_IF_EXISTS_OR_ADD") => Change::Set(value?),
        None if replaces => Change::Set(value?),
        None => Change::Add(value?),
        Some(other) => {
            return option.reject(format!(
                "is {other}, which depends on what is there: write APPEND_IF_EXISTS_OR_ADD or \
                 OVERWRITE_IF_EXISTS_OR_ADD"
            ));
        }
    };
    Some((name, change))
}

/// Envoy's variables and ours.
const VARIABLES: [(&str, &str); 13] = [
    ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "${client}"),
    ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", "${peer}"),
    ("REQ(:METHOD)", "${method}"),
    ("REQ(:AUTHORITY)", "${host}"),
    ("REQUEST_HEADER(:METHOD)", "${method}"),
    ("REQUESTED_SERVER_NAME", "${tls.sni}"),
    ("ROUTE_NAME", "${route}"),
    ("UPSTREAM_CLUSTER", "${upstream}"),
    ("UPSTREAM_HOST", "${endpoint}"),
    ("STREAM_ID", "${request_id}"),
    ("DOWNSTREAM_PEER_SUBJECT", "${tls.client.subject}"),
    ("DOWNSTREAM_PEER_SERIAL", "${tls.client.serial}"),
    ("DOWNSTREAM_PEER_FINGERPRINT_256", "${tls.client.fingerprint}"),
];

/// Envoy's format string as a template of ours.
fn template(fields: &Fields<'_>, format: &str) -> Option<String> {
    let mut out = String::with_capacity(format.len());
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at].replace('$', "$$"));
        rest = &rest[at + 1..];
        let Some(end) = rest.find('%') else {
            return fields.reject(format!("{format:?} has a `%` without its pair, write %%"));
        };
        let (command, after) = (&rest[..end], &rest[end + 1..]);
        rest = after;
        match variable(command) {
            Some(variable) => out.push_str(&variable),
            None if command.is_empty() => out.push('%'),
            None => {
                return fields.reject(format!("%{command}% is not known here in a field's value"));
            }
        }
    }
    out.push_str(&rest.replace('$', "$$"));
    Some(out)
}

fn variable(command: &str) -> Option<String> {
    if let Some((_, ours)) = VARIABLES.iter().find(|(theirs, _)| *theirs == command) {
        return Some((*ours).to_owned());
    }
    let inner = |prefix: &str| command.strip_prefix(prefix)?.strip_suffix(')');
    let name = inner("REQ(").or_else(|| inner("REQUEST_HEADER("))?;
    let is_plain = !name.is_empty() && !name.contains(['?', ':']);
    is_plain.then(|| format!("${{header.{}}}", name.to_ascii_lowercase()))
}
