//! Which trailers go further than this gateway (RFC 9110, 6.5.1).
//!
//! A recipient may take a trailer for a field of the head, so what a client must not say there, it
//! must not say behind the body either; nor what the head has said already, which a filter may
//! vouch for.

use http::{HeaderMap, HeaderName, header};

use super::fields;
use crate::config::HeaderNames;

/// What frames a message, says whom it is for, how it is handled or who asks, and what its body is.
const REFUSED: [HeaderName; 33] = [
    header::AGE,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::DATE,
    header::EXPECT,
    header::EXPIRES,
    header::HOST,
    HeaderName::from_static("keep-alive"),
    header::LOCATION,
    header::MAX_FORWARDS,
    header::PRAGMA,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::RANGE,
    header::RETRY_AFTER,
    header::SET_COOKIE,
    header::TE,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::VARY,
    header::WARNING,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("x-request-id"),
];

/// Removes what an origin is not told behind the body of a request with `head`.
pub(super) fn admit_request(trailers: &mut HeaderMap, head: &HeaderMap, names: HeaderNames) {
    retain(trailers, |name| {
        !REFUSED.contains(name)
            && !head.contains_key(name)
            && fields::is_client_field(name, head, names)
    });
}

/// Removes what a client is not told behind the body of a response.
pub(super) fn admit_response(trailers: &mut HeaderMap) {
    retain(trailers, |name| !REFUSED.contains(name));
}

fn retain(trailers: &mut HeaderMap, keep: impl Fn(&HeaderName) -> bool) {
    let removed: Vec<_> = trailers.keys().filter(|name| !keep(name)).cloned().collect();
    for name in removed {
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn map(names: &[&'static str]) -> HeaderMap {
        let value = HeaderValue::from_static("1");
        names.iter().map(|name| (HeaderName::from_static(name), value.clone())).collect()
    }

    fn admitted(name: &'static str, names: HeaderNames) -> bool {
        let mut trailers = map(&[name, "x-checksum"]);
        admit_request(&mut trailers, &map(&["x-user"]), names);
        assert!(trailers.contains_key("x-checksum"));
        trailers.contains_key(name)
    }

    #[test]
    fn what_a_client_must_not_say_in_a_head_it_does_not_say_behind_a_body() {
        for name in [
            "authorization",
            "content-type",
            "x-user",
            "x-forwarded-for",
            "x-sallyport-zone",
            "x-request-id",
            "client-cert",
        ] {
            assert!(!admitted(name, HeaderNames::Any), "{name}");
        }
        assert!(admitted("x_odd", HeaderNames::Any));
        assert!(!admitted("x_user", HeaderNames::Any));
        assert!(!admitted("x_odd", HeaderNames::Strict));
    }

    #[test]
    fn a_response_ends_with_what_says_something_of_its_body_only() {
        let mut trailers = map(&["grpc-status", "set-cookie", "x-t", "content-length"]);
        admit_response(&mut trailers);
        assert_eq!(trailers, map(&["grpc-status", "x-t"]));
    }
}
