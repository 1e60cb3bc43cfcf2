//! The filter: what a guest says in a phase, and what becomes of the request.

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode, Version, header, request, response};
use thread_local::ThreadLocal;

use super::abi::Failure;
use super::plugin::Plugin;
use super::scene::Phase;
use super::slot::Slot;
use super::stream::{Extra, Stream, Turn, Verdict};
use super::wait::Wait;
use crate::exchange::{Exchange, Outcome};
use crate::filter::{Answer, Body, Filter, Flow, Phases, Stop};
use crate::host::Host;

/// Body that a guest may hold back: what a gateway can spare for each of many requests.
const HELD_BYTES_MAX: usize = 1 << 20;

/// A filter in WebAssembly, with a VM for each thread that calls it.
pub(super) struct WasmFilter {
    plugin: Arc<Plugin>,
    slots: ThreadLocal<Arc<Slot>>,
    /// Whether the module sets a timer or reads a queue from its start on.
    wakes: bool,
}

impl WasmFilter {
    pub(super) fn new(plugin: Arc<Plugin>, wakes: bool) -> Self {
        Self { plugin, slots: ThreadLocal::new(), wakes }
    }

    fn slot(&self) -> Arc<Slot> {
        self.slots.get_or(|| Slot::new(self.plugin.clone())).clone()
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
        if matches!(failure, Failure::Body | Failure::Paused) {
            self.plugin.counters.failed(&self.plugin.name, failure);
        }
        if let Some(stream) = x.kept::<Stream>() {
            stream.failed = true;
            stream.close_inbox();
        } else {
            let mut stream = Stream::new(self.slot());
            stream.failed = true;
            x.keep(stream);
        }
        if self.plugin.settings.open {
            return None;
        }
        let text = "a filter failed";
        Some(Box::new(Answer::error(StatusCode::SERVICE_UNAVAILABLE, "wasm", text)))
    }

    fn flow<'a>(&self, x: &mut Exchange<'a>, verdict: Result<Verdict, Failure>) -> Flow<'a> {
        match verdict {
            Ok(Verdict::Answer(answer)) => Flow::Answer(answer),
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

fn close_inbox(x: &mut Exchange<'_>) {
    if let Some(stream) = x.kept::<Stream>() {
        stream.close_inbox();
    }
}

/// Whether the request has no body. An HTTP/2 request without a length has one if its method is of
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

    /// A module with a timer or a queue runs from now on; others begin with their first request.
    fn start(self: Arc<Self>, host: &Arc<Host>) {
        if !self.wakes {
            return;
        }
        let filter = Arc::downgrade(&self);
        if let Some(background) = &host.background {
            background.spawn(async move {
                if let Some(filter) = filter.upgrade() {
                    // What failed is counted and logged where it happened.
                    filter.slot().with(|_, _| Ok(())).ok();
                }
            });
        }
    }

    fn request_headers<'a>(&'a self, mut x: Exchange<'a>) -> Flow<'a> {
        let phase = Phase::RequestHeaders;
        let end = is_bodiless(x.request);
        let verdict = self.turn(&mut x, phase, Extra::default()).hook(end);
        if let Ok(Verdict::Pause { calls, wakes }) = verdict {
            let body_may_tell = !end && self.phases().has(Phases::REQUEST_BODY);
            if calls || wakes && !body_may_tell {
                return Flow::wait(Wait { filter: self, x, phase, end }.headers(None));
            }
            close_inbox(&mut x);
            let hold = self.phases().has(Phases::REQUEST_BODY);
            return if hold { Flow::HoldHead } else { Flow::Continue };
        }
        close_inbox(&mut x);
        self.flow(&mut x, verdict)
    }

    fn request_body<'a>(&'a self, mut x: Exchange<'a>, mut body: Body<'a>) -> Flow<'a> {
        let phase = Phase::RequestBody;
        let Some(verdict) = self.body(&mut x, phase, &mut body) else { return Flow::Continue };
        if let Ok(Verdict::Pause { calls, wakes }) = verdict {
            if calls || wakes && body.end {
                let end = body.end;
                return Flow::wait(Wait { filter: self, x, phase, end }.body(body));
            }
            if !body.end {
                return Flow::Continue;
            }
        }
        close_inbox(&mut x);
        release(&mut x, phase, &mut body);
        self.flow(&mut x, verdict)
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
        if let Ok(Verdict::Pause { calls, wakes }) = verdict
            && (calls || wakes)
        {
            return Flow::wait(Wait { filter: self, x, phase, end }.headers(Some(response)));
        }
        close_inbox(&mut x);
        self.flow(&mut x, verdict)
    }

    fn response_body(&self, mut x: Exchange<'_>, mut body: Body<'_>) -> Result<(), Stop> {
        let phase = Phase::ResponseBody;
        let Some(verdict) = self.body(&mut x, phase, &mut body) else { return Ok(()) };
        close_inbox(&mut x);
        match verdict {
            Ok(Verdict::Pause { .. }) if !body.end => return Ok(()),
            Ok(Verdict::Answer(_)) => return Err(Stop("a filter ended the response")),
            Ok(_) => {}
            Err(failure) => {
                if self.failed(&mut x, failure).is_some() {
                    return Err(Stop("a WebAssembly filter failed"));
                }
            }
        }
        release(&mut x, phase, &mut body);
        Ok(())
    }

    fn response_trailers(&self, mut x: Exchange<'_>, trailers: &mut HeaderMap) {
        if has_failed(&mut x) {
            return;
        }
        let extra = Extra { trailers: Some(trailers), ..Extra::default() };
        let verdict = self.turn(&mut x, Phase::ResponseTrailers, extra).hook(true);
        close_inbox(&mut x);
        if let Err(failure) = verdict {
            // Too late for an answer: the body is out.
            drop(self.failed(&mut x, failure));
        }
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
