//! Message heads lent out as plain maps.
//!
//! Pingora keeps a second map with each field's name as it came, and every field that is added pays
//! for both: heads that are changed go on with names in lower case instead.
//!
//! Something has to stand in for a head while it is lent. To make one costs as much as the smallest
//! filter, so each thread keeps those that came back.

use std::cell::RefCell;

use http::{Request, Response, request, response};
use pingora_http::{RequestHeader, ResponseHeader};

/// Stand-ins that a thread keeps: more than it ever lends at a time is a leak.
const KEPT_MAX: usize = 64;

thread_local! {
    static REQUESTS: RefCell<Vec<RequestHeader>> = const { RefCell::new(Vec::new()) };
    static RESPONSES: RefCell<Vec<ResponseHeader>> = const { RefCell::new(Vec::new()) };
}

fn keep<T>(kept: &RefCell<Vec<T>>, stand_in: T) {
    let mut kept = kept.borrow_mut();
    if kept.len() < KEPT_MAX {
        kept.push(stand_in);
    }
}

/// Takes the request out; [`give_back`] must follow.
pub(super) fn take(head: &mut RequestHeader) -> request::Parts {
    let stand_in = REQUESTS.with(|kept| kept.borrow_mut().pop());
    let stand_in = stand_in.unwrap_or_else(|| Request::new(()).into_parts().0.into());
    std::mem::replace(head, stand_in).into()
}

/// Puts the request back.
pub(super) fn give_back(head: &mut RequestHeader, parts: request::Parts) {
    let stand_in = std::mem::replace(head, parts.into());
    REQUESTS.with(|kept| keep(kept, stand_in));
}

/// Takes the response out; [`give_back_response`] must follow.
pub(super) fn take_response(head: &mut ResponseHeader) -> response::Parts {
    let stand_in = RESPONSES.with(|kept| kept.borrow_mut().pop());
    let stand_in = stand_in.unwrap_or_else(|| Response::new(()).into_parts().0.into());
    std::mem::replace(head, stand_in).into()
}

/// Puts the response back.
pub(super) fn give_back_response(head: &mut ResponseHeader, parts: response::Parts) {
    let stand_in = std::mem::replace(head, parts.into());
    RESPONSES.with(|kept| keep(kept, stand_in));
}
