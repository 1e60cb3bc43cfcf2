//! Which fields of a request go further than this gateway, settled before anything reads them.
//!
//! Filters, routes and hints vouch for fields by writing them, so what a client could use to imitate or remove
//! such a field ends here: names that an origin may take for another's, the forwarding fields of strangers,
//! our own, and whatever the client names in `Connection`. Afterwards no `Connection` of the client's is left
//! by which Pingora would remove fields when the request is sent.

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use pingora_http::RequestHeader;

use super::cause::Cause;
use super::context::Upgrade;
use super::forwarded;
use crate::config::HeaderNames;

/// Fields of this prefix are the gateway's own.
const PREFIX: &str = "x-sallyport-";

/// Fields that tell of a client's certificate (RFC 9440, 2.4): whoever wrote them is not believed.
const CLIENT_CERTIFICATE: [&str; 2] = ["client-cert", "client-cert-chain"];

/// Options of `Connection` in one request. Browsers send two; each is a name to look up and remove.
const OPTIONS_MAX: usize = 32;

/// What a head says of its connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admitted {
    /// Which protocol the client may change to.
    pub(super) upgrade: Upgrade,
    /// Whether the client wants it closed afterwards.
    pub(super) closes: bool,
}

/// Removes what does not go further. `trusted` is whether the peer's forwarding fields are believed.
///
/// # Errors
/// `Connection` is malformed, or names a field that is not the client's to remove.
pub(super) fn admit(
    head: &mut RequestHeader,
    names: HeaderNames,
    trusted: bool,
) -> Result<Admitted, Cause> {
    let mut on_connection = false;
    let mut removed: Vec<HeaderName> = Vec::new();
    // One pass over the names, and nothing more for nearly every request.
    for name in head.headers.keys() {
        match kind(name.as_str()) {
            Kind::Plain => on_connection |= *name == header::CONNECTION || *name == header::UPGRADE,
            Kind::Forwarding if trusted => {}
            Kind::Odd if names == HeaderNames::Any && !imitates_ours(name.as_str()) => {}
            Kind::Forwarding | Kind::Ours | Kind::Odd => removed.push(name.clone()),
        }
    }
    let hop = if on_connection { Some(Hop::of(head)?) } else { None };
    let Some(hop) = hop else {
        remove(head, &removed);
        return Ok(Admitted { upgrade: Upgrade::No, closes: false });
    };
    removed.extend(hop.nominated);
    removed.push(header::CONNECTION);
    removed.push(header::UPGRADE);
    remove(head, &removed);
    let closes = hop.close;
    let Some((upgrade, protocols)) = hop.upgrade else {
        return Ok(Admitted { upgrade: Upgrade::No, closes });
    };
    let written = head
        .insert_header(header::UPGRADE, protocols)
        .and_then(|()| head.insert_header(header::CONNECTION, HeaderValue::from_static("upgrade")));
    written.map_err(|_| Cause::Internal)?;
    Ok(Admitted { upgrade, closes })
}

fn remove(head: &mut RequestHeader, names: &[HeaderName]) {
    for name in names {
        head.remove_header(name);
    }
}

/// Removes each field whose name an origin may take for that of another one that is there: with
/// `header_names: any`, what a filter or the gateway wrote stays the only one of its kind.
pub(super) fn remove_imitations(headers: &mut HeaderMap) {
    let odd = headers.keys().filter(|name| matches!(kind(name.as_str()), Kind::Odd));
    let imitations: Vec<HeaderName> =
        odd.filter(|name| headers.contains_key(imitated(name.as_str()))).cloned().collect();
    for name in imitations {
        headers.remove(name);
    }
}

/// Whether a client may say `name` behind the body of a request with `head`.
pub(super) fn is_client_field(name: &HeaderName, head: &HeaderMap, names: HeaderNames) -> bool {
    match kind(name.as_str()) {
        Kind::Plain => true,
        Kind::Forwarding | Kind::Ours => false,
        Kind::Odd => {
            let name = name.as_str();
            let imitates = imitates_ours(name) || head.contains_key(imitated(name));
            names == HeaderNames::Any && !imitates
        }
    }
}

