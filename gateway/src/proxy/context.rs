//! What travels with a request from phase to phase.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use sallyport_plugin::{Answer, Chain, Run};
use sallyport_route::{Domain, Hints, PathRegex, Scheme};

use crate::classifier::Known;
use crate::config::{Action, Forward, Limits, Listener, Protocol};
use crate::connection::Connection;
use crate::live::{Live, Pinned};
use crate::proxy::cause::Cause;
use crate::proxy::forwarded::Origin;
use crate::proxy::grpc::{self, Grpc};
use crate::proxy::hedge::Hedge;
use crate::proxy::mirror::Copied;
use crate::proxy::pace::Pace;
use crate::proxy::trace::Trace;
use crate::shaping::Share;
use crate::snapshot::{Host, Route, Snapshot};
use crate::trace::context::Sample;
use crate::tunnel::{Relayed, Tunnel};
use crate::upstream::{
    Admission, Attempts, Endpoint, Failure, Resend, Tenant, Time, Token, Upstream,
};

/// A request's own state. It holds the snapshot it began with until it ends, and gives back what it
/// counted even if the request's task is dropped half-way.
#[derive(Debug)]
pub struct RequestContext {
    snapshot: Pinned,
    /// What it came by; known from the first phase on.
    connection: Option<Arc<Connection>>,
    /// The index of the connection's listener in `snapshot`.
    listener: usize,
    started: Instant,
    route: Option<(usize, usize)>,
    /// The virtual host that was asked for, where none of its routes matched.
    pub(super) routeless_host: Option<usize>,
    /// Whether the route's active count includes this request.
    counted: bool,
    /// Whether the origin has changed protocols: what passes since is no body.
    pub(super) tunnelled: bool,
    /// The host that the client asked for, kept before filters could change it.
    pub(super) asked_host: Option<HeaderValue>,
    /// What the classifier says of the connection.
    pub(super) known: Option<Arc<Known>>,
    /// The same with what TLS says of the client, where that says anything.
    pub(super) tls_hints: Option<Box<Hints>>,
    /// Whether the listener sends the request elsewhere, whatever its routes are.
    pub(super) is_redirected: bool,
    /// Where the request comes from.
    pub(super) origin: Origin,
    /// What failed, if something did.
    pub(super) cause: Option<Cause>,
    pub(super) attempt: Attempt,
    /// Body bytes received so far, in this attempt.
    pub(super) body_bytes: u64,
    /// What the request's filters keep.
    pub(super) filters: Option<Box<Run>>,
    /// What a filter answers in place of the response that was under way.
    pub(super) answer: Option<Box<Answer>>,
    /// Whether it has no body; `None` until filters ask.
    pub(super) bodiless: Option<bool>,
    /// A second attempt beside the one under way.
    pub(super) hedge: Option<Hedge>,
    /// A copy of the request, until it is sent.
    pub(super) copied: Option<Box<Copied>>,
    /// Whether it is settled that the request is copied, or is not.
    pub(super) mirrored: bool,
    /// A body that was read and filtered before its head went upstream.
    pub(super) held_body: Option<Bytes>,
    /// How the request's body comes.
    pub(super) pace: Pace,
    /// What its bodies have of bandwidths, where anything bounds them.
    pub(super) shares: Box<[Share]>,
    /// What makes it gRPC, if it is.
    pub(super) grpc: Option<Grpc>,
    /// How an answer of gRPC goes to a client of gRPC-web, once it has come.
    pub(super) grpc_answer: Option<grpc::Web>,
    /// What of a body of gRPC-web waits for its rest, in this attempt.
    pub(super) grpc_decoder: grpc::Decoder,
    /// The tunnel that this attempt may become, where the request asks for one.
    pub(super) tunnel: Option<Arc<Tunnel>>,
    /// Which trace it belongs to, where there is tracing.
    pub(super) trace: Option<Trace>,
}

