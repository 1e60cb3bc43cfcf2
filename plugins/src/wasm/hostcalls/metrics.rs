//! Metrics.

use wasmtime::Linker;

use super::MODULE;
use crate::wasm::abi::{Fault, answer};
use crate::wasm::guest::{Guest, Span, split, write, write_number};
use crate::wasm::state::State;

pub(super) fn define(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "proxy_define_metric",
        |mut guest: Guest<'_>, kind: u32, at: u32, size: u32, out: u32| {
            answer(define_metric(&mut guest, kind, Span { at, size }, out))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_record_metric",
        |guest: Guest<'_>, metric: u32, value: u64| {
            answer(guest.data().plugin.gauges.record(metric, value).map_err(Fault::from))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_increment_metric",
        |guest: Guest<'_>, metric: u32, offset: i64| {
            answer(guest.data().plugin.gauges.increment(metric, offset).map_err(Fault::from))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_get_metric",
        |mut guest: Guest<'_>, metric: u32, out: u32| answer(value(&mut guest, metric, out)),
    )?;
    Ok(())
}

fn define_metric(guest: &mut Guest<'_>, kind: u32, name: Span, out: u32) -> Result<(), Fault> {
    let (memory, state) = split(guest)?;
    let plugin = &state.plugin;
    let metrics = &plugin.host.metrics;
    let number = plugin.gauges.define(metrics, &plugin.name, kind, name.of(memory)?)?;
    Ok(write_number(guest, out, number)?)
}

fn value(guest: &mut Guest<'_>, metric: u32, out: u32) -> Result<(), Fault> {
    let value = guest.data().plugin.gauges.value(metric)?;
    let (memory, _) = split(guest)?;
    Ok(write(memory, out, &value.to_le_bytes())?)
}
