//! Shared data and queues.

use wasmtime::Linker;

use super::MODULE;
use crate::wasm::abi::{Fault, answer};
use crate::wasm::guest::{Guest, Out, Span, give, split, write_number};
use crate::wasm::queues::Queues;
use crate::wasm::shared::Shared;
use crate::wasm::state::State;

pub(super) fn define(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "proxy_get_shared_data",
        |mut guest: Guest<'_>, at: u32, size: u32, value: u32, value_size: u32, version: u32| {
            let out = Out { at: value, size: value_size };
            answer(shared(&mut guest, Span { at, size }, out, version))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_set_shared_data",
        |mut guest: Guest<'_>, at: u32, size: u32, value: u32, value_size: u32, version: u32| {
            let value = Span { at: value, size: value_size };
            answer(set_shared(&mut guest, Span { at, size }, value, version))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_register_shared_queue",
        |mut guest: Guest<'_>, at: u32, size: u32, out: u32| {
            answer(register(&mut guest, Span { at, size }, out))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_resolve_shared_queue",
        |mut guest: Guest<'_>, vm: u32, vm_size: u32, at: u32, size: u32, out: u32| {
            let vm = Span { at: vm, size: vm_size };
            answer(resolve(&mut guest, vm, Span { at, size }, out))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_enqueue_shared_queue",
        |mut guest: Guest<'_>, queue: u32, at: u32, size: u32| {
            answer(enqueue(&mut guest, queue, Span { at, size }))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_dequeue_shared_queue",
        |mut guest: Guest<'_>, queue: u32, at: u32, size: u32| {
            answer(dequeue(&mut guest, queue, Out { at, size }))
        },
    )?;
    Ok(())
}

fn shared(guest: &mut Guest<'_>, key: Span, out: Out, version_at: u32) -> Result<(), Fault> {
    let (memory, state) = split(guest)?;
    let vm_id = &state.plugin.settings.vm_id;
    let (value, version) = Shared::of_process().value(vm_id, key.of(memory)?)?;
    give(guest, &value, out)?;
    Ok(write_number(guest, version_at, version)?)
}

fn set_shared(guest: &mut Guest<'_>, key: Span, value: Span, version: u32) -> Result<(), Fault> {
    let (memory, state) = split(guest)?;
    let (key, value) = (key.of(memory)?, value.of(memory)?);
    // A trial must not change what others see.
    if state.is_trial() {
        return Ok(());
    }
    Ok(Shared::of_process().set(&state.plugin.settings.vm_id, key, value, version)?)
}

fn register(guest: &mut Guest<'_>, name: Span, out: u32) -> Result<(), Fault> {
    let (memory, state) = split(guest)?;
    let name = name.of(memory)?;
    state.wakes = true;
    let number = if state.is_trial() {
        1
    } else {
        let vm_id = &state.plugin.settings.vm_id;
        let mut queues = Queues::of_process();
        let number = queues.open(vm_id, name)?;
        if state.is_at_work() {
            queues.read(number, state.slot.clone());
        } else if !state.queues.contains(&number) {
            state.queues.push(number);
        }
        number
    };
    Ok(write_number(guest, out, number)?)
}

fn resolve(guest: &mut Guest<'_>, vm_id: Span, name: Span, out: u32) -> Result<(), Fault> {
    let (memory, _) = split(guest)?;
    let vm_id = String::from_utf8_lossy(vm_id.of(memory)?);
    let number = Queues::of_process().resolve(&vm_id, name.of(memory)?)?;
    Ok(write_number(guest, out, number)?)
}

fn enqueue(guest: &mut Guest<'_>, queue: u32, item: Span) -> Result<(), Fault> {
    let (memory, state) = split(guest)?;
    let item = item.of(memory)?;
    if state.is_trial() {
        return Ok(());
    }
    let reader = Queues::of_process().enqueue(queue, item)?;
    if let Some(reader) = reader.upgrade() {
        reader.queue_ready_later(queue);
    }
    Ok(())
}

fn dequeue(guest: &mut Guest<'_>, queue: u32, out: Out) -> Result<(), Fault> {
    let item = Queues::of_process().dequeue(queue)?;
    give(guest, &item, out)
}
