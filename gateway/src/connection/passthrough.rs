//! Connections that are passed on without being terminated: from the client's hello to the end of a
//! tunnel to an endpoint of the upstream that the hello's name leads to.
//!
//! Nothing of what passes is looked at but the hello. To the upstream such a connection is a request:
//! its endpoint is chosen by the balancer, it counts under the limits, and what becomes of it counts
//! for the endpoint. It keeps nothing of the configuration that it began with but its upstream, so
//! that a tunnel of days does not hold a table of routes.

mod shaped;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, request};
use pingora_core::protocols::Stream;
use pingora_error::{Error, ErrorType};
use sallyport_plugin::{About, ConnectionLogs, Outcome, TlsAbout};
use sallyport_route::Hints;
use sallyport_stats::{Direction, ErrorKind, PassthroughResult, PassthroughStats};
use sallyport_tls::{Beginning, refuse_unreachable};
use tokio::time::sleep;

use self::shaped::Shaped;
use super::facts::Connection;
use super::socket::ClientSocket;
use crate::config::{ClassBy, HashOn, Retry, TenantBy, TenantWeights};
use crate::descriptors;
use crate::drain::PassedOn;
use crate::engine::{OriginStream, Terms, connect};
use crate::proxy::{Cause, Shared, hash_key};
use crate::shaping::Share;
use crate::snapshot::NONE;
use crate::tunnel::{End, relay};
use crate::upstream::{Admission, Attempts, Failure, Resend, Tenant, Time, Upstream, introduction};

/// Where a connection is passed on to, and what that is told to.
pub(super) struct Passage {
    upstream: Arc<Upstream>,
    stats: PassthroughStats,
    listener: Arc<str>,
    logs: ConnectionLogs,
    /// The version of the configuration that says so.
    version: u64,
    /// The name that the client asks for.
    name: Option<Box<str>>,
    /// What a hashing policy goes by.
    key: u64,
}

/// Where a connection with this hello is passed on to; `None` if it is terminated here or refused.
pub(super) fn find(
    beginning: &Beginning,
    connection: &Connection,
    shared: &Shared,
) -> Option<Passage> {
    let (snapshot, index) = connection.listener.pin(&shared.live)?;
    let name = beginning.server_name();
    let (upstream, stats) = snapshot.passed_on(index, name.as_deref())?.draw();
    let upstream = snapshot.upstreams[upstream].clone();
    let logs = snapshot.chain(index, None).map(|chain| chain.connection_logs());
    Some(Passage {
        key: key(&upstream.spec.hash_on, beginning, connection, shared),
        upstream,
        stats: stats.clone(),
        listener: snapshot.listeners[index].name.clone(),
        logs: logs.unwrap_or_default(),
        version: snapshot.version,
        name,
    })
}

/// What a hashing policy goes by: there are no fields to hash on, so that those who ask for one get
/// the client's address, as requests without it do.
fn key(hash_on: &HashOn, beginning: &Beginning, connection: &Connection, shared: &Shared) -> u64 {
    let mut hints = Hints::default();
    let hash_on = match hash_on {
        HashOn::Hint(_) => {
            let classifier = shared.classifier.as_ref().filter(|it| it.is_fresh());
            let known = classifier.and_then(|it| {
                connection.known(|| it.connection(connection.peer, connection.local))
            });
            hints = known.map(|known| known.hints().clone()).unwrap_or_default();
            hash_on
        }
        HashOn::Ja4 => {
            hints.ja4 = Some(beginning.ja4());
            hash_on
        }
        _ => &HashOn::SourceIp,
    };
    let client = Some(connection.peer.ip().to_canonical());
    hash_key(hash_on, client, "", None, &HeaderMap::new(), Some(&hints))
}

impl Passage {
    /// Passes the connection on until it ends. `hello` is what was read of it.
    pub(super) async fn serve(
        self,
        mut socket: ClientSocket,
        hello: Bytes,
        connection: Connection,
        shared: &Shared,
    ) {
        let mut open = Open::begin(self, connection, shared);
        match open.connect().await {
            Ok(origin) => open.relay(Box::new(socket), origin, hello).await,
            Err(cause) => {
                open.cause = Some(cause);
                refuse_unreachable(&mut socket).await;
            }
        }
    }
}

