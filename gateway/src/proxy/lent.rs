//! Message heads lent out as plain maps.
//!
//! Pingora keeps a second map with each field's name as it came, and every field that is added pays
//! for both: heads that are changed go on with names in lower case instead.

use std::sync::LazyLock;

use http::{Request, Response, request, response};
use pingora_http::{RequestHeader, ResponseHeader};

/// Stand in for heads that are lent out; building one costs more than a copy.
static REQUEST: LazyLock<RequestHeader> = LazyLock::new(|| Request::new(()).into_parts().0.into());
static RESPONSE: LazyLock<ResponseHeader> =
    LazyLock::new(|| Response::new(()).into_parts().0.into());

/// Takes the request out; it must be put back.
pub(super) fn take(head: &mut RequestHeader) -> request::Parts {
    std::mem::replace(head, RequestHeader::clone(&REQUEST)).into()
}

/// Takes the response out; it must be put back.
pub(super) fn take_response(head: &mut ResponseHeader) -> response::Parts {
    std::mem::replace(head, ResponseHeader::clone(&RESPONSE)).into()
}
