//! Calls of gRPC to upstreams of the gateway that speak HTTP/2.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use wasmtime::{ExternType, Linker, Module, Val};

use super::MODULE;
use super::calls::{admit, bounded, granted};
use crate::host::GrpcCall;
use crate::wasm::abi::{Fault, Status, answer};
use crate::wasm::fields::{field, is_framing};
use crate::wasm::grpc::{Talk, Teller};
use crate::wasm::guest::{Guest, Span, copy, split, write_number};
use crate::wasm::maps;
use crate::wasm::state::State;

/// The longest message in either direction.
const MESSAGE_BYTES_MAX: u32 = 4 << 20;

/// Messages of a stream that wait for their origin.
const MESSAGES_MAX: usize = 4;

/// What has come of a call and was not told yet.
const EVENTS_MAX: usize = 1;

/// What the names of these functions begin with.
const PREFIX: &str = "proxy_grpc_";

pub(super) fn define(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "proxy_grpc_call",
        |mut guest: Guest<'_>,
         upstream: u32,
         upstream_size: u32,
         service: u32,
         service_size: u32,
         method: u32,
         method_size: u32,
         metadata: u32,
         metadata_size: u32,
         message: u32,
         message_size: u32,
         timeout_ms: u32,
         out: u32| {
            let spans = [
                (upstream, upstream_size),
                (service, service_size),
                (method, method_size),
                (metadata, metadata_size),
            ];
            let message = Span { at: message, size: message_size };
            answer(call(&mut guest, spans.map(span), message, timeout_ms, out))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_grpc_stream",
        |mut guest: Guest<'_>,
         upstream: u32,
         upstream_size: u32,
         service: u32,
         service_size: u32,
         method: u32,
         method_size: u32,
         metadata: u32,
         metadata_size: u32,
         out: u32| {
            let spans = [
                (upstream, upstream_size),
                (service, service_size),
                (method, method_size),
                (metadata, metadata_size),
            ];
            answer(stream(&mut guest, spans.map(span), out))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_grpc_send",
        |mut guest: Guest<'_>, number: u32, at: u32, size: u32, end: u32| {
            answer(send(&mut guest, number, Span { at, size }, end != 0))
        },
    )?;
    linker.func_wrap(MODULE, "proxy_grpc_close", |mut guest: Guest<'_>, number: u32| {
        answer(close(guest.data_mut(), number).map_err(Fault::from))
    })?;
    linker.func_wrap(MODULE, "proxy_grpc_cancel", |mut guest: Guest<'_>, number: u32| {
        answer(cancel(guest.data_mut(), number).map_err(Fault::from))
    })?;
    Ok(())
}

fn span((at, size): (u32, u32)) -> Span {
    Span { at, size }
}

/// Defines what `module` imports of gRPC in the form of another version of the ABI: the calls of
/// 0.1.0, which have no metadata, and for the rest an answer that there is no such function.
pub(in crate::wasm) fn define_old(
    linker: &mut Linker<State>,
    module: &Module,
) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    for import in module.imports() {
        let ExternType::Func(kind) = import.ty() else { continue };
        if import.module() != MODULE || !import.name().starts_with(PREFIX) {
            continue;
        }
        let params = kind.params().len();
        match (import.name(), params) {
            ("proxy_grpc_call", 12)
            | ("proxy_grpc_stream", 9)
            | ("proxy_grpc_send", 4)
            | ("proxy_grpc_close" | "proxy_grpc_cancel", 1) => {}
            ("proxy_grpc_call", 10) => define_old_call(linker)?,
            ("proxy_grpc_stream", 7) => define_old_stream(linker)?,
            _ => {
                let answers = kind.results().len() == 1;
                linker.func_new(MODULE, import.name(), kind, move |_, _, results| {
                    if answers {
                        results[0] = Val::I32(Status::Unimplemented as i32);
                    }
                    Ok(())
                })?;
            }
        }
    }
    Ok(())
}

fn define_old_call(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "proxy_grpc_call",
        |mut guest: Guest<'_>,
         upstream: u32,
         upstream_size: u32,
         service: u32,
         service_size: u32,
         method: u32,
         method_size: u32,
         message: u32,
         message_size: u32,
         timeout_ms: u32,
         out: u32| {
            let spans =
                [(upstream, upstream_size), (service, service_size), (method, method_size), (0, 0)];
            let message = Span { at: message, size: message_size };
            answer(call(&mut guest, spans.map(span), message, timeout_ms, out))
        },
    )?;
    Ok(())
}

fn define_old_stream(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "proxy_grpc_stream",
        |mut guest: Guest<'_>,
         upstream: u32,
         upstream_size: u32,
         service: u32,
         service_size: u32,
         method: u32,
         method_size: u32,
         out: u32| {
            let spans =
                [(upstream, upstream_size), (service, service_size), (method, method_size), (0, 0)];
            answer(stream(&mut guest, spans.map(span), out))
        },
    )?;
    Ok(())
}

