//! The engine: ordinary exchanges with origins of HTTP/1.1, by the same phases as all others but
//! without Pingora's driver.
//!
//! It takes a request whose head has passed the check (`connection.rs`), or a stream of an HTTP/2
//! connection (`connection/http2.rs`), and runs the phases in the order in which Pingora does:
//! admit and route; then, if the route is one that it serves, filters, an endpoint, a connection, the
//! exchange, the end. What it does not take is decided before anything is counted, and goes on to
//! Pingora as it came: upgrades, origins that may speak HTTP/2, and whatever is odd.
//!
//! One loop moves all bytes of an exchange (`exchange`): no queue lies between the client and the
//! origin, and what one side does not take is not read from the other.

mod client;
mod downstream;
mod exchange;
mod head;
mod http2;
mod origin;
mod pool;
mod splice;

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Once};
use std::task::Poll;

use pingora_error::Result;
use sallyport_http1::Framing;
use sallyport_stats::ServedBy;

use self::client::EngineClient;
use self::downstream::Downstream;
use self::exchange::{Exchange, Worker};
use self::http2::Http2Client;
use self::origin::Origin;
use self::pool::Pool;
pub(crate) use self::pool::{OriginStream, Terms, connect};
use self::splice::Pipes;
use crate::config::EngineChoice;
use crate::connection::{ClientStream, Http2Session};
use crate::proxy::{Admission, Phases, RequestContext, Shared};
use crate::timers::Timers;
use crate::turns;
use crate::upstream::{Upstream, introduction};

/// Attempts at one request: the policy of the route decides, this is for connections from the pool
/// that are found closed, one after the other.
const ATTEMPTS_MAX: usize = 64;

/// What serves the exchanges of one worker.
pub struct Engine {
    phases: Phases,
    pool: Pool,
    pipes: Pipes,
    timers: Timers,
    /// What runs beside the exchanges, on the worker's own runtime.
    begun: Once,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

/// What became of a connection whose request was offered to the engine.
#[derive(Debug)]
pub(crate) enum Served {
    /// The request is served, and another may follow.
    Kept(Box<ClientStream>),
    /// The request is served, and the connection is over.
    Closed,
    /// The request is for Pingora; of it nothing was read or counted.
    Declined(Box<ClientStream>),
}

impl Engine {
    /// An engine that keeps as many idle connections to origins.
    pub(crate) fn new(shared: Shared, idle_connections: usize) -> Self {
        Self {
            phases: Phases { shared },
            pool: Pool::new(idle_connections),
            pipes: Pipes::default(),
            timers: Timers::new(),
            begun: Once::new(),
        }
    }

    /// Whether the configuration in force has it serve anything.
    pub(crate) fn is_on(&self) -> bool {
        self.phases.shared.live.pin().engine == EngineChoice::Auto
    }

    /// Begins what runs beside the exchanges; called on the worker's runtime, before anything else.
    pub(crate) fn begin(&self) {
        self.begun.call_once(|| {
            tokio::spawn(self.pool.watch());
            tokio::spawn(self.timers.turn());
        });
    }

    /// The worker's timers.
    pub(crate) fn timers(&self) -> &Timers {
        &self.timers
    }

    /// Serves the request whose head `stream` is at, unless it is one for Pingora.
    pub(crate) fn serve(
        self: Arc<Self>,
        stream: Box<ClientStream>,
        framing: Framing,
    ) -> impl Future<Output = Served> + Send {
        // Boxed where it is made: what is large is not moved any more.
        turns::in_turns(Box::pin(async move { self.run(stream, framing).await }))
    }

    async fn run(&self, mut stream: Box<ClientStream>, framing: Framing) -> Served {
        let raw = stream.take_head();
        let Some(request) = head::request(&raw) else {
            stream.put_back_head(&raw);
            return Served::Declined(stream);
        };
        let mut client = EngineClient::new(stream, request, framing);
        let mut ctx = self.phases.begin();
        let admission = self.phases.admit(&mut client, &mut ctx);
        if !serves(&ctx) {
            let mut stream = client.into_stream();
            stream.put_back_head(&raw);
            return Served::Declined(stream);
        }
        self.phases.shared.registry.count_engine(ServedBy::Http1);
        let succeeded = self.exchange(&mut client, &mut ctx, admission).await;
        drop(ctx);
        match client.end(!succeeded).await {
            true => Served::Kept(client.into_stream()),
            false => Served::Closed,
        }
    }

