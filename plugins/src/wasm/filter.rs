//! The filter: what a guest says in a phase, and what becomes of the request.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, Version, header, request, response};
use thread_local::ThreadLocal;

use super::abi::Failure;
use super::plugin::Plugin;
use super::scene::Phase;
use super::slot::{Caller, Slot};
use super::stock::Stock;
use super::stream::{Extra, Stream, Turn, Verdict};
use super::wait::Wait;
use crate::exchange::{Exchange, Outcome};
use crate::filter::{Answer, Body, Filter, Flow, Phases, Stop};
use crate::host::Host;

/// How a response ends whose filter failed.
const FAILED: Stop = Stop("a WebAssembly filter failed");

/// Body that a guest may hold back: what a gateway can spare for each of many requests.
const HELD_BYTES_MAX: usize = 1 << 20;

/// A filter in WebAssembly, with a VM for each thread that calls it.
pub(super) struct WasmFilter {
    plugin: Arc<Plugin>,
    stock: Arc<Stock>,
    slots: ThreadLocal<Arc<Slot>>,
    /// Whether the module sets a timer or reads a queue from its start on.
    wakes: bool,
}

impl WasmFilter {
    pub(super) fn new(plugin: Arc<Plugin>, wakes: bool) -> Self {
        let stock = Stock::new(plugin.clone());
        Self { plugin, stock, slots: ThreadLocal::new(), wakes }
    }

    pub(super) fn slot(&self) -> Arc<Slot> {
        self.slots.get_or(|| Slot::new(self.stock.clone())).clone()
    }

    pub(super) fn pause_timeout(&self) -> Duration {
        self.plugin.settings.pause_timeout
    }

    /// Whether the body of a message may let its held head go: see `allow_on_headers_stop_iteration`.
    fn body_decides(&self, end: bool, hook: Phases) -> bool {
        !end && self.plugin.settings.body_passes_held_head && self.phases().has(hook)
    }

    /// A call into the guest for this request.
    pub(super) fn turn<'a>(
        &self,
        x: &'a mut Exchange<'_>,
        phase: Phase,
        extra: Extra<'a>,
    ) -> Turn<'a> {
        Turn::new(x, phase, extra, || self.slot())
    }

    /// The request cannot have its filter: returns the answer, if it gets one for that.
    pub(super) fn failed(&self, x: &mut Exchange<'_>, failure: Failure) -> Option<Box<Answer>> {
        if matches!(failure, Failure::Body | Failure::Paused | Failure::Starting) {
            self.plugin.counters.failed(&self.plugin.name, failure);
        }
        let open = self.plugin.settings.open;
        if let Some(stream) = x.kept::<Stream>() {
            stream.failed = true;
            stream.close_inbox();
            if !open {
                // It is in nobody's hands any more, and whoever answers now has a body of their own.
                stream.drop_held();
            }
        } else {
            let mut stream = Stream::new(self.slot());
            stream.failed = true;
            x.keep(stream);
        }
        if open {
            return None;
        }
        let (status, text) = match failure {
            // RFC 9110, 15.5.14; a response cannot be answered any more.
            Failure::Body => (StatusCode::PAYLOAD_TOO_LARGE, "a filter holds no more of a body"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "a filter failed"),
        };
        Some(Box::new(Answer::error(status, "wasm", text)))
    }

    fn flow<'a>(&self, x: &mut Exchange<'a>, verdict: Result<Verdict, Failure>) -> Flow<'a> {
        match verdict {
            Ok(Verdict::Answer(answer)) => {
                drop_held(x);
                Flow::Answer(answer)
            }
            Ok(Verdict::Go | Verdict::Pause { .. }) => Flow::Continue,
            Err(failure) => self.failed(x, failure).map_or(Flow::Continue, Flow::Answer),
        }
    }

    /// Takes a piece of a body to what is held back, and calls its hook. `None` where the piece just
    /// passes.
    fn body(
        &self,
        x: &mut Exchange<'_>,
        phase: Phase,
        body: &mut Body<'_>,
    ) -> Option<Result<Verdict, Failure>> {
        let turn = self.turn(x, phase, Extra::default());
        let failed = turn.stream.failed;
        let held = turn.stream.held(phase);
        let was_held = held.len() > 0;
        if let Some(data) = body.data.take() {
            held.append(data);
        }
        if failed {
            *body.data = held.take();
            return None;
        }
        if was_held && held.len() > HELD_BYTES_MAX {
            return Some(Err(Failure::Body));
        }
        Some(turn.hook(body.end))
    }
}

