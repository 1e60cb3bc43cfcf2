//! What a redirect takes of the request that it answers.

use pingora_http::RequestHeader;
use sallyport_plugin::Marks;
use sallyport_plugin::template::{Scope, Told, Variable};
use sallyport_route::Replacement;

use super::context::RequestContext;
use super::filters;
use crate::config::{Redirect, RedirectPath};

/// The values of the variables that `redirect` names; what a request does not have is left out.
pub(super) fn variables<'r>(
    redirect: &'r Redirect,
    head: &RequestHeader,
    ctx: &RequestContext,
) -> Vec<(&'r str, String)> {
    let path = match &redirect.path {
        RedirectPath::Full(path) => Some(path),
        RedirectPath::Keep | RedirectPath::Prefix { .. } => None,
    };
    let texts = redirect.host.iter().chain(path);
    // Constants are most, and groups the rest of nearly all.
    let mut named = texts.flat_map(Replacement::groups).peekable();
    if named.peek().is_none() {
        return Vec::new();
    }
    let about = filters::about(ctx);
    let untouched = Marks::default();
    let marks = ctx.filters.as_ref().map_or(&untouched, |run| &run.marks);
    let told = Told { request: head, about: &about, marks };
    let value = |name: &'r str| {
        let variable = Variable::parse(name, Scope::Request).ok()?;
        Some((name, variable.of(told, None)?.into_owned()))
    };
    named.filter_map(value).collect()
}
