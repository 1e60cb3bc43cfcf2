//! Properties of the request and of the process.

use wasmtime::Linker;

use super::MODULE;
use crate::wasm::abi::{Fault, Status, answer};
use crate::wasm::guest::{Guest, Out, Span, give, split};
use crate::wasm::properties;
use crate::wasm::state::State;

pub(super) fn define(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "proxy_get_property",
        |mut guest: Guest<'_>, at: u32, size: u32, value: u32, value_size: u32| {
            let out = Out { at: value, size: value_size };
            answer(property(&mut guest, Span { at, size }, out))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_set_property",
        |mut guest: Guest<'_>, at: u32, size: u32, value: u32, value_size: u32| {
            let value = Span { at: value, size: value_size };
            answer(set_property(&mut guest, Span { at, size }, value))
        },
    )?;
    // Of ABI 0.1, where SDKs still import it: the route is never chosen anew.
    linker.func_wrap(MODULE, "proxy_clear_route_cache", |_: Guest<'_>| Status::Ok as u32)?;
    Ok(())
}

fn property(guest: &mut Guest<'_>, path: Span, out: Out) -> Result<(), Fault> {
    let (memory, state) = split(guest)?;
    let value = properties::value(state, path.of(memory)?).ok_or(Status::NotFound)?;
    give(guest, &value, out)
}

fn set_property(guest: &mut Guest<'_>, path: Span, value: Span) -> Result<(), Fault> {
    let (memory, state) = split(guest)?;
    let (path, value) = (path.of(memory)?, value.of(memory)?);
    Ok(properties::set(state, path, value)?)
}