/// A connection that is being passed on. However it ends, it is counted and logged then.
struct Open {
    passage: Passage,
    connection: Connection,
    attempts: Attempts,
    admission: Admission,
    began: Instant,
    is_connected: bool,
    /// Bytes that went to the origin and to the client.
    passed: (u64, u64),
    cause: Option<Cause>,
    _drains: PassedOn,
}

impl Open {
    fn begin(passage: Passage, connection: Connection, shared: &Shared) -> Self {
        passage.stats.begin();
        let mut attempts = Attempts::default();
        attempts.key = passage.key;
        Self {
            passage,
            connection,
            attempts,
            admission: Admission::default(),
            began: Instant::now(),
            is_connected: false,
            passed: (0, 0),
            cause: None,
            _drains: shared.drain.begin_passing_on(),
        }
    }

    /// Connects to an endpoint, or else to another.
    async fn connect(&mut self) -> Result<OriginStream, Cause> {
        let upstream = self.passage.upstream.clone();
        let queue = upstream.spec.resilience.queue.as_ref();
        let tenant = queue.map_or_else(Tenant::default, |it| self.tenant(&it.by, &it.weights));
        self.admission = upstream.admit(tenant, None).await.map_err(|_| Cause::Limit)?;
        let ends = (self.connection.peer, self.connection.local);
        let version = upstream.spec.transport.proxy_protocol;
        let terms = Terms {
            within: upstream.spec.timeouts.connect,
            introduction: version.map(|version| introduction::header(version, Some(ends))),
        };
        let policy = Retry::default();
        loop {
            self.attempts.begin(&upstream, None).ok_or(Cause::NoEndpoint)?;
            let destination = self.attempts.destination().ok_or(Cause::Internal)?;
            let (failure, cause) = match connect(&destination, &terms).await {
                Ok(stream) if descriptors::is_reserved(stream.descriptor()) => {
                    descriptors::report_exhaustion();
                    (Failure::Resources, Cause::Resources)
                }
                Ok(stream) => {
                    // Whoever does not read for a while is none the less there.
                    stream.bound_silence(None);
                    self.attempts.connected(false);
                    self.is_connected = true;
                    return Ok(stream);
                }
                Err(error) => failed(error),
            };
            // Nothing was sent, whatever it is.
            let resend = Resend { method: &Method::GET, whole: true };
            let wait = self.attempts.retry(&policy, failure, resend, Time::default());
            self.attempts.failed(failure, cause.upstream_kind());
            sleep(wait.ok_or(cause)?).await;
        }
    }

    /// Passes on what either side sends, until both are done.
    async fn relay(&mut self, client: Stream, origin: OriginStream, hello: Bytes) {
        let share = self.share();
        let client = Shaped::new(client, Direction::Request, share.clone());
        let origin = Shaped::new(origin, Direction::Response, share);
        let idle = self.passage.upstream.spec.timeouts.upgraded;
        let (attempts, passed, stats) = (&mut self.attempts, &mut self.passed, &self.passage.stats);
        let count = |up: u64, down: u64| {
            if down > 0 && passed.1 == 0 {
                attempts.answered(StatusCode::OK.as_u16());
            }
            (passed.0, passed.1) = (passed.0 + up, passed.1 + down);
            stats.passed(Direction::Request, up);
            stats.passed(Direction::Response, down);
        };
        let relayed = relay((client, hello), (origin, Bytes::new()), idle, count).await;
        match relayed.end {
            End::OriginReset => {
                self.cause = Some(Cause::Reset);
                if self.passed.1 == 0 {
                    self.attempts.failed(Failure::Unanswered, Some(ErrorKind::Reset));
                }
            }
            End::ClientReset => self.cause = Some(Cause::ClientGone),
            // Silence is nobody's failure.
            End::Closed | End::Idle => {}
        }
    }

