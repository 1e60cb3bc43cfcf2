//! The last phase, reached however the request ended: its counters.

use pingora_proxy::Session;

use super::context::RequestContext;

/// Counts the request under its route and its endpoint.
pub(super) fn run(session: &Session, ctx: &mut RequestContext) {
    let status = session.response_written().map_or(0, |response| response.status.as_u16());
    ctx.finish(status);
}
