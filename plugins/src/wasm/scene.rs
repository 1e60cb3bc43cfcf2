//! What a guest may touch during one call.
//!
//! A request's parts are swapped into the VM's store when the guest is called and swapped back
//! afterwards, so that functions of the host reach them without borrowing across the guest.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, Request, Response, StatusCode, request, response};
use sallyport_route::Hints;

use super::buffer::Buffer;
use crate::exchange::{About, Marks, Outcome};
use crate::filter::Answer;
use crate::trace::TraceContext;

/// The phase that a guest is called in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// None of a request's: timers, queues, start.
    #[default]
    None,
    RequestHeaders,
    RequestBody,
    ResponseHeaders,
    ResponseBody,
    ResponseTrailers,
    Log,
}

/// What is on stage.
pub(super) struct Scene {
    pub(super) phase: Phase,
    /// The context of the request; 0 where there is none.
    pub(super) stream: u32,
    pub(super) request: request::Parts,
    pub(super) response: response::Parts,
    pub(super) trailers: HeaderMap,
    pub(super) has_response: bool,
    pub(super) marks: Marks,
    pub(super) body: Buffer,
    pub(super) place: Place,
    pub(super) control: Control,
}

/// What the guest asked for in a call.
#[derive(Debug, Default)]
pub(super) struct Control {
    /// To let what it held go on.
    pub(super) go_on: bool,
    /// To answer with this.
    pub(super) answer: Option<Box<Answer>>,
    /// To end the stream.
    pub(super) closed: bool,
}

impl Control {
    pub(super) fn is_set(&self) -> bool {
        self.go_on || self.closed || self.answer.is_some()
    }
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            phase: Phase::None,
            stream: 0,
            request: Request::new(()).into_parts().0,
            response: Response::new(()).into_parts().0,
            trailers: HeaderMap::new(),
            has_response: false,
            marks: Marks::default(),
            body: Buffer::default(),
            place: Place::default(),
            control: Control::default(),
        }
    }
}

/// The parts of a request that go on stage.
pub(super) struct Props<'a> {
    pub(super) phase: Phase,
    pub(super) request: &'a mut request::Parts,
    pub(super) marks: &'a mut Marks,
    pub(super) about: &'a About<'a>,
    pub(super) response: Option<&'a mut response::Parts>,
    pub(super) trailers: Option<&'a mut HeaderMap>,
    pub(super) outcome: Option<&'a Outcome<'a>>,
}

impl Scene {
    /// Puts `props` on stage, or takes them off again.
    pub(super) fn swap(&mut self, props: &mut Props<'_>) {
        std::mem::swap(&mut self.request, props.request);
        std::mem::swap(&mut self.marks, props.marks);
        self.place.scheme = props.about.scheme;
        self.place.trace = props.about.trace;
        if let Some(response) = &mut props.response {
            std::mem::swap(&mut self.response, response);
        }
        if let Some(trailers) = &mut props.trailers {
            std::mem::swap(&mut self.trailers, trailers);
        }
    }
}

/// Where the request comes from and belongs, kept for properties: names are copied only when they
/// differ from those of the call before.
#[derive(Default)]
pub(super) struct Place {
    pub(super) listener: String,
    pub(super) virtual_host: String,
    pub(super) route: String,
    pub(super) upstream: String,
    pub(super) endpoint: Option<SocketAddr>,
    pub(super) client: Option<SocketAddr>,
    pub(super) peer: Option<SocketAddr>,
    pub(super) local: Option<SocketAddr>,
    pub(super) scheme: &'static str,
    /// Like the scheme, noted with each call.
    pub(super) trace: Option<TraceContext>,
    pub(super) peer_trusted: bool,
    pub(super) hints: Option<Hints>,
    pub(super) started: Option<Instant>,
    pub(super) bodiless: Option<bool>,
    pub(super) connected: Option<SystemTime>,
    pub(super) upstream_local: Option<SocketAddr>,
    pub(super) attempts: u32,
    pub(super) backend_latency: Option<Duration>,
    pub(super) ended: Option<Ended>,
}

/// How the request ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) status: Option<StatusCode>,
    pub(super) cause: Option<String>,
    pub(super) duration: Duration,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
}

impl Place {
    pub(super) fn learn(&mut self, about: &About<'_>, outcome: Option<&Outcome<'_>>) {
        keep(&mut self.listener, about.listener);
        keep(&mut self.virtual_host, about.virtual_host);
        keep(&mut self.route, about.route);
        keep(&mut self.upstream, about.upstream.unwrap_or(""));
        self.endpoint = about.endpoint;
        // As Envoy has it: an address that a proxy reported comes without its port.
        let port = about.peer.filter(|peer| Some(peer.ip()) == about.client);
        self.client = about.client.map(|ip| (ip, port.map_or(0, |peer| peer.port())).into());
        self.peer = about.peer;
        self.local = about.local;
        self.peer_trusted = about.peer_trusted;
        if self.hints.as_ref() != about.hints {
            self.hints = about.hints.cloned();
        }
        self.started = Some(about.started);
        self.bodiless = about.bodiless;
        self.connected = about.connected;
        self.upstream_local = about.upstream_local;
        self.attempts = about.attempts;
        self.backend_latency = about.backend_latency;
        self.ended = outcome.map(|outcome| Ended {
            status: outcome.status,
            cause: outcome.cause.map(str::to_owned),
            duration: outcome.duration,
            request_bytes: outcome.request_bytes,
            response_bytes: outcome.response_bytes,
        });
    }
}

fn keep(kept: &mut String, text: &str) {
    if kept != text {
        kept.clear();
        kept.push_str(text);
    }
}
