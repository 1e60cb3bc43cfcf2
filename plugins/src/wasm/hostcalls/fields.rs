//! Maps of fields.

use http::HeaderMap;
use wasmtime::Linker;

use super::MODULE;
use crate::wasm::abi::{Fault, MapKind, Status, answer};
use crate::wasm::fields::{Message, joined};
use crate::wasm::guest::{Guest, Out, Span, give, room, split, write_number};
use crate::wasm::maps;
use crate::wasm::state::State;

pub(super) fn define(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "proxy_get_header_map_size",
        |mut guest: Guest<'_>, kind: u32, out: u32| answer(size(&mut guest, kind, out)),
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_get_header_map_pairs",
        |mut guest: Guest<'_>, kind: u32, at: u32, size: u32| {
            answer(pairs(&mut guest, kind, Out { at, size }))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_set_header_map_pairs",
        |mut guest: Guest<'_>, kind: u32, at: u32, size: u32| {
            answer(set_pairs(&mut guest, kind, Span { at, size }))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_get_header_map_value",
        |mut guest: Guest<'_>, kind: u32, at: u32, size: u32, value: u32, value_size: u32| {
            let out = Out { at: value, size: value_size };
            answer(value_of(&mut guest, kind, Span { at, size }, out))
        },
    )?;
    for (name, add) in
        [("proxy_add_header_map_value", true), ("proxy_replace_header_map_value", false)]
    {
        linker.func_wrap(
            MODULE,
            name,
            move |mut guest: Guest<'_>,
                  kind: u32,
                  at: u32,
                  size: u32,
                  value: u32,
                  value_size: u32| {
                let value = Span { at: value, size: value_size };
                answer(write(&mut guest, kind, Span { at, size }, value, add))
            },
        )?;
    }
    linker.func_wrap(
        MODULE,
        "proxy_remove_header_map_value",
        |mut guest: Guest<'_>, kind: u32, at: u32, size: u32| {
            answer(remove(&mut guest, kind, Span { at, size }))
        },
    )?;
    Ok(())
}

/// The message on stage that a map is of.
fn message(state: &State, kind: MapKind) -> Option<Message> {
    let scene = &state.scene;
    if scene.stream == 0 || scene.stream != state.context() {
        return None;
    }
    match kind {
        MapKind::Request => Some(Message::Request),
        MapKind::Response if scene.has_response => Some(Message::Response),
        MapKind::ResponseTrailers if scene.phase == crate::wasm::scene::Phase::ResponseTrailers => {
            Some(Message::Trailers)
        }
        _ => None,
    }
}

/// What a call of gRPC has told, while the guest is told of it.
fn shown(state: &State, kind: MapKind) -> Option<&HeaderMap> {
    match kind {
        MapKind::GrpcInitial => state.shown.initial.as_ref(),
        MapKind::GrpcTrailing => state.shown.trailing.as_ref(),
        _ => None,
    }
}

/// Shows `see` every field of a map; there are none where the map is not on stage.
fn each(state: &State, kind: MapKind, mut see: impl FnMut(&[u8], &[u8])) {
    if kind == MapKind::CallHeaders {
        let Some(reply) = &state.reply else { return };
        see(b":status", reply.status.as_bytes());
        each_of(&reply.headers, see);
    } else if let Some(headers) = shown(state, kind) {
        each_of(headers, see);
    } else if let Some(message) = message(state, kind) {
        state.scene.each(message, see);
    }
}

fn each_of(headers: &HeaderMap, mut see: impl FnMut(&[u8], &[u8])) {
    for (name, value) in headers {
        see(name.as_str().as_bytes(), value.as_bytes());
    }
}

/// The number of fields, and the bytes that they take as a map.
fn measure(state: &State, kind: MapKind) -> (usize, usize) {
    let (mut count, mut bytes) = (0, 0);
    each(state, kind, |key, value| {
        count += 1;
        bytes += key.len() + value.len();
    });
    (count, maps::size(count, bytes))
}

fn size(guest: &mut Guest<'_>, kind: u32, out: u32) -> Result<(), Fault> {
    let (_, size) = measure(guest.data(), MapKind::from_number(kind)?);
    Ok(write_number(guest, out, u32::try_from(size).unwrap_or(u32::MAX))?)
}

fn pairs(guest: &mut Guest<'_>, kind: u32, out: Out) -> Result<(), Fault> {
    let kind = MapKind::from_number(kind)?;
    let (count, size) = measure(guest.data(), kind);
    let at = room(guest, size, out)? as usize;
    let (memory, state) = split(guest)?;
    let place = memory.get_mut(at..at + size).ok_or(Status::BadMemory)?;
    let mut writer = maps::Writer::new(place, count);
    each(state, kind, |key, value| writer.pair(key, value));
    Ok(())
}

fn set_pairs(guest: &mut Guest<'_>, kind: u32, span: Span) -> Result<(), Fault> {
    let kind = MapKind::from_number(kind)?;
    let (memory, state) = split(guest)?;
    let pairs = maps::read(span.of(memory)?).ok_or(Status::BadArgument)?;
    let message = message(state, kind).ok_or(Status::BadArgument)?;
    state.scene.write_all(message, &pairs);
    Ok(())
}

fn value_of(guest: &mut Guest<'_>, kind: u32, name: Span, out: Out) -> Result<(), Fault> {
    let kind = MapKind::from_number(kind)?;
    let (memory, state) = split(guest)?;
    let name = name.of(memory)?;
    let value = match (kind, &state.reply) {
        (MapKind::CallHeaders, Some(reply)) if name == b":status" => {
            http::HeaderValue::from_str(&reply.status).ok()
        }
        (MapKind::CallHeaders, Some(reply)) => joined(&reply.headers, name),
        (MapKind::GrpcInitial | MapKind::GrpcTrailing, _) => {
            shown(state, kind).and_then(|headers| joined(headers, name))
        }
        _ => message(state, kind).and_then(|message| state.scene.field(message, name)),
    };
    let value = value.ok_or(Status::NotFound)?;
    give(guest, value.as_bytes(), out)
}

fn write(
    guest: &mut Guest<'_>,
    kind: u32,
    name: Span,
    value: Span,
    add: bool,
) -> Result<(), Fault> {
    let kind = MapKind::from_number(kind)?;
    let (memory, state) = split(guest)?;
    let (name, value) = (name.of(memory)?, value.of(memory)?);
    let message = message(state, kind).ok_or(Status::BadArgument)?;
    let written = state.scene.write(message, name, value, add);
    // Some SDKs take it for the end of the world.
    state.field_refused |= written.is_err();
    Ok(written?)
}

fn remove(guest: &mut Guest<'_>, kind: u32, name: Span) -> Result<(), Fault> {
    let kind = MapKind::from_number(kind)?;
    let (memory, state) = split(guest)?;
    let name = name.of(memory)?;
    let message = message(state, kind).ok_or(Status::BadArgument)?;
    state.scene.remove(message, name);
    Ok(())
}
