//! A connection could not be made: nothing was sent yet, so any request may go to another endpoint.

use pingora_error::{Error, ErrorType};

use super::cause::Cause;
use super::client::Client;
use super::context::RequestContext;
use super::error_while_proxy::resend;
use crate::upstream::Failure;

/// Remembers the failure and says whether to try again.
pub(super) fn run(
    client: &impl Client,
    ctx: &mut RequestContext,
    mut error: Box<Error>,
) -> Box<Error> {
    error.as_up();
    let cause = Cause::of_connecting(&error);
    ctx.cause = Some(cause);
    let failure = match cause {
        Cause::Resources => Failure::Resources,
        _ if *error.etype() == ErrorType::ConnectTimedout => Failure::ConnectTimeout,
        _ => Failure::Connect,
    };
    let retry = ctx.retries(failure, resend(client, ctx), None);
    ctx.attempt_failed(failure);
    error.set_retry(retry);
    error
}
