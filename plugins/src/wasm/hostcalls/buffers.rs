//! Buffers: bodies and configurations.

use wasmtime::Linker;

use super::MODULE;
use crate::wasm::abi::{BufferKind, Fault, Status, answer};
use crate::wasm::guest::{Guest, Out, Span, give, room, split, write, write_number};
use crate::wasm::scene::Phase;
use crate::wasm::state::State;

/// What a guest may make of a body that is shorter: what it may hold back, with room to grow.
const BODY_BYTES_MAX: usize = 4 << 20;

pub(super) fn define(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "proxy_get_buffer_bytes",
        |mut guest: Guest<'_>, kind: u32, start: u32, most: u32, at: u32, size: u32| {
            answer(bytes(&mut guest, kind, start, most, Out { at, size }))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_set_buffer_bytes",
        |mut guest: Guest<'_>, kind: u32, start: u32, length: u32, at: u32, size: u32| {
            answer(set_bytes(&mut guest, kind, start, length, Span { at, size }))
        },
    )?;
    // Of ABI 0.1.0: the configuration in question.
    linker.func_wrap(
        MODULE,
        "proxy_get_configuration",
        |mut guest: Guest<'_>, at: u32, size: u32| {
            let settings = &guest.data().plugin.settings;
            let bytes = match guest.data().vm_is_starting {
                true => settings.vm_configuration.clone(),
                false => settings.configuration.clone(),
            };
            answer(give(&mut guest, &bytes, Out { at, size }))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_get_buffer_status",
        |mut guest: Guest<'_>, kind: u32, size: u32, flags: u32| {
            answer(status(&mut guest, kind, size, flags))
        },
    )?;
    Ok(())
}

/// The buffer, where there is one.
fn buffer(state: &State, kind: BufferKind) -> Result<&[u8], Status> {
    let scene = &state.scene;
    let on_stage = scene.stream != 0 && scene.stream == state.context();
    let body = |phase| (on_stage && scene.phase == phase).then(|| scene.body.bytes());
    match kind {
        BufferKind::RequestBody => body(Phase::RequestBody),
        BufferKind::ResponseBody => body(Phase::ResponseBody),
        BufferKind::CallBody => state.reply.as_ref().map(|reply| &*reply.body),
        BufferKind::GrpcMessage => state.shown.message.as_deref(),
        BufferKind::VmConfiguration => Some(&*state.plugin.settings.vm_configuration),
        BufferKind::PluginConfiguration => Some(&*state.plugin.settings.configuration),
        BufferKind::Absent => None,
    }
    .ok_or(Status::NotFound)
}

fn part(state: &State, kind: BufferKind, start: u32, most: u32) -> Result<&[u8], Status> {
    let all = buffer(state, kind)?;
    let start = (start as usize).min(all.len());
    let end = start.saturating_add(most as usize).min(all.len());
    Ok(&all[start..end])
}

fn bytes(guest: &mut Guest<'_>, kind: u32, start: u32, most: u32, out: Out) -> Result<(), Fault> {
    let kind = BufferKind::from_number(kind)?;
    let size = part(guest.data(), kind, start, most)?.len();
    if size == 0 {
        return give(guest, &[], out);
    }
    let at = room(guest, size, out)?;
    let (memory, state) = split(guest)?;
    Ok(write(memory, at, part(state, kind, start, most)?)?)
}

fn set_bytes(
    guest: &mut Guest<'_>,
    kind: u32,
    start: u32,
    length: u32,
    data: Span,
) -> Result<(), Fault> {
    let kind = BufferKind::from_number(kind)?;
    let (memory, state) = split(guest)?;
    let data = data.of(memory)?;
    let size = buffer(state, kind)?.len();
    if !matches!(kind, BufferKind::RequestBody | BufferKind::ResponseBody) {
        return Err(Status::BadArgument.into());
    }
    let (start, length) = (start as usize, length as usize);
    let replaced = length.min(size.saturating_sub(start));
    if size - replaced + data.len() > size.max(BODY_BYTES_MAX) {
        return Err(Status::Internal.into());
    }
    state.scene.body.splice(start, length, data);
    Ok(())
}

fn status(guest: &mut Guest<'_>, kind: u32, size: u32, flags: u32) -> Result<(), Fault> {
    let bytes = buffer(guest.data(), BufferKind::from_number(kind)?)?.len();
    write_number(guest, size, u32::try_from(bytes).unwrap_or(u32::MAX))?;
    Ok(write_number(guest, flags, 0)?)
}