    /// Its share of the upstream's bandwidth, if that has one.
    fn share(&self) -> Option<Share> {
        let upstream = &self.passage.upstream;
        let spec = upstream.spec.resilience.bandwidth.as_ref()?;
        let class = match (&spec.by, &upstream.spec.resilience.queue) {
            (ClassBy::Own(by), _) => self.tenant(by, &spec.weights),
            (ClassBy::Tenant, Some(queue)) => self.tenant(&queue.by, &queue.weights),
            (ClassBy::Tenant, None) => Tenant::default(),
        };
        let shaped = upstream.account.bandwidth()?.clone();
        Some(Share { shaped, rate: spec.rate(), version: self.passage.version, class })
    }

    /// Whose it is. Connections that lack what tells tenants apart are one tenant.
    fn tenant(&self, by: &TenantBy, weights: &TenantWeights) -> Tenant {
        match by {
            TenantBy::Source => {
                Tenant::named(&self.connection.peer.ip().to_canonical().to_string(), weights)
            }
            TenantBy::Tls => Tenant::named(self.passage.name.as_deref().unwrap_or(""), weights),
            TenantBy::Route | TenantBy::Header(_) | TenantBy::Hint(_) => Tenant::named("", weights),
        }
    }

    fn log(&self) {
        let Passage { upstream, listener, logs, name, .. } = &self.passage;
        if logs.is_empty() {
            return;
        }
        let name = name.as_deref();
        let endpoint = self.attempts.endpoint();
        let about = About {
            listener,
            virtual_host: NONE,
            route: NONE,
            upstream: Some(&upstream.spec.name),
            endpoint: endpoint.and_then(|endpoint| endpoint.address.as_inet()),
            host: name,
            client: Some(self.connection.peer.ip().to_canonical()),
            peer: Some(self.connection.peer),
            local: Some(self.connection.local),
            scheme: "https",
            tls: Some(TlsAbout { sni: name, ..TlsAbout::default() }),
            started: self.began,
            connected: Some(self.connection.accepted),
            attempts: u32::try_from(self.attempts.count()).unwrap_or(u32::MAX),
            ..About::nothing()
        };
        let status = match self.is_connected {
            true => Some(StatusCode::OK),
            false => self.cause.and_then(Cause::status),
        };
        let outcome = Outcome {
            status,
            response: None,
            cause: self.cause.map(Cause::label),
            duration: self.began.elapsed(),
            request_bytes: self.passed.0,
            response_bytes: self.passed.1,
        };
        logs.log(&mut stand_in(name), &about, &outcome);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.log();
        let kind = self.cause.filter(|_| self.is_connected).and_then(Cause::upstream_kind);
        self.attempts.finish(kind);
        self.passage.stats.finish(match self.cause {
            Some(Cause::NoEndpoint) => PassthroughResult::NoEndpoint,
            Some(Cause::Limit) => PassthroughResult::Limit,
            Some(Cause::Timeout) => PassthroughResult::Timeout,
            Some(Cause::Reset) => PassthroughResult::Reset,
            Some(Cause::Resources) => PassthroughResult::Resources,
            None | Some(Cause::ClientGone) => PassthroughResult::Success,
            Some(_) => PassthroughResult::Connect,
        });
    }
}

/// Why no connection was made, for the endpoint and for the connection that is passed on.
fn failed(mut error: Box<Error>) -> (Failure, Cause) {
    error.as_up();
    let cause = Cause::of_connecting(&error);
    let failure = match (cause, error.etype()) {
        (Cause::Resources, _) => Failure::Resources,
        (_, ErrorType::ConnectTimedout) => Failure::ConnectTimeout,
        _ => Failure::Connect,
    };
    (failure, cause)
}

/// What stands for a request in the log: a tunnel to the name that was asked for.
fn stand_in(name: Option<&str>) -> request::Parts {
    let mut request = http::Request::new(()).into_parts().0;
    request.method = Method::CONNECT;
    // A name that fits a pattern is an authority.
    request.uri = name.and_then(|name| name.parse().ok()).unwrap_or_default();
    request
}
