//! `sticky:` of an upstream and of a split.

use sallyport_config::{Node, Sink};
use sallyport_plugin::Reader;

use super::scalar;
use crate::config::sticky::{Secret, Sticky};

/// Where a client may choose its variant itself, it need not be kept from it: a cookie of a split is signed with this
/// unless a secret is named.
const NO_SECRET: &[u8] = b"sallyport: a split without a secret";

/// Reads the cookie of an upstream, which names an endpoint: that is for this gateway to say.
pub(super) fn of_upstream(
    node: Node<'_>,
    files: &mut Reader<'_>,
    sink: &mut Sink,
) -> Option<Sticky> {
    read(node, files, true, sink)
}

/// Reads the cookie of a split.
pub(super) fn of_split(node: Node<'_>, files: &mut Reader<'_>, sink: &mut Sink) -> Option<Sticky> {
    read(node, files, false, sink)
}

fn read(
    node: Node<'_>,
    files: &mut Reader<'_>,
    needs_secret: bool,
    sink: &mut Sink,
) -> Option<Sticky> {
    node.mapping(sink, |fields, sink| {
        let cookie = fields.required(sink, "cookie", cookie_name);
        let ttl = fields.optional(sink, "ttl", scalar::duration);
        let mut file = |node: Node<'_>, sink: &mut Sink| secret(node, files, sink);
        let secret = match needs_secret {
            true => fields.required(sink, "secret_file", &mut file),
            false if fields.has("secret_file") => fields.optional(sink, "secret_file", &mut file),
            false => Some(Secret::new(NO_SECRET)),
        };
        Some(Sticky { cookie: cookie?, ttl, secret: secret? })
    })
}

/// RFC 6265, 4.1.1: a token.
fn cookie_name(node: Node<'_>, sink: &mut Sink) -> Option<Box<str>> {
    node.parsed(sink, "write letters, digits, `-` and `_`, such as SALLYPORT", |text| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        match !text.is_empty() && text.len() <= 128 && text.bytes().all(fits) {
            true => Ok(Box::from(text)),
            false => Err("is no name of a cookie"),
        }
    })
}

fn secret(node: Node<'_>, files: &mut Reader<'_>, sink: &mut Sink) -> Option<Secret> {
    let (path, bytes) = files.file(node, sink)?;
    let bytes = bytes.trim_ascii();
    if bytes.len() < Secret::BYTES_MIN {
        let what = format!("{} has {} bytes, too few for a secret", path.display(), bytes.len());
        return node.refuse(sink, what, "make one: `openssl rand -base64 32 > FILE`");
    }
    Some(Secret::new(bytes))
}