/// The choice of upstream and endpoint, over all attempts.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    /// Index of the upstream; the same for all attempts.
    pub(super) upstream: usize,
    /// Whether it is chosen yet.
    pub(super) aimed: bool,
    /// What was tried at its endpoints, and what is under way there.
    pub(super) tries: Attempts,
    pub(super) upgrade: Upgrade,
    /// Whether the connection that this attempt took from the pool was unfit for use.
    pub(super) stale: bool,
    /// Whether an exchange on a connection from the pool broke before.
    pub(super) reuse_failed: bool,
    /// Whether the origin's answer is not passed on, because the request is sent again.
    pub(super) answer_refused: bool,
    /// What to wait for before the next attempt.
    pub(super) wait: Option<Duration>,
    /// What it holds of an upstream with limits, from the first attempt to the end.
    pub(super) admission: Option<Admission>,
    /// What a cookie says of the upstream of a split that the client was at.
    pub(super) variant: Option<Token>,
    /// Whose turn it is at an upstream with a queue.
    pub(super) tenant: Tenant,
    /// What filters may ask of it.
    pub(super) visit: Visit,
}

/// The exchange with an endpoint as filters are told of it; noted only for requests that have some.
#[derive(Debug, Default)]
pub(super) struct Visit {
    /// This end of the connection.
    pub(super) local: Option<SocketAddr>,
    /// When the request's head went upstream.
    pub(super) asked: Option<Instant>,
    /// When the latest part of the response came.
    pub(super) answered: Option<Instant>,
}

/// Whether a request asks to change protocols.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Upgrade {
    #[default]
    No,
    WebSocket,
    /// A protocol that Pingora does not know; passed through with its handshake.
    Other,
}

impl RequestContext {
    /// The state of a request that arrives now.
    pub(super) fn new(snapshot: Pinned) -> Self {
        Self {
            snapshot,
            connection: None,
            listener: 0,
            started: Instant::now(),
            route: None,
            routeless_host: None,
            counted: false,
            tunnelled: false,
            asked_host: None,
            known: None,
            tls_hints: None,
            is_redirected: false,
            origin: Origin::default(),
            cause: None,
            attempt: Attempt::default(),
            body_bytes: 0,
            filters: None,
            answer: None,
            bodiless: None,
            hedge: None,
            copied: None,
            mirrored: false,
            held_body: None,
            pace: Pace::default(),
            shares: Box::default(),
            grpc: None,
            grpc_answer: None,
            grpc_decoder: grpc::Decoder::default(),
            tunnel: None,
            trace: None,
        }
    }

    /// Settles what the request came by. Returns whether its listener is still known.
    pub(super) fn arrive(&mut self, connection: Arc<Connection>, live: &Live) -> bool {
        let Some((snapshot, listener)) = connection.listener.pin(live) else { return false };
        self.snapshot = snapshot;
        self.listener = listener;
        self.connection = Some(connection);
        true
    }

    /// Settles the listener of a request that came by no connection.
    pub(super) fn listen(&mut self, listener: usize) {
        self.listener = listener;
    }

    /// What the request came by.
    pub(super) fn connection(&self) -> Option<&Connection> {
        self.connection.as_deref()
    }

