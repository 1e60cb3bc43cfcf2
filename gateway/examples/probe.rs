//! A gateway with a filter that does whatever the contract allows, as its configuration says: what
//! the tests of the contract run.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, response};
use sallyport_config::{Node, Sink, Value, scalar, schema};
use sallyport_plugin::{
    Answer, Body, Exchange, Filter, Flow, Kind, Kinds, Next, Phases, Setting, VerdictAsked,
    body_changes,
};

const KIND: Kind = Kind { name: "probe", read, schema: schema::settings::<Value> };

#[derive(Default)]
struct Probe {
    /// Which phase answers 418.
    answer_in: Option<Box<str>>,
    /// Whether every byte of bodies is doubled.
    double: bool,
    /// Whether the head of a request waits for its body, whose length it then tells.
    hold: bool,
    /// Whether the request waits for a moment.
    wait: bool,
    endpoint: Option<SocketAddr>,
    verdict: Option<Duration>,
    /// The field whose value labels the request.
    label: Option<Box<str>>,
}

/// What it keeps of a request.
#[derive(Default)]
struct Seen {
    bytes: u64,
    held: Vec<u8>,
}

fn read(node: Node<'_>, sink: &mut Sink, _: &mut Setting<'_>) -> Option<Arc<dyn Filter>> {
    node.mapping(sink, |fields, sink| {
        Some(Arc::new(Probe {
            answer_in: fields.optional(sink, "answer_in", scalar::name),
            double: fields.optional(sink, "double", scalar::flag).unwrap_or(false),
            hold: fields.optional(sink, "hold", scalar::flag).unwrap_or(false),
            wait: fields.optional(sink, "wait", scalar::flag).unwrap_or(false),
            endpoint: fields.optional(sink, "endpoint", scalar::address),
            verdict: fields.optional(sink, "verdict", scalar::duration),
            label: fields.optional(sink, "label", scalar::name),
        }) as Arc<dyn Filter>)
    })
}

impl Probe {
    fn answers_in(&self, phase: &str) -> bool {
        self.answer_in.as_deref() == Some(phase)
    }

    fn change(&self, body: &mut Body<'_>) {
        if let Some(data) = body.data.take_if(|_| self.double) {
            *body.data = Some(data.iter().flat_map(|byte| [*byte; 2]).collect());
        }
    }
}

fn teapot() -> Answer {
    Answer::error(StatusCode::IM_A_TEAPOT, "probe", "as configured")
}

impl Filter for Probe {
    fn phases(&self) -> Phases {
        let mut phases = Phases::REQUEST_HEADERS;
        if self.double || self.hold || self.answers_in("request_body") {
            phases = phases | Phases::REQUEST_BODY;
        }
        if self.double || self.answers_in("response_headers") {
            phases = phases | Phases::RESPONSE_HEADERS | Phases::RESPONSE_BODY;
        }
        phases
    }

    fn request_headers<'a>(&'a self, x: Exchange<'a>) -> Flow<'a> {
        x.marks.endpoint = self.endpoint;
        x.marks.verdict = self.verdict.map(|lasting| VerdictAsked { lasting });
        x.marks.request_body_changes = self.double;
        if let Some(value) = self.label.as_deref().and_then(|name| x.request.headers.get(name)) {
            x.marks.label("probe", value.to_str().unwrap_or("?"));
        }
        if self.wait {
            return Flow::wait(async move {
                tokio::task::yield_now().await;
                x.request.headers.insert("x-waited", HeaderValue::from_static("yes"));
                if self.answers_in("wait") { Next::answer(teapot()) } else { Next::Continue }
            });
        }
        if self.answers_in("request_headers") {
            return Flow::answer(teapot());
        }
        if self.hold { Flow::HoldHead } else { Flow::Continue }
    }

    fn request_body<'a>(&'a self, mut x: Exchange<'a>, mut body: Body<'a>) -> Flow<'a> {
        if self.answers_in("request_body") {
            return Flow::answer(teapot());
        }
        self.change(&mut body);
        if self.hold {
            let seen: &mut Seen = x.state();
            seen.bytes += body.data.as_ref().map_or(0, |data| data.len() as u64);
            let total = seen.bytes;
            x.request.headers.insert("x-body-bytes", total.into());
        }
        Flow::Continue
    }

    fn response_headers<'a>(&'a self, _: Exchange<'a>, head: &'a mut response::Parts) -> Flow<'a> {
        if self.answers_in("response_headers") && head.status != StatusCode::IM_A_TEAPOT {
            return Flow::answer(teapot());
        }
        if self.double {
            body_changes(head);
        }
        Flow::Continue
    }

    fn response_body(
        &self,
        mut x: Exchange<'_>,
        mut body: Body<'_>,
    ) -> Result<(), sallyport_plugin::Stop> {
        self.change(&mut body);
        let held = &mut x.state::<Seen>().held;
        // Held back until the end, to show that it can be.
        held.extend(body.data.take().unwrap_or_default());
        *body.data = body.end.then(|| Bytes::from(std::mem::take(held)));
        Ok(())
    }
}

fn main() -> ExitCode {
    sallyport::cli::main(Kinds::builtin().with(KIND))
}
