//! The response begins, or a part of its body arrives: is there time left for it?
//!
//! Pingora's own read timeout covers a silent origin; a route's timeout also ends one that dribbles.

use pingora_error::{ErrorSource, Result};

use super::cause::Cause;
use super::context::{RequestContext, Upgrade};

/// Fails once the route's timeout has passed. Tunnels are exempt.
pub(super) fn check_deadline(ctx: &mut RequestContext) -> Result<()> {
    let over = ctx.time_left().is_some_and(|left| left.is_zero());
    if !over || ctx.attempt.upgrade != Upgrade::No {
        return Ok(());
    }
    ctx.cause = Some(Cause::Timeout);
    let mut error = Cause::Timeout.into_error();
    error.esource = ErrorSource::Upstream;
    Err(error)
}