/// Whether the filter failed this request before.
fn has_failed(x: &mut Exchange<'_>) -> bool {
    x.kept::<Stream>().is_some_and(|stream| stream.failed)
}

/// Lets go what is held back.
pub(super) fn release(x: &mut Exchange<'_>, phase: Phase, body: &mut Body<'_>) {
    if let Some(stream) = x.kept::<Stream>() {
        *body.data = stream.held(phase).take();
    }
}

/// Drops what is held back.
pub(super) fn drop_held(x: &mut Exchange<'_>) {
    if let Some(stream) = x.kept::<Stream>() {
        stream.drop_held();
    }
}

fn close_inbox(x: &mut Exchange<'_>) {
    if let Some(stream) = x.kept::<Stream>() {
        stream.close_inbox();
    }
}

/// Whether the request seems to have no body, where its framing is not known. An HTTP/2 request without a length has one if its method is of
/// those that have.
fn is_bodiless(request: &request::Parts) -> bool {
    match request.headers.get(header::CONTENT_LENGTH) {
        Some(length) => length == "0",
        None if request.headers.contains_key(header::TRANSFER_ENCODING) => false,
        None => {
            request.version != Version::HTTP_2
                || matches!(request.method, Method::GET | Method::HEAD | Method::DELETE)
        }
    }
}

fn is_bodiless_response(method: &Method, response: &response::Parts) -> bool {
    method == Method::HEAD
        || matches!(response.status.as_u16(), 204 | 304)
        || response.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length == "0")
}

impl Filter for WasmFilter {
    fn phases(&self) -> Phases {
        self.plugin.settings.phases
    }

    fn asks_of_exchange(&self) -> bool {
        self.plugin.compiled.reads_properties
    }

    /// Starts a VM for each thread that serves.
    fn prepare(&self, host: &Host) {
        self.stock.prepare(host.workers + usize::from(self.wakes));
    }

    /// A module with a timer or a queue runs from now on; others begin with their first request.
    fn start(self: Arc<Self>, host: &Arc<Host>) {
        if !self.wakes {
            return;
        }
        let filter = Arc::downgrade(&self);
        if let Some(background) = &host.background {
            background.spawn(async move {
                let Some(slot) = filter.upgrade().map(|filter| filter.slot()) else { return };
                // What failed is counted and logged where it happened.
                while slot.with(Caller::default(), |_, _| Ok(())) == Err(Failure::Starting) {
                    slot.ready().await;
                }
            });
        }
    }

    fn request_headers<'a>(&'a self, mut x: Exchange<'a>) -> Flow<'a> {
        let phase = Phase::RequestHeaders;
        let end = x.about.bodiless.unwrap_or_else(|| is_bodiless(x.request));
        let verdict = self.turn(&mut x, phase, Extra::default()).hook(end);
        match verdict {
            // Also with nothing to wait for: who holds a request means that it shall not pass.
            Ok(Verdict::Pause { calls, .. })
                if calls || !self.body_decides(end, Phases::REQUEST_BODY) =>
            {
                return Flow::wait(Wait { filter: self, x, phase, end }.headers(None, verdict));
            }
            Ok(Verdict::Pause { .. }) => {
                close_inbox(&mut x);
                return Flow::HoldHead;
            }
            Err(Failure::Starting) => {
                return Flow::wait(Wait { filter: self, x, phase, end }.headers(None, verdict));
            }
            _ => {}
        }
        close_inbox(&mut x);
        self.flow(&mut x, verdict)
    }