    /// Serves the request of an HTTP/2 stream; gives it back if it is one for Pingora, and of it
    /// nothing was read or counted.
    pub(crate) fn serve_http2(
        self: Arc<Self>,
        session: Box<Http2Session>,
    ) -> impl Future<Output = Option<Box<Http2Session>>> + Send {
        turns::in_turns(Box::pin(async move { self.run_http2(session).await }))
    }

    async fn run_http2(&self, session: Box<Http2Session>) -> Option<Box<Http2Session>> {
        let mut ctx = self.phases.begin();
        // Admission changes the head, and Pingora begins anew.
        let as_it_came = (!ctx.snapshot().are_upstreams_http1).then(|| session.head().clone());
        let mut client = Http2Client::new(session);
        let admission = self.phases.admit(&mut client, &mut ctx);
        if let Some(head) = as_it_came.filter(|_| !serves(&ctx)) {
            let mut session = client.into_session();
            *session.head_mut() = head;
            return Some(session);
        }
        self.phases.shared.registry.count_engine(ServedBy::Http2);
        self.exchange(&mut client, &mut ctx, admission).await;
        None
    }

    /// Serves a request that was admitted. Returns whether that succeeded.
    async fn exchange(
        &self,
        client: &mut impl Downstream,
        ctx: &mut RequestContext,
        admission: Admission,
    ) -> bool {
        let failed = match self.phases.proceed(client, ctx, admission).await {
            Ok(true) => None,
            Ok(false) => self.forward(client, ctx).await.err(),
            Err(error) => Some(error),
        };
        if let Some(error) = &failed {
            self.phases.fail(client, error, ctx).await;
        }
        self.phases.finish(client, ctx);
        failed.is_none()
    }

    /// Tries until there is an answer, or none is to be had.
    async fn forward(&self, client: &mut impl Downstream, ctx: &mut RequestContext) -> Result<()> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let Err(error) = self.attempt(client, ctx).await else { return Ok(()) };
            if !error.retry() || attempts == ATTEMPTS_MAX {
                return Err(error);
            }
        }
    }

    async fn attempt(&self, client: &mut impl Downstream, ctx: &mut RequestContext) -> Result<()> {
        let approach = unless_gone(client, pin!(self.phases.choose(ctx))).await??;
        let destination = self.phases.destination(ctx)?;
        let introduction =
            approach.introduction.map(|(version, ends)| introduction::header(version, ends));
        let terms = Terms { within: approach.connect_timeout, introduction };
        let connecting = pin!(self.pool.connect(&destination, &terms));
        let (stream, reused) = match unless_gone(client, connecting).await? {
            Ok(connected) => connected,
            Err(error) => {
                return Err(self.phases.fail_to_connect(client, error.into_up(), ctx).into_up());
            }
        };
        let mut origin = Origin::new(stream, &approach, &destination);
        let worker =
            Worker { phases: &self.phases, pipes: &self.pipes, timer: self.timers.timer() };
        let mut exchange = Exchange::new(worker, client, &mut origin, ctx);
        match exchange.run(reused).await {
            Ok(persists) => {
                self.phases.leave_origin(ctx);
                let stream = origin.into_stream();
                if persists {
                    self.pool.put(stream, &destination, &terms);
                } else {
                    stream.close();
                }
                Ok(())
            }
            Err(error) => Err(self.phases.error_while_proxy(client, error, reused, ctx)),
        }
    }
}

/// Waits for `event`, unless the client is gone before that.
async fn unless_gone<T>(
    client: &mut impl Downstream,
    mut event: Pin<&mut impl Future<Output = T>>,
) -> Result<T> {
    poll_fn(|context| match event.as_mut().poll(context) {
        Poll::Ready(event) => Poll::Ready(Ok(event)),
        Poll::Pending => client.poll_gone_early(context).map(Err),
    })
    .await
}

/// Whether the engine serves the route that was found: not where the client asks for another
/// protocol, or the origin may speak one.
fn serves(ctx: &RequestContext) -> bool {
    let is_http1 = |upstream: &Upstream| upstream.spec.transport.is_http1();
    !ctx.asks_for_upgrade() && ctx.upstreams().all(is_http1)
}
