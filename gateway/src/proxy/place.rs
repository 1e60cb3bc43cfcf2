//! Where a request belongs, by its head and what is known of its client: the same for a request
//! that came and for one that `explain` is asked about.

use std::net::IpAddr;

use http::{Method, Version, header};
use pingora_http::RequestHeader;
use sallyport_route::{Hints, Request, Scheme};

use super::cause::Cause;
use super::context::RequestContext;
use super::target::{self, Target};
use super::{conformance, fields, forwarded, redirect};
use crate::config::Redirect;
use crate::decide;
use crate::live::Pinned;

/// Checks the head, removes from it what goes no further, and settles the route in `ctx`; the
/// target is in normal form afterwards. Who asks must be settled before. Returns whether the client
/// wants its connection closed.
///
/// # Errors
/// The request is refused.
pub(super) fn find(head: &mut RequestHeader, ctx: &mut RequestContext) -> Result<bool, Cause> {
    conformance::check(head, ctx.limits())?;
    let names = ctx.limits().header_names;
    let admitted = fields::admit(head, names, ctx.origin.peer_trusted)?;
    ctx.attempt.upgrade = admitted.upgrade;
    name_host(head, ctx)?;
    if asks_for_the_server(head) {
        return Ok(admitted.closes);
    }
    let target = Target::of(head)?;
    ctx.is_redirected = decide::redirects_all(ctx.listener(), ctx.scheme(), &target.path);
    let request = Request {
        method: &head.method,
        path: &target.path,
        query: target.query.as_deref().unwrap_or(""),
        headers: &head.headers,
        scheme: ctx.scheme(),
        hints: ctx.all_hints(),
    };
    let place = if ctx.is_redirected {
        None
    } else {
        decide::route(ctx.snapshot(), ctx.listener_index(), &target.host, &request)
    };
    ctx.set_route(place);
    if place.is_none() {
        ctx.routeless_host = ctx.snapshot().host(ctx.listener_index(), &target.host);
    }
    if let Some(rewritten) = target.rewritten() {
        target::set(head, &rewritten)?;
    }
    Ok(admitted.closes)
}

/// RFC 9110, 9.3.7: about the server and none of its resources, so that no route has a say in it.
pub(super) fn asks_for_the_server(head: &RequestHeader) -> bool {
    head.method == Method::OPTIONS && head.uri.path() == "*"
}

/// A client of HTTP/1.0 may name no host. The one it means is then the address it has connected to
/// (RFC 9112,
/// 3.3), and what is sent on as HTTP/1.1 has to name one (3.2).
fn name_host(head: &mut RequestHeader, ctx: &RequestContext) -> Result<(), Cause> {
    if head.version >= Version::HTTP_11 || head.headers.contains_key(header::HOST) {
        return Ok(());
    }
    let Some(local) = local_authority(ctx) else { return Ok(()) };
    head.insert_header(header::HOST, local).map_err(|_| Cause::BadRequest("Host is missing"))
}

/// The address that the client has connected to, as an authority.
pub(super) fn local_authority(ctx: &RequestContext) -> Option<String> {
    ctx.connection().map(|connection| connection.local.to_string())
}

/// A request that nobody has sent.
#[derive(Debug)]
pub(crate) struct Hypothetical {
    head: RequestHeader,
    ctx: RequestContext,
}

/// Who sends it, and by what.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    /// The listener's index.
    pub(crate) listener: usize,
    /// The address at the other end of the connection. Without one, it is taken to be a trusted
    /// proxy where the listener has any.
    pub(crate) peer: Option<IpAddr>,
    /// What the classifier and TLS are taken to say of the client.
    pub(crate) hints: Option<Hints>,
}

impl Hypothetical {
    /// The request with this head, by `snapshot`.
    pub(crate) fn new(snapshot: Pinned, head: RequestHeader, sender: Sender) -> Self {
        let mut ctx = RequestContext::new(snapshot);
        ctx.listen(sender.listener);
        ctx.tls_hints = sender.hints.map(Box::new);
        let listener = ctx.listener();
        let trusted = &listener.trusted_proxies;
        let by_tls = if listener.tls.is_some() { Scheme::Https } else { Scheme::Http };
        let mut origin = match sender.peer {
            Some(peer) => forwarded::Origin::of(Some(peer), &head.headers, trusted),
            None if trusted.is_empty() => forwarded::Origin::default(),
            None => forwarded::Origin {
                peer_trusted: true,
                scheme: forwarded::scheme(&head.headers),
                ..forwarded::Origin::default()
            },
        };
        origin.scheme.get_or_insert(by_tls);
        ctx.origin = origin;
        Self { head, ctx }
    }

    /// Finds where it belongs.
    ///
    /// # Errors
    /// Why it is refused, as its client would read it, and with which status.
    pub(crate) fn find(&mut self) -> Result<(), (u16, &'static str)> {
        find(&mut self.head, &mut self.ctx)
            .map(drop)
            .map_err(|cause| (cause.status().map_or(0, |status| status.as_u16()), cause.text()))
    }

    /// The values of the variables that `redirect` names.
    pub(crate) fn variables<'r>(&self, redirect: &'r Redirect) -> Vec<(&'r str, String)> {
        redirect::variables(redirect, &self.head, &self.ctx)
    }

    /// Its head, as far as it goes on.
    pub(crate) fn head(&self) -> &RequestHeader {
        &self.head
    }

    /// The virtual host and the route that take it.
    pub(crate) fn place(&self) -> Option<(usize, usize)> {
        self.ctx.place()
    }

    /// The virtual host that it is for, also where no route takes it.
    pub(crate) fn host(&self) -> Option<usize> {
        self.ctx.host_index()
    }

    /// Whether the listener sends it elsewhere, whatever its routes are.
    pub(crate) fn is_redirected(&self) -> bool {
        self.ctx.is_redirected
    }

    /// The scheme that its client used.
    pub(crate) fn scheme(&self) -> Scheme {
        self.ctx.scheme()
    }

    /// The client's address, by what trusted proxies say.
    pub(crate) fn client(&self) -> Option<IpAddr> {
        self.ctx.origin.client
    }

    /// What is known of the client.
    pub(crate) fn hints(&self) -> Option<&Hints> {
        self.ctx.all_hints()
    }
}