    fn request_body<'a>(&'a self, mut x: Exchange<'a>, mut body: Body<'a>) -> Flow<'a> {
        let phase = Phase::RequestBody;
        let Some(verdict) = self.body(&mut x, phase, &mut body) else { return Flow::Continue };
        match verdict {
            Ok(Verdict::Pause { calls: false, .. }) if !body.end => return Flow::Continue,
            Ok(Verdict::Pause { .. }) | Err(Failure::Starting) => {
                let end = body.end;
                return Flow::wait(Wait { filter: self, x, phase, end }.body(body, verdict));
            }
            _ => {}
        }
        close_inbox(&mut x);
        let flow = self.flow(&mut x, verdict);
        release(&mut x, phase, &mut body);
        flow
    }

    fn response_headers<'a>(
        &'a self,
        mut x: Exchange<'a>,
        response: &'a mut response::Parts,
    ) -> Flow<'a> {
        if has_failed(&mut x) {
            return Flow::Continue;
        }
        let phase = Phase::ResponseHeaders;
        let end = is_bodiless_response(&x.request.method, response);
        let extra = Extra { response: Some(&mut *response), ..Extra::default() };
        let verdict = self.turn(&mut x, phase, extra).hook(end);
        let waits = match verdict {
            Ok(Verdict::Pause { calls, wakes }) => {
                calls || wakes || !self.body_decides(end, Phases::RESPONSE_BODY)
            }
            Err(Failure::Starting) => true,
            _ => false,
        };
        if waits {
            let wait = Wait { filter: self, x, phase, end };
            return Flow::wait(wait.headers(Some(response), verdict));
        }
        close_inbox(&mut x);
        self.flow(&mut x, verdict)
    }

    fn response_dropped(&self, mut x: Exchange<'_>) {
        close_inbox(&mut x);
        if let Some(stream) = x.kept::<Stream>() {
            stream.held(Phase::ResponseBody).take();
        }
    }

    fn response_body(&self, mut x: Exchange<'_>, mut body: Body<'_>) -> Result<(), Stop> {
        let phase = Phase::ResponseBody;
        let Some(verdict) = self.body(&mut x, phase, &mut body) else { return Ok(()) };
        close_inbox(&mut x);
        let failure = match verdict {
            Ok(Verdict::Pause { .. }) | Err(Failure::Starting) if !body.end => return Ok(()),
            // It cannot wait here, and what its guest holds does not pass unasked.
            Ok(Verdict::Pause { .. }) => Some(Failure::Paused),
            Ok(Verdict::Answer(_)) => {
                drop_held(&mut x);
                return Err(Stop("a filter ended the response"));
            }
            Ok(Verdict::Go) => None,
            Err(failure) => Some(failure),
        };
        if let Some(failure) = failure
            && self.failed(&mut x, failure).is_some()
        {
            return Err(FAILED);
        }
        release(&mut x, phase, &mut body);
        Ok(())
    }

    fn response_trailers(&self, mut x: Exchange<'_>, trailers: &mut HeaderMap) -> Result<(), Stop> {
        if has_failed(&mut x) {
            return Ok(());
        }
        let extra = Extra { trailers: Some(trailers), ..Extra::default() };
        let verdict = self.turn(&mut x, Phase::ResponseTrailers, extra).hook(true);
        close_inbox(&mut x);
        let failure = match verdict {
            Ok(Verdict::Go) => return Ok(()),
            Ok(Verdict::Answer(_)) => return Err(Stop("a filter ended the response")),
            Ok(Verdict::Pause { .. }) => Failure::Paused,
            Err(failure) => failure,
        };
        // Too late for an answer: the body is out.
        self.failed(&mut x, failure).map_or(Ok(()), |_| Err(FAILED))
    }

    fn log(&self, mut x: Exchange<'_>, outcome: &Outcome<'_>) {
        if !x.kept::<Stream>().is_some_and(|stream| stream.is_known()) {
            return;
        }
        let sent = outcome.response.filter(|_| self.plugin.compiled.reads_fields);
        let mut sent = sent.cloned();
        let extra = Extra { response: sent.as_mut(), outcome: Some(outcome), trailers: None };
        // What failed is counted and logged where it happened; the request is over.
        self.turn(&mut x, Phase::Log, extra).end().ok();
    }
}
