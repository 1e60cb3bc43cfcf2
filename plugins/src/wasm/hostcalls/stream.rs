//! What a guest has done with its request: contexts, local responses, and letting go.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use wasmtime::Linker;

use super::MODULE;
use crate::filter::Answer;
use crate::wasm::abi::{Fault, ROOT, Status, answer};
use crate::wasm::fields::{field, is_framing, may_have_body};
use crate::wasm::guest::{Guest, Out, Span, give, split, write_number};
use crate::wasm::maps;
use crate::wasm::scene::Control;
use crate::wasm::state::State;

/// Fields of a local response.
const FIELDS_MAX: usize = 100;

/// The body of one: it is made in the guest's memory, whole.
const BODY_BYTES_MAX: usize = 4 << 20;

pub(super) fn define(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "proxy_send_local_response",
        |mut guest: Guest<'_>,
         status: u32,
         _details: u32,
         _details_size: u32,
         at: u32,
         size: u32,
         fields: u32,
         fields_size: u32,
         _grpc_status: u32| {
            let fields = Span { at: fields, size: fields_size };
            answer(respond(&mut guest, status, Span { at, size }, fields))
        },
    )?;
    linker.func_wrap(MODULE, "proxy_continue_stream", |mut guest: Guest<'_>, kind: u32| {
        answer(of_request(guest.data_mut(), kind, |control| control.go_on = true))
    })?;
    linker.func_wrap(MODULE, "proxy_close_stream", |mut guest: Guest<'_>, kind: u32| {
        answer(of_request(guest.data_mut(), kind, |control| control.closed = true))
    })?;
    // Of ABI 0.1.0.
    for (name, kind) in [("proxy_continue_request", 0), ("proxy_continue_response", 1)] {
        linker.func_wrap(MODULE, name, move |mut guest: Guest<'_>| {
            answer(of_request(guest.data_mut(), kind, |control| control.go_on = true))
        })?;
    }
    linker.func_wrap(MODULE, "proxy_set_effective_context", |mut guest: Guest<'_>, id: u32| {
        answer(choose(guest.data_mut(), id))
    })?;
    linker
        .func_wrap(MODULE, "proxy_done", |mut guest: Guest<'_>| answer(done(guest.data_mut())))?;
    linker.func_wrap(
        MODULE,
        "proxy_get_status",
        |mut guest: Guest<'_>, code: u32, at: u32, size: u32| {
            answer(status(&mut guest, code, Out { at, size }))
        },
    )?;
    Ok(())
}

/// Notes what the guest wants for the request in question, on stage or waiting.
fn control(state: &mut State, change: impl FnOnce(&mut Control)) -> Result<(), Status> {
    if let Ok(scene) = state.on_stage() {
        change(&mut scene.control);
        return Ok(());
    }
    let stream = state.context();
    // One that does not wait is on its way already.
    if let Some(Some(inbox)) = state.streams.get(&stream) {
        inbox.control(change);
    }
    Ok(())
}

fn of_request(
    state: &mut State,
    kind: u32,
    change: impl FnOnce(&mut Control),
) -> Result<(), Fault> {
    match kind {
        0 | 1 => Ok(control(state, change)?),
        2 | 3 => Err(Status::Unimplemented.into()),
        _ => Err(Status::BadArgument.into()),
    }
}

fn respond(guest: &mut Guest<'_>, status: u32, body: Span, fields: Span) -> Result<(), Fault> {
    let (memory, state) = split(guest)?;
    let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let status = status.filter(|status| !status.is_informational()).ok_or(Status::BadArgument)?;
    let pairs = maps::read(fields.of(memory)?).ok_or(Status::BadArgument)?;
    let body = body.of(memory)?;
    if body.len() > BODY_BYTES_MAX {
        return Err(Status::BadArgument.into());
    }
    let body = if may_have_body(status) { Bytes::copy_from_slice(body) } else { Bytes::new() };
    let fields = pairs.into_iter().filter_map(|(name, value)| field(name, value));
    let fields = fields.filter(|(name, _)| !is_framing(name.as_str())).take(FIELDS_MAX);
    let mut headers: Vec<_> = fields.collect();
    if !body.is_empty() && !headers.iter().any(|(name, _)| name == header::CONTENT_TYPE) {
        headers.push((header::CONTENT_TYPE, HeaderValue::from_static("text/plain")));
    }
    let reason = "wasm_answer";
    let answer = Answer { status, headers, body, reason, is_plain_error: false };
    Ok(control(state, |control| control.answer = Some(Box::new(answer)))?)
}

fn choose(state: &mut State, id: u32) -> Result<(), Fault> {
    if id != ROOT && !state.streams.contains_key(&id) && !state.ending.contains(&id) {
        return Err(Status::BadArgument.into());
    }
    state.effective = id;
    Ok(())
}

fn done(state: &mut State) -> Result<(), Fault> {
    let id = state.context();
    if !state.ending.remove(&id) {
        return Err(Status::NotFound.into());
    }
    state.ended.push(id);
    Ok(())
}

fn status(guest: &mut Guest<'_>, code_at: u32, out: Out) -> Result<(), Fault> {
    let (code, message) = guest.data().call_status.clone();
    write_number(guest, code_at, code)?;
    give(guest, message.as_bytes(), out)
}