    /// The address at the other end of the connection, as a verdict's source too: never one that a
    /// field of the request names.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.connection().map(|connection| connection.peer)
    }

    /// The name that the client asked for when TLS began, if it did.
    pub(super) fn server_name(&self) -> Option<&str> {
        self.connection()?.tls.as_ref()?.sni.as_deref()
    }

    /// The scheme that the client used, as far as the gateway can tell.
    pub(super) fn scheme(&self) -> Scheme {
        self.origin
            .scheme
            .unwrap_or_else(|| self.connection().map(Connection::scheme).unwrap_or_default())
    }

    /// The configuration that the request is served by.
    pub(crate) fn snapshot(&self) -> &crate::snapshot::Snapshot {
        &self.snapshot
    }

    /// What the classifier says of the client.
    pub(super) fn hints(&self) -> Option<&Hints> {
        self.known.as_deref().map(Known::hints)
    }

    /// All that is known of the client, for what may ask for any of it.
    pub(super) fn all_hints(&self) -> Option<&Hints> {
        self.tls_hints.as_deref().or_else(|| self.hints())
    }

    /// The time since the request's head was read.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// The filters of this request; before its route is settled, those of requests without one.
    pub(super) fn chain(&self) -> Option<&Chain> {
        self.snapshot.chain(self.listener, self.route)
    }

    /// The regex that the route matched the path with.
    pub(super) fn path_regex(&self) -> Option<&PathRegex> {
        let (host, route) = self.route?;
        self.snapshot.hosts[host].path_regex(route)
    }

    /// The domains of the virtual host; none where no route was found.
    pub(super) fn domains(&self) -> &[Domain] {
        self.route.map_or(&[], |(host, _)| &self.snapshot.hosts[host].domains)
    }

    /// The upstream's name, as soon as it is certain.
    pub(super) fn upstream_name(&self) -> Option<&str> {
        let index = match self.forward()?.targets.as_slice() {
            [only] => only.upstream,
            _ if self.attempt.aimed => self.attempt.upstream,
            _ => return None,
        };
        Some(&self.snapshot.upstreams[index].spec.name)
    }

    /// Whether a filter may change the length of the request's body.
    pub(super) fn request_body_changes(&self) -> bool {
        self.held_body.is_some()
            || self.filters.as_ref().is_some_and(|run| run.marks.request_body_changes)
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.snapshot.limits
    }

    /// The listener as it was configured when the request came.
    pub(super) fn listener(&self) -> &Listener {
        &self.snapshot.listeners[self.listener]
    }

    pub(super) fn listener_index(&self) -> usize {
        self.listener
    }

    /// Settles which route takes this request: `None` is no match.
    pub(super) fn set_route(&mut self, route: Option<(usize, usize)>) {
        self.route = route;
    }

    /// The indices of the virtual host and the route that take it.
    pub(super) fn place(&self) -> Option<(usize, usize)> {
        self.route
    }

    /// Counts this request in under its route. Only the first call counts.
    pub(super) fn enter(&mut self) {
        if !std::mem::replace(&mut self.counted, true) {
            self.stats().begin();
        }
    }

    pub(super) fn route(&self) -> Option<(&Host, &Route)> {
        let (host, route) = self.route?;
        let host = &self.snapshot.hosts[host];
        Some((host, &host.routes[route]))
    }

    /// The index of the virtual host that the request is for, also where none of its routes takes it.
    pub(super) fn host_index(&self) -> Option<usize> {
        self.route.map(|(host, _)| host).or(self.routeless_host)
    }

    /// The virtual host that the request is for, also where none of its routes takes it.
    pub(super) fn host(&self) -> Option<&Host> {
        self.snapshot.hosts.get(self.host_index()?)
    }

    /// The client's certificate as the value of `Client-Cert`, where the listener passes it on.
    pub(super) fn client_certificate(&self) -> Option<&str> {
        self.listener().tls.as_ref().filter(|tls| tls.forward_client_certificate)?;
        let client = self.connection()?.tls.as_ref()?.client.as_ref()?;
        Some(&client.field)
    }

    /// The forward action of the route, once there is one.
    pub(super) fn forward(&self) -> Option<&Forward> {
        forward(&self.snapshot, self.route)
    }

    /// Whether the client asks for another protocol.
    pub(crate) fn asks_for_upgrade(&self) -> bool {
        self.attempt.upgrade != Upgrade::No
    }

    /// The upstreams that may serve the request; none where the gateway answers it itself.
    pub(crate) fn upstreams(&self) -> impl Iterator<Item = &Upstream> {
        let targets = self.forward().into_iter().flat_map(|forward| &forward.targets);
        targets.map(|target| &*self.snapshot.upstreams[target.upstream])
    }

    /// Whether filters may have changed the request.
    pub(crate) fn is_filtered(&self) -> bool {
        self.chain().is_some()
    }

    pub(super) fn upstream(&self) -> &Upstream {
        &self.snapshot.upstreams[self.attempt.upstream]
    }

    pub(super) fn endpoint(&self) -> Option<&Endpoint> {
        self.attempt.tries.endpoint()
    }

    /// How a client of gRPC-web reads and writes what is gRPC at the origin. Origins of HTTP/1 speak it
    /// themselves or not at all.
    pub(super) fn grpc_web(&self) -> Option<grpc::Web> {
        let web = self.grpc?.web?;
        let is_aimed = self.attempt.aimed && self.forward().is_some();
        (is_aimed && self.upstream().spec.transport.protocol == Protocol::Http2).then_some(web)
    }

    /// How long the exchange may take: the route's timeout, or that of a gRPC client if it is shorter.
    pub(super) fn timeout(&self) -> Option<Duration> {
        let own = self.grpc.and_then(|grpc| grpc.timeout);
        [self.forward()?.timeout, own].into_iter().flatten().min()
    }

    /// Time left of [`timeout`](Self::timeout); `None` where there is none.
    pub(super) fn time_left(&self) -> Option<Duration> {
        Some(self.timeout()?.saturating_sub(self.started.elapsed()))
    }

    /// What the tunnel did that the request became, once it is over.
    pub(super) fn relayed(&self) -> Option<Relayed> {
        self.tunnel.as_ref()?.relayed()
    }

    /// How much of a body is best passed at once where it shares a bandwidth: what passes in 10 ms.
    pub(crate) fn piece_bytes(&self) -> Option<u64> {
        let rates = self.shares.iter().map(|share| share.rate.bytes_per_s);
        rates.min().map(|bytes_per_s| bytes_per_s / 100)
    }

    /// Begins an attempt at an endpoint, the one at `preferred` if it can be used, and counts it in.
    /// `None` if there is no endpoint to use.
    pub(super) fn begin_attempt(&mut self, preferred: Option<SocketAddr>) -> Option<()> {
        let upstream = &self.snapshot.upstreams[self.attempt.upstream];
        self.attempt.tries.begin(upstream, preferred)?;
        if let (Some(trace), Some(endpoint)) = (&mut self.trace, self.attempt.tries.endpoint()) {
            trace.attempt_began(&upstream.spec.name, &endpoint.address);
        }
        Some(())
    }

    /// The head of an answer came from the endpoint.
    pub(super) fn answered(&mut self, status: u16) {
        self.attempt.tries.answered(status);
        if let Some(trace) = &mut self.trace {
            trace.answered(status);
        }
    }

    /// Whether the request is sent again after this failure; if it is, the attempt after it is counted.
    /// [`attempt_failed`](Self::attempt_failed) must follow then.
    pub(super) fn retries(
        &mut self,
        failure: Failure,
        request: Resend<'_>,
        retry_after: Option<Duration>,
    ) -> bool {
        let time = Time { left: self.time_left(), retry_after };
        let Some(forward) = forward(&self.snapshot, self.route) else { return false };
        let wait = self.attempt.tries.retry(&forward.retry, failure, request, time);
        self.attempt.wait = wait.filter(|wait| !wait.is_zero());
        wait.is_some()
    }

    /// The attempt failed, for the cause that is noted.
    pub(super) fn attempt_failed(&mut self, failure: Failure) {
        let kind = self.cause.and_then(Cause::upstream_kind);
        self.attempt.tries.failed(failure, kind);
        self.trace_attempt_end();
    }

    /// Counts the request out at its endpoint, if it is at one.
    pub(super) fn finish_at_endpoint(&mut self) {
        let kind = self.cause.and_then(Cause::upstream_kind);
        self.attempt.tries.finish(kind);
        self.trace_attempt_end();
    }

    fn trace_attempt_end(&mut self) {
        if let Some(trace) = &mut self.trace {
            trace.attempt_ended(self.cause);
        }
    }

    /// The share of requests that are recorded where the caller has not decided.
    pub(super) fn sample(&self) -> Sample {
        let of_route = self.route().map(|(_, route)| route.sample);
        let of_host = || self.host().map(|host| host.sample);
        of_route.or_else(of_host).unwrap_or(self.snapshot.sample)
    }

    /// Counts bytes of the bodies that the client sent and was sent.
    pub(super) fn record_body_bytes(&mut self, received: u64, sent: u64) {
        if let Some(trace) = &mut self.trace {
            trace.body_bytes(received, sent);
        }
        if self.counted {
            self.stats().record_body_bytes(received, sent);
        }
    }

    /// Counts the request out; `status` is 0 where no response went out. Later calls do nothing.
    pub(super) fn finish(&mut self, status: u16) {
        self.finish_at_endpoint();
        self.attempt.admission = None;
        if std::mem::take(&mut self.counted) {
            let kind = self.cause.and_then(Cause::kind);
            self.stats().finish(status, kind, self.started.elapsed());
            if let Some(trace) = self.trace.take() {
                trace.finish(status, self.cause);
            }
        }
    }

    fn stats(&self) -> &sallyport_stats::RouteStats {
        self.route().map_or(&self.snapshot.unmatched, |(_, route)| &route.stats)
    }
}

fn forward(snapshot: &Snapshot, route: Option<(usize, usize)>) -> Option<&Forward> {
    let (host, route) = route?;
    match &snapshot.hosts[host].routes[route].action {
        Action::Forward(forward) => Some(forward),
        Action::Redirect(_) | Action::Respond(_) => None,
    }
}

impl Drop for RequestContext {
    fn drop(&mut self) {
        if let Some(tunnel) = &self.tunnel {
            tunnel.close();
        }
        self.finish(0);
    }
}