/// What a name says of its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    /// Tells where a request comes from.
    Forwarding,
    /// Only the gateway writes it.
    Ours,
    /// Has other characters than letters, digits and `-`.
    Odd,
}

fn kind(name: &str) -> Kind {
    let odd = name.bytes().fold(false, |odd, byte| {
        odd | !(byte.is_ascii_lowercase() | byte.is_ascii_digit() | (byte == b'-'))
    });
    if odd {
        return Kind::Odd;
    }
    match name.as_bytes() {
        [b'x', b'-', ..] if name.starts_with(PREFIX) => Kind::Ours,
        [b'c', b'l', ..] if CLIENT_CERTIFICATE.contains(&name) => Kind::Ours,
        [b'x', b'-', ..] | [b'f', ..] if forwarded::is_one(name) => Kind::Forwarding,
        _ => Kind::Plain,
    }
}

/// The name that CGI and WSGI, which write `HTTP_X_USER` for both, take this one for.
fn imitated(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect()
}

fn imitates_ours(name: &str) -> bool {
    let imitated = imitated(name);
    imitated == "x-request-id" || kind(&imitated) != Kind::Plain
}

/// What is about this connection only (RFC 9110, 7.6.1 and 7.8).
#[derive(Debug, Default)]
struct Hop {
    close: bool,
    nominated: Vec<HeaderName>,
    /// The protocols that the client may change to, as a field's value.
    upgrade: Option<(Upgrade, HeaderValue)>,
}

impl Hop {
    fn of(head: &RequestHeader) -> Result<Self, Cause> {
        let mut hop = Self::default();
        let mut upgrades = false;
        let options = members(&head.headers, &header::CONNECTION);
        for (index, option) in options.enumerate() {
            if index == OPTIONS_MAX {
                return Err(Cause::BadRequest("Connection has too many options"));
            }
            let malformed = Cause::BadRequest("an option of Connection is malformed");
            match HeaderName::from_bytes(option).map_err(|_| malformed)? {
                name if name == "close" => hop.close = true,
                name if name == "keep-alive" => {}
                name if name == header::UPGRADE => upgrades = true,
                name if is_protected(&name) => {
                    return Err(Cause::BadRequest("Connection names a field that has to stay"));
                }
                name => hop.nominated.push(name),
            }
        }
        if upgrades && head.version == Version::HTTP_11 {
            hop.upgrade = protocols(&head.headers);
        }
        Ok(hop)
    }
}

