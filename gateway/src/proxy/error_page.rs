//! `error_pages`: a page in place of the one-line text of an error that is the gateway's own.
//!
//! Answers of origins, of `respond:` and of filters that bring a text of their own stay as they are.

use http::header;
use sallyport_plugin::Answer;

use super::context::RequestContext;

/// Replaces the body and media type of `answer` by the page of its status: that of the request's
/// virtual host, or else the one for all.
pub(super) fn apply(answer: &mut Answer, ctx: &RequestContext) {
    if !answer.is_plain_error {
        return;
    }
    let of_host = ctx.host().and_then(|host| host.error_pages.page(answer.status));
    let page = of_host.or_else(|| ctx.snapshot().error_pages.page(answer.status));
    let Some(page) = page else { return };
    answer.body = page.body.clone();
    for (name, value) in &mut answer.headers {
        if *name == header::CONTENT_TYPE {
            *value = page.content_type.clone();
        }
    }
}