fn call(
    guest: &mut Guest<'_>,
    spans: [Span; 4],
    message: Span,
    timeout_ms: u32,
    out: u32,
) -> Result<(), Fault> {
    if message.size > MESSAGE_BYTES_MAX {
        return Err(Status::BadArgument.into());
    }
    let message = copy(guest, message)?;
    begin(guest, spans, Some((message.into(), bounded(timeout_ms))), out)
}

/// Begins a stream, which may last as long as the request or the VM that it was begun for.
fn stream(guest: &mut Guest<'_>, spans: [Span; 4], out: u32) -> Result<(), Fault> {
    begin(guest, spans, None, out)
}

/// Begins a call with this message and time, or a stream.
fn begin(
    guest: &mut Guest<'_>,
    [upstream, service, method, metadata]: [Span; 4],
    only: Option<(Bytes, Duration)>,
    out: u32,
) -> Result<(), Fault> {
    // Whether the number can be told shows before the call begins.
    write_number(guest, out, 0)?;
    let (memory, state) = split(guest)?;
    let upstream = granted(state, upstream.of(memory)?)?;
    let path = path(service.of(memory)?, method.of(memory)?).ok_or(Status::BadArgument)?;
    let metadata = fields(metadata.of(memory)?).ok_or(Status::BadArgument)?;
    let (messages, received) = mpsc::channel(MESSAGES_MAX);
    let (only, timeout) = only.unzip();
    let is_stream = only.is_none();
    if let Some(message) = only {
        // There is room for the first.
        messages.try_send(message).map_err(|_| Status::Internal)?;
    }
    let on_stage = state.scene.stream != 0 && state.scene.stream == state.context();
    let call = GrpcCall {
        path,
        metadata,
        timeout,
        messages: received,
        message_bytes_max: MESSAGE_BYTES_MAX as usize,
        trace: state.scene.place.trace.filter(|_| on_stage),
    };
    let number = talk(state, &upstream, call, is_stream.then_some(messages))?;
    Ok(write_number(guest, out, number)?)
}

fn path(service: &[u8], method: &[u8]) -> Option<String> {
    let [service, method] = [service, method].map(std::str::from_utf8);
    let path = format!("/{}/{}", service.ok()?, method.ok()?);
    let read: PathAndQuery = path.parse().ok()?;
    (read.query().is_none() && read.path() == path).then_some(path)
}

/// What a guest says in the head besides what frames the request.
fn fields(bytes: &[u8]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    if bytes.is_empty() {
        return Some(headers);
    }
    for (name, value) in maps::read(bytes)? {
        let (Some(name), Some(value)) = field(name, value).unzip() else { continue };
        let is_ours = matches!(name.as_str(), "content-type" | "grpc-timeout" | "host");
        if !is_framing(name.as_str()) && !is_ours {
            headers.try_append(name, value).ok()?;
        }
    }
    Some(headers)
}

/// Sends the call; returns its number.
fn talk(
    state: &mut State,
    upstream: &str,
    call: GrpcCall,
    messages: Option<mpsc::Sender<Bytes>>,
) -> Result<u32, Status> {
    if state.is_trial() {
        return Ok(state.next_call());
    }
    // A VM that starts has nobody yet who could tell it of anything.
    let background = state.plugin.host.background.clone().filter(|_| state.is_at_work());
    let background = background.ok_or(Status::Internal)?;
    let context = state.context();
    let (inbox, number) = admit(state)?;
    let (slot, generation) = (state.slot.clone(), state.generation);
    let teller = Teller { slot, generation, number, inbox: inbox.clone() };
    let (events, received) = mpsc::channel(EVENTS_MAX);
    let talking = state.plugin.host.calls.grpc(upstream, call, events);
    let is_stream = messages.is_some();
    let task = background.spawn(async move {
        match is_stream {
            true => teller.stream(talking, received).await,
            false => teller.call(talking, received).await,
        }
    });
    let task = task.abort_handle();
    state.talks.insert(number, Talk { context, is_stream, messages, inbox, task });
    Ok(number)
}

fn send(guest: &mut Guest<'_>, number: u32, message: Span, end: bool) -> Result<(), Fault> {
    if message.size > MESSAGE_BYTES_MAX {
        return Err(Status::BadArgument.into());
    }
    let message = copy(guest, message)?;
    let talk = guest.data_mut().talks.get_mut(&number).ok_or(Status::NotFound)?;
    let messages = talk.messages.as_ref().ok_or(Status::BadArgument)?;
    messages.try_send(message.into()).map_err(|_| Status::Internal)?;
    if end {
        talk.messages = None;
    }
    Ok(())
}

/// Ends a stream's own direction, or cancels a call.
fn close(state: &mut State, number: u32) -> Result<(), Status> {
    let talk = state.talks.get_mut(&number).ok_or(Status::NotFound)?;
    if talk.is_stream {
        talk.messages = None;
        return Ok(());
    }
    cancel(state, number)
}

fn cancel(state: &mut State, number: u32) -> Result<(), Status> {
    if state.forget_talk(number) { Ok(()) } else { Err(Status::NotFound) }
}
