//! A connection to the endpoint is there: how often one could be reused is worth publishing, since
//! Pingora silently stops reusing when peers differ in anything.

use super::context::RequestContext;

/// Counts the connection.
pub(super) fn run(reused: bool, ctx: &RequestContext) {
    if let Some(endpoint) = ctx.endpoint() {
        endpoint.connected(reused);
    }
}
