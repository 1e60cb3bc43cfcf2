//! The time, and timers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use wasmtime::Linker;

use super::MODULE;
use crate::wasm::abi::{Fault, answer};
use crate::wasm::guest::{Guest, split, write};
use crate::wasm::slot::Slot;
use crate::wasm::state::State;

/// The shortest period of a timer: each VM has one, and each tick takes its thread's lock.
const PERIOD_MIN: Duration = Duration::from_millis(10);

pub(super) fn define(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "proxy_get_current_time_nanoseconds",
        |mut guest: Guest<'_>, out: u32| answer(now(&mut guest, out)),
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_set_tick_period_milliseconds",
        |mut guest: Guest<'_>, period_ms: u32| {
            set_timer(guest.data_mut(), period_ms);
            answer(Ok(()))
        },
    )?;
    Ok(())
}

/// Nanoseconds since 1970.
pub(in crate::wasm) fn nanoseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn now(guest: &mut Guest<'_>, out: u32) -> Result<(), Fault> {
    let (memory, _) = split(guest)?;
    Ok(write(memory, out, &nanoseconds().to_le_bytes())?)
}

fn set_timer(state: &mut State, period_ms: u32) {
    state.period = match period_ms {
        0 => Duration::ZERO,
        _ => Duration::from_millis(period_ms.into()).max(PERIOD_MIN),
    };
    state.wakes |= period_ms != 0;
    keep_time(state);
}

/// Has the VM's timer run as the guest has set it. A VM has one task for it, however often it is set.
pub(in crate::wasm) fn keep_time(state: &mut State) {
    let period = state.period;
    if let Some(timer) = &state.timer {
        timer.send_if_modified(|known| std::mem::replace(known, period) != period);
    } else if state.is_at_work()
        && !period.is_zero()
        && let Some(background) = &state.plugin.host.background
    {
        let (timer, periods) = watch::channel(period);
        let slot = state.slot.clone();
        background.spawn(Slot::keep_time(slot, state.generation, periods));
        state.timer = Some(timer);
    }
}
