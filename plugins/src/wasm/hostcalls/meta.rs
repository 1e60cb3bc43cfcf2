//! Logging.

use std::time::Instant;

use tracing::level_filters::LevelFilter;
use wasmtime::Linker;

use super::MODULE;
use crate::wasm::abi::{Fault, Status, answer};
use crate::wasm::guest::{Guest, Span, split, write_number};
use crate::wasm::lines::Fate;
use crate::wasm::state::State;

/// The longest line that is logged; the rest of it is cut off.
const LINE_BYTES_MAX: usize = 8 << 10;

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

/// The text on one line: what a guest passes on of a client's words must not look like another
/// line of the log.
fn one_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut line = String::with_capacity(text.len());
    for character in text.trim_end().chars() {
        match character {
            '\t' => line.push(character),
            _ if character.is_control() => line.extend(character.escape_default()),
            _ => line.push(character),
        }
    }
    line
}

/// Logs a line of the guest's.
pub(in crate::wasm) fn log(state: &State, level: u32, line: &[u8]) -> Result<(), Status> {
    // What nobody will see is not made into text.
    if level < shown() {
        return Ok(());
    }
    let filter = &*state.plugin.name;
    match state.plugin.lines.admit(Instant::now()) {
        Fate::Logged { left_out: 0 } => {}
        Fate::Logged { left_out } => {
            tracing::warn!(filter, left_out, "lines of a WebAssembly filter were left out");
        }
        Fate::LeftOut => {
            state.plugin.counters.lines_left_out.inc();
            return Ok(());
        }
    }
    let line = one_line(&line[..line.len().min(LINE_BYTES_MAX)]);
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

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn a_guest_writes_one_line_at_a_time() {
        assert_eq!(one_line(b"a\r\n2026 ERROR forged\n"), "a\\r\\n2026 ERROR forged");
        assert_eq!(one_line(b"\x1b[31mred\tand \xc3\xa9\0"), "\\u{1b}[31mred\tand \u{e9}\\u{0}");
    }
}