/// The members of the list that the fields called `name` make, over all their lines (RFC 9110,
/// 5.6.1).
pub(crate) fn members<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'h [u8]> + use<'h> {
    let lines = headers.get_all(name).iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// Writes a field to `out` as a line of HTTP/1.
pub(crate) fn write_field(name: &[u8], value: &HeaderValue, out: &mut BytesMut) {
    for part in [name, b": ", value.as_bytes(), b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// What frames a message, says whom it is for, or where it comes from. A proxy that we trust may pass on its
/// client's `Connection`; that client must not remove what the proxy says of it.
fn is_protected(name: &HeaderName) -> bool {
    matches!(*name, header::HOST | header::CONTENT_LENGTH | header::TRANSFER_ENCODING)
        || forwarded::is_one(name.as_str())
}

/// The protocols of `Upgrade` that are passed on. HTTP itself is not: RFC 9113 dropped `h2c`, and an
/// origin that changes to it would be reached past every route.
fn protocols(headers: &HeaderMap) -> Option<(Upgrade, HeaderValue)> {
    let mut kept = members(headers, &header::UPGRADE).filter(|protocol| {
        let name = protocol.split(|byte| *byte == b'/').next().unwrap_or_default();
        !is_http(name)
    });
    let first = kept.next()?;
    let mut joined = first.to_vec();
    let mut upgrade = Upgrade::Other;
    if first.eq_ignore_ascii_case(b"websocket") {
        upgrade = Upgrade::WebSocket;
    }
    for protocol in kept {
        upgrade = Upgrade::Other;
        joined.extend_from_slice(b", ");
        joined.extend_from_slice(protocol);
    }
    Some((upgrade, HeaderValue::from_bytes(&joined).ok()?))
}

/// `HTTP`, `h2`, `h2c`, `h3` and their drafts.
fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"http")
        || matches!(name, [b'h' | b'H', b'2' | b'3', rest @ ..]
            if rest.is_empty() || rest.eq_ignore_ascii_case(b"c") || matches!(rest, [b'-', ..] | [b'c' | b'C', b'-', ..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&'static str, &str)]) -> RequestHeader {
        let mut head = RequestHeader::build("GET", b"/", None).unwrap();
        head.set_version(Version::HTTP_11);
        for (name, value) in fields {
            head.append_header(*name, *value).unwrap();
        }
        head
    }

    #[test]
    fn names_are_told_apart() {
        for (name, expected) in [
            ("accept", Kind::Plain),
            ("x-user", Kind::Plain),
            ("x_user", Kind::Odd),
            ("x.user", Kind::Odd),
            ("x-sallyport-zone", Kind::Ours),
            ("x-forwarded-prefix", Kind::Forwarding),
            ("forwarded", Kind::Forwarding),
            ("from", Kind::Plain),
        ] {
            assert_eq!(kind(name), expected, "{name}");
        }
        assert!(imitates_ours("x_forwarded_for") && imitates_ours("x-sallyport_zone"));
        assert!(!imitates_ours("x_user"));
    }

    #[test]
    fn rfc9110_7_6_1_all_lines_and_members_of_connection_count() {
        let hop = |values: &[&'static str]| {
            let fields: Vec<_> = values.iter().map(|value| ("connection", *value)).collect();
            Hop::of(&head(&fields))
        };
        let found = hop(&["Keep-Alive, X-USER", " ,x-b,, CLOSE"]).unwrap();
        assert!(found.close);
        assert_eq!(found.nominated, ["x-user", "x-b"]);
        for refused in ["host", "Content-Length", "x-forwarded-proto", "a b", "\"x\""] {
            assert!(hop(&["close", refused]).is_err(), "{refused}");
        }
    }

    #[test]
    fn rfc9110_7_8_upgrade_is_what_connection_names_and_never_http() {
        for (connection, upgrade, expected) in [
            ("upgrade", &["websocket"][..], Some((Upgrade::WebSocket, "websocket"))),
            ("Upgrade, x", &["foo", "h2c"], Some((Upgrade::Other, "foo"))),
            ("upgrade", &["h2c, foo/1", "WebSocket"], Some((Upgrade::Other, "foo/1, WebSocket"))),
            ("upgrade", &["h2"], None),
            ("upgrade", &["HTTP/2.0"], None),
            ("upgrade", &["h2c-14, H3, http/1.1"], None),
            ("upgrade", &["h2x"], Some((Upgrade::Other, "h2x"))),
            ("x", &["foo"], None),
        ] {
            let mut fields = vec![("connection", connection)];
            fields.extend(upgrade.iter().map(|value| ("upgrade", *value)));
            let found = Hop::of(&head(&fields)).unwrap().upgrade;
            let found = found.as_ref().map(|(upgrade, value)| (*upgrade, value.to_str().unwrap()));
            assert_eq!(found, expected, "{connection}: {upgrade:?}");
        }
    }

    #[test]
    fn an_imitation_goes_where_what_it_imitates_is_there() {
        let mut headers =
            head(&[("x-user", "ann"), ("x_user", "root"), ("x_other", "1")]).headers.clone();
        remove_imitations(&mut headers);
        assert!(!headers.contains_key("x_user"));
        assert!(headers.contains_key("x-user") && headers.contains_key("x_other"));
    }
}
