//! Which header fields a configuration may name, and for what: one place for every filter.
//!
//! Three uses differ. Any field may be read. Fields that frame a message, belong to one connection or
//! are the gateway's hints may not be written. And a field that says who a request is from, which
//! a filter vouches for, may be none that means something else to the origin already.

use http::HeaderName;
use sallyport_config::{Node, Sink};

/// Fields that frame a message or belong to one connection: RFC 9110, 7.6.1, and RFC 9112, 6.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields that hold credentials, or that the gateway writes about a request itself: an origin would
/// take a user's name in them for something else.
const TAKEN: [&str; 6] =
    ["authorization", "cookie", "expect", "forwarded", "proxy-authorization", "via"];

/// The field called `name`, which is only read.
pub(crate) fn readable(name: &str, node: Node<'_>, sink: &mut Sink) -> Option<HeaderName> {
    HeaderName::from_bytes(name.as_bytes()).ok().or_else(|| {
        let what = format!("{name:?} is no field name");
        node.refuse(sink, what, "use letters, digits and -, as in x-user")
    })
}

/// The field called `name`, unless no filter may write it.
pub(crate) fn writable(name: &str, node: Node<'_>, sink: &mut Sink) -> Option<HeaderName> {
    let parsed = readable(name, node, sink)?;
    if !may_be_written(&parsed) {
        let fix = "leave it to the gateway; `rewrite` changes the host";
        return node.refuse(sink, format!("{name:?} may not be changed"), fix);
    }
    Some(parsed)
}

/// Whether a filter may write a field of this name.
pub(crate) fn may_be_written(name: &HeaderName) -> bool {
    !FRAMING.contains(&name.as_str()) && !name.as_str().starts_with("x-sallyport-")
}

/// The field called `name`, if a filter may say in it who a request is from, or which request it is.
pub(crate) fn identity(name: &str, node: Node<'_>, sink: &mut Sink) -> Option<HeaderName> {
    let parsed = writable(name, node, sink)?;
    let text = parsed.as_str();
    if TAKEN.contains(&text) || text.starts_with("x-forwarded-") {
        let fix = "use a field of its own, as in x-user";
        return node.refuse(sink, format!("{name:?} means something else to origins"), fix);
    }
    Some(parsed)
}
