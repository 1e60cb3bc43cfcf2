//! The thread that sends spans.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use sallyport_stats::push::ExportError;
use sallyport_stats::push::otlp::TraceClient;
use sallyport_stats::{Exemplar, Registry, SpanLoss};

use super::Order;
use super::queue::{Counters, Finished, Ring};
use super::span;
use crate::config::Tracing as Settings;

/// Spans of one request to the receiver; some 250 KiB.
const BATCH_SPANS: usize = 512;

/// How long spans wait for others, unless many do.
const DELAY: Duration = Duration::from_secs(1);

/// How often a batch is sent that the receiver could not take, and how long the first wait is; the
/// others are twice the one before. Meanwhile the queue fills.
const ATTEMPTS: u32 = 4;
const BACKOFF: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Takes spans out of the ring and sends them.
#[derive(Debug)]
pub(super) struct Export {
    settings: Settings,
    ring: Arc<Ring>,
    counters: Arc<Counters>,
    registry: Arc<Registry>,
    client: Option<TraceClient>,
    /// What could not be sent yet.
    batch: Vec<Span>,
    attempts: u32,
    /// When it may be sent again.
    not_before: Option<Instant>,
    /// Whether the latest request failed, so that each outage is told of once.
    is_failing: bool,
}

impl Export {
    pub(super) fn new(
        settings: Settings,
        ring: Arc<Ring>,
        counters: Arc<Counters>,
        registry: Arc<Registry>,
    ) -> Self {
        Self {
            settings,
            ring,
            counters,
            registry,
            client: None,
            batch: Vec::new(),
            attempts: 0,
            not_before: None,
            is_failing: false,
        }
    }

    /// The thread's life.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        loop {
            let now = Instant::now();
            let backoff = self.not_before.map_or(Duration::ZERO, |at| at - now.min(at));
            let order = orders.recv_timeout(if backoff.is_zero() { DELAY } else { backoff });
            match order {
                Ok(Order::Wake) | Err(RecvTimeoutError::Timeout) => {
                    self.ring.looked();
                    self.send_all(None);
                }
                Ok(Order::Change(settings, ring)) => self.change(*settings, ring),
                Ok(Order::End(patience)) => return self.end(patience),
                Err(RecvTimeoutError::Disconnected) => return self.end(Duration::ZERO),
            }
        }
    }

    fn change(&mut self, settings: Settings, ring: Option<Arc<Ring>>) {
        if settings.receiver != self.settings.receiver {
            (self.client, self.not_before, self.attempts) = (None, None, 0);
        }
        self.settings = settings;
        if let Some(ring) = ring {
            // What waits in the old one is as much as a queue of that size may hold.
            let old = std::mem::replace(&mut self.ring, ring);
            while let Some(finished) = old.pop() {
                self.take(*finished);
            }
        }
    }

    /// Sends what there is until `patience` is over.
    fn end(mut self, patience: Duration) {
        self.not_before = None;
        self.send_all(Some(Instant::now() + patience));
        self.counters.dropped(SpanLoss::Ended, self.batch.len() as u64);
    }

    /// Sends batch after batch until nothing waits, one cannot be sent, or it is too late.
    fn send_all(&mut self, deadline: Option<Instant>) {
        loop {
            if self.not_before.is_some_and(|at| at > Instant::now()) {
                return;
            }
            while self.batch.len() < BATCH_SPANS
                && let Some(finished) = self.ring.pop()
            {
                self.take(*finished);
            }
            let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if self.batch.is_empty() || late || !self.send() {
                return;
            }
        }
    }

    fn take(&mut self, finished: Finished) {
        if let Some(request) = finished.request {
            let (trace_id, duration, at) = (request.trace_id, request.duration, request.at);
            let exemplar = Exemplar { trace_id, duration, at };
            self.registry.exemplars().note(&request.virtual_host, &request.route, exemplar);
        }
        self.batch.extend(finished.spans);
    }

    /// Sends the first spans of the batch; returns whether they are done with.
    fn send(&mut self) -> bool {
        let count = self.batch.len().min(BATCH_SPANS);
        let sent = self.deliver(count);
        let spans = count as u64;
        match sent {
            Ok(refused) => {
                let refused = refused.min(spans);
                self.counters.exported(spans - refused);
                self.counters.dropped(SpanLoss::Refused, refused);
                self.recovered();
            }
            Err(error) => {
                self.counters.failed();
                self.told(&error);
                if self.waits_after(&error) {
                    return false;
                }
                let is_refusal = matches!(error, ExportError::Refused { .. });
                let loss = if is_refusal { SpanLoss::Refused } else { SpanLoss::Failed };
                self.counters.dropped(loss, spans);
            }
        }
        self.batch.drain(..count);
        (self.attempts, self.not_before) = (0, None);
        true
    }

    /// Returns how many of the first `count` spans the receiver refused.
    fn deliver(&mut self, count: usize) -> Result<u64, ExportError> {
        let message = self.message(self.batch[..count].to_vec());
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(TraceClient::new(&self.settings.receiver)?),
        };
        client.send(vec![message])
    }

    /// Whether the batch is sent again after this error, and from when on.
    fn waits_after(&mut self, error: &ExportError) -> bool {
        self.attempts += 1;
        if !error.is_retryable() || self.attempts >= ATTEMPTS {
            return false;
        }
        let backoff = BACKOFF * 2_u32.pow(self.attempts - 1);
        let wait = error.retry_after().unwrap_or(backoff).clamp(backoff, BACKOFF_MAX);
        self.not_before = Some(Instant::now() + wait);
        true
    }

    fn told(&mut self, error: &ExportError) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(error = error.story(), "tracing: cannot deliver, trying now and then");
        }
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            tracing::info!("tracing: delivers again");
        }
    }

    fn message(&self, spans: Vec<Span>) -> ResourceSpans {
        let attributes = self.settings.resource.iter();
        let attributes = attributes.map(|(key, value)| span::text(key.clone(), value.clone()));
        let scope = InstrumentationScope {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        ResourceSpans {
            resource: Some(Resource { attributes: attributes.collect(), ..Resource::default() }),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope),
                spans,
                schema_url: span::SCHEMA_URL.to_owned(),
            }],
            ..ResourceSpans::default()
        }
    }
}
