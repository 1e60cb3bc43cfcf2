//! Logging, and what there is not.

use tracing::level_filters::LevelFilter;
use wasmtime::{FuncType, Linker, Val, ValType};

use super::MODULE;
use crate::wasm::abi::{Fault, Status, answer};
use crate::wasm::guest::{Guest, Span, split, write_number};
use crate::wasm::state::State;

/// The longest line that is logged; the rest of it is cut off.
const LINE_BYTES_MAX: usize = 8 << 10;

/// Functions without an implementation, with the number of their parameters, all of 32 bits.
const MISSING: [(&str, usize); 6] = [
    ("proxy_grpc_call", 12),
    ("proxy_grpc_stream", 9),
    ("proxy_grpc_send", 4),
    ("proxy_grpc_cancel", 1),
    ("proxy_grpc_close", 1),
    ("proxy_call_foreign_function", 6),
];

pub(super) fn define(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "proxy_log",
        |mut guest: Guest<'_>, level: u32, at: u32, size: u32| {
            answer(write_log(&mut guest, level, Span { at, size }))
        },
    )?;
    linker.func_wrap(MODULE, "proxy_get_log_level", |mut guest: Guest<'_>, out: u32| {
        answer(write_number(&mut guest, out, shown()).map_err(Fault::from))
    })?;
    for (name, params) in MISSING {
        let params = std::iter::repeat_n(ValType::I32, params);
        let kind = FuncType::new(linker.engine(), params, [ValType::I32]);
        linker.func_new(MODULE, name, kind, |_, _, results| {
            results[0] = Val::I32(Status::Unimplemented as i32);
            Ok(())
        })?;
    }
    Ok(())
}

/// The least level that is shown.
fn shown() -> u32 {
    match LevelFilter::current() {
        LevelFilter::TRACE => 0,
        LevelFilter::DEBUG => 1,
        LevelFilter::INFO => 2,
        LevelFilter::WARN => 3,
        _ => 4,
    }
}

fn write_log(guest: &mut Guest<'_>, level: u32, text: Span) -> Result<(), Fault> {
    let (memory, state) = split(guest)?;
    Ok(log(state, level, text.of(memory)?)?)
}

/// Logs a line of the guest's.
pub(in crate::wasm) fn log(state: &State, level: u32, line: &[u8]) -> Result<(), Status> {
    // What nobody will see is not made into text.
    if level < shown() {
        return Ok(());
    }
    let line = &line[..line.len().min(LINE_BYTES_MAX)];
    let line = String::from_utf8_lossy(line);
    let (filter, line) = (&*state.plugin.name, line.trim_end());
    match level {
        0 => tracing::trace!(filter, "{line}"),
        1 => tracing::debug!(filter, "{line}"),
        2 => tracing::info!(filter, "{line}"),
        3 => tracing::warn!(filter, "{line}"),
        4 | 5 => tracing::error!(filter, "{line}"),
        _ => return Err(Status::BadArgument),
    }
    Ok(())
}
