//! The cookies of an HTTP/2 request, which a client may send in as many fields as it likes.

use http::{HeaderValue, Version, header};

use super::client::Client;

/// RFC 9113, 8.2.3: joins them into one field, as everybody behind this expects it: filters, matching, and origins of
/// HTTP/1, which may look at the first only.
pub(super) fn join(client: &mut impl Client) {
    let head = client.request();
    let mut fields = head.headers.get_all(header::COOKIE).iter();
    if head.version != Version::HTTP_2 || fields.nth(1).is_none() {
        return;
    }
    let fields = head.headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    let joined = fields.collect::<Vec<_>>().join(&b"; "[..]);
    let Ok(joined) = HeaderValue::from_bytes(&joined) else { return };
    let named = client.request_mut().insert_header(header::COOKIE, joined);
    named.expect("a name that is known fits");
}
