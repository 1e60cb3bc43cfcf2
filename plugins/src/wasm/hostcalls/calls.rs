//! HTTP calls to upstreams of the gateway.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use wasmtime::Linker;

use super::MODULE;
use crate::host::{Call, Reply};
use crate::wasm::abi::{Fault, Status, answer};
use crate::wasm::fields::{field, is_framing};
use crate::wasm::guest::{Guest, Span, copy, split, write_number};
use crate::wasm::inbox::{Arrival, Inbox};
use crate::wasm::maps;
use crate::wasm::state::{ROOT_CALLS_MAX, ReplyShown, State};

/// The longest response to a call: it is copied into the guest whole.
const REPLY_BYTES_MAX: usize = 4 << 20;

/// The longest body of a call.
const BODY_BYTES_MAX: u32 = 4 << 20;

/// The longest that a call may take, whatever the guest says.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

pub(super) fn define(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "proxy_http_call",
        |mut guest: Guest<'_>,
         upstream: u32,
         upstream_size: u32,
         fields: u32,
         fields_size: u32,
         body: u32,
         body_size: u32,
         _trailers: u32,
         _trailers_size: u32,
         timeout_ms: u32,
         out: u32| {
            let spans = [(upstream, upstream_size), (fields, fields_size), (body, body_size)];
            let spans = spans.map(|(at, size)| Span { at, size });
            answer(http_call(&mut guest, spans, timeout_ms, out))
        },
    )?;
    Ok(())
}

fn http_call(
    guest: &mut Guest<'_>,
    [upstream, fields, body]: [Span; 3],
    timeout_ms: u32,
    out: u32,
) -> Result<(), Fault> {
    // Whether the number can be told shows before the call begins.
    write_number(guest, out, 0)?;
    if body.size > BODY_BYTES_MAX {
        return Err(Status::BadArgument.into());
    }
    let body = copy(guest, body)?;
    let (memory, state) = split(guest)?;
    let upstream = granted(state, upstream.of(memory)?)?;
    let pairs = maps::read(fields.of(memory)?).ok_or(Status::BadArgument)?;
    let mut call = call(&pairs, body.into(), timeout_ms).ok_or(Status::BadArgument)?;
    if state.scene.stream != 0 && state.scene.stream == state.context() {
        call.trace = state.scene.place.trace;
    }
    let number = begin(state, &upstream, call)?;
    Ok(write_number(guest, out, number)?)
}

/// The upstream of this name, if the guest may call it.
pub(super) fn granted(state: &State, name: &[u8]) -> Result<Box<str>, Status> {
    let allowed = &state.plugin.settings.upstreams;
    let found = allowed.iter().find(|upstream| upstream.as_bytes() == name);
    Ok((**found.ok_or(Status::BadArgument)?).into())
}

/// The call that these fields describe; `None` without a method, a path or an authority.
fn call(pairs: &[(&[u8], &[u8])], body: Bytes, timeout_ms: u32) -> Option<Call> {
    let (mut method, mut path, mut authority) = (None, None, None);
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        match *name {
            b":method" => method = Method::from_bytes(value).ok(),
            b":path" => path = std::str::from_utf8(value).ok(),
            b":authority" | b"host" => authority = std::str::from_utf8(value).ok(),
            _ => {
                let (name, value) = field(name, value).unzip();
                let name = name.filter(|name| !is_framing(name.as_str()));
                if let (Some(name), Some(value)) = (name, value) {
                    headers.try_append(name, value).ok()?;
                }
            }
        }
    }
    Some(Call {
        method: method?,
        path: path.filter(|path| path.starts_with('/'))?.to_owned(),
        authority: authority?.to_owned(),
        headers,
        body,
        timeout: bounded(timeout_ms),
        reply_bytes_max: REPLY_BYTES_MAX,
        trace: None,
    })
}

/// The time that a call may take to which a guest gives this. As in Envoy, no time is all the time there
/// is.
pub(super) fn bounded(timeout_ms: u32) -> Duration {
    match timeout_ms {
        0 => TIMEOUT_MAX,
        some => Duration::from_millis(some.into()).min(TIMEOUT_MAX),
    }
}

/// Counts one more call for who is on stage, if there may be one: the inbox of the request, unless it is
/// the plugin, and the call's number.
pub(super) fn admit(state: &mut State) -> Result<(Option<Arc<Inbox>>, u32), Status> {
    let inbox = state.inbox(state.context());
    let may = match &inbox {
        Some(inbox) => inbox.begin(),
        None => state.root_calls < ROOT_CALLS_MAX,
    };
    if !may {
        return Err(Status::Internal);
    }
    state.root_calls += usize::from(inbox.is_none());
    Ok((inbox, state.next_call()))
}

/// Sends the call; returns its number.
fn begin(state: &mut State, upstream: &str, call: Call) -> Result<u32, Status> {
    if state.is_trial() {
        return Ok(state.next_call());
    }
    if state.plugin.host.background.is_none() {
        return Err(Status::Internal);
    }
    let (inbox, number) = admit(state)?;
    if state.is_at_work() {
        send(state, upstream, call, number, inbox);
    } else {
        state.deferred_calls.push((number, upstream.into(), call));
    }
    Ok(number)
}

/// Sends the call with this number, for the request that the inbox belongs to or for the plugin.
pub(in crate::wasm) fn send(
    state: &State,
    upstream: &str,
    call: Call,
    number: u32,
    inbox: Option<Arc<Inbox>>,
) {
    let Some(background) = &state.plugin.host.background else { return };
    let reply = state.plugin.host.calls.call(upstream, call);
    let (slot, generation) = (state.slot.clone(), state.generation);
    background.spawn(async move {
        let mut arrival = Arrival::Http(reply.await);
        let is_root = inbox.is_none();
        if let Some(inbox) = inbox {
            match inbox.reply(number, arrival) {
                None => return,
                Some(back) => arrival = back,
            }
        }
        if let Some(slot) = slot.upgrade() {
            slot.deliver(generation, number, arrival, is_root);
        }
    });
}

impl ReplyShown {
    /// A response as a guest sees it.
    pub(in crate::wasm) fn new(reply: Reply) -> Self {
        let Reply { status, headers, body } = reply;
        Self { status: status.as_str().to_owned(), headers, body }
    }
}
