//! What of WASI preview 1 a language's runtime needs to start: output to the log, the time, random
//! numbers and its environment. There are no files, no arguments and no sockets: all else answers that
//! it does not exist.

use std::io::Read;
use std::time::Instant;

use wasmtime::{ExternType, Linker, Module, Val};

use super::abi::Status;
use super::guest::{Guest, Span, split, write};
use super::hostcalls::{log, nanoseconds};
use super::state::State;

/// Where guests import it from; the older name is of programs for old toolchains.
const MODULES: [&str; 2] = ["wasi_snapshot_preview1", "wasi_unstable"];

/// Random bytes for one call.
const RANDOM_BYTES_MAX: u32 = 64 << 10;

/// Things to wait for in one call.
const SUBSCRIPTIONS_MAX: u32 = 256;

/// Pieces of one line of output.
const PIECES_MAX: u32 = 1024;

const SUCCESS: u32 = 0;
const BAD_FILE: u32 = 8;
const FAULT: u32 = 21;
const INVALID: u32 = 28;
const MISSING: i32 = 52;
const NOT_SUPPORTED: u32 = 58;

/// The guest has ended its program.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it exited with code {0}")]
pub(super) struct Exit(pub(super) u32);

/// Defines what there is.
pub(super) fn define(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    for module in MODULES {
        define_output(linker, module)?;
        define_sources(linker, module)?;
        linker.func_wrap(
            module,
            "proc_exit",
            |_: Guest<'_>, code: u32| -> wasmtime::Result<()> { Err(Exit(code).into()) },
        )?;
        linker.func_wrap(module, "sched_yield", |_: Guest<'_>| SUCCESS)?;
        linker.func_wrap(
            module,
            "poll_oneoff",
            |mut guest: Guest<'_>, asked: u32, events: u32, count: u32, out: u32| {
                if count == 0 || count > SUBSCRIPTIONS_MAX {
                    return INVALID;
                }
                errno(poll(&mut guest, asked, events, count, out))
            },
        )?;
        linker.func_wrap(module, "args_get", |_: Guest<'_>, _: u32, _: u32| SUCCESS)?;
        linker.func_wrap(
            module,
            "args_sizes_get",
            |mut guest: Guest<'_>, count: u32, bytes: u32| {
                errno(write_sizes(&mut guest, (count, 0), (bytes, 0)))
            },
        )?;
    }
    Ok(())
}

/// Lets what `module` imports of WASI besides answer that it does not exist.
pub(super) fn stub(linker: &mut Linker<State>, module: &Module) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let known = |name: &str| KNOWN.contains(&name);
    for import in module.imports() {
        let ExternType::Func(kind) = import.ty() else { continue };
        if !MODULES.contains(&import.module()) || known(import.name()) {
            continue;
        }
        // All of WASI answers with one number, or not at all.
        let answers = kind.results().len() == 1;
        linker.func_new(import.module(), import.name(), kind, move |_, _, results| {
            if answers {
                results[0] = Val::I32(MISSING);
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// The functions that [`define`] defines.
const KNOWN: [&str; 15] = [
    "args_get",
    "args_sizes_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_close",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_write",
    "poll_oneoff",
    "proc_exit",
    "random_get",
    "sched_yield",
];

fn define_output(linker: &mut Linker<State>, module: &str) -> wasmtime::Result<()> {
    linker.func_wrap(
        module,
        "fd_write",
        |mut guest: Guest<'_>, file: u32, pieces: u32, count: u32, out: u32| {
            let level = match file {
                1 => 2,
                2 => 4,
                _ => return BAD_FILE,
            };
            errno(output(&mut guest, level, pieces, count.min(PIECES_MAX), out))
        },
    )?;
    linker.func_wrap(module, "fd_fdstat_get", |mut guest: Guest<'_>, file: u32, out: u32| {
        if file > 2 {
            return BAD_FILE;
        }
        // All zero but the right to write, which is bit 6 of the second number.
        let mut state = [0; 24];
        state[8] = if file == 0 { 0 } else { 64 };
        errno(split(&mut guest).and_then(|(memory, _)| write(memory, out, &state)))
    })?;
    // The three files that every program has need no care; there are no others.
    linker.func_wrap(module, "fd_close", |_: Guest<'_>, file: u32| of_file(file))?;
    linker.func_wrap(module, "fd_fdstat_set_flags", |_: Guest<'_>, file: u32, _: u32| {
        of_file(file)
    })?;
    // A program looks for the folders that it was given from file 3 on until there are none: Go's
    // ends itself at every other answer.
    linker.func_wrap(module, "fd_prestat_get", |_: Guest<'_>, _: u32, _: u32| BAD_FILE)?;
    linker.func_wrap(module, "fd_prestat_dir_name", |_: Guest<'_>, _: u32, _: u32, _: u32| {
        BAD_FILE
    })?;
    Ok(())
}

fn of_file(file: u32) -> u32 {
    if file > 2 { BAD_FILE } else { SUCCESS }
}

/// Says of everything that is waited for that it has come. Nobody may sleep on a thread that serves
/// requests, and a runtime that looks whether its time has come goes by the clock.
fn poll(
    guest: &mut Guest<'_>,
    asked: u32,
    events: u32,
    count: u32,
    out: u32,
) -> Result<(), Status> {
    const ASKED: usize = 48;
    const EVENT: usize = 32;
    let (memory, _) = split(guest)?;
    let asked = Span { at: asked, size: count * ASKED as u32 }.of(memory)?.to_vec();
    let mut all = vec![0; count as usize * EVENT];
    for (asked, event) in asked.chunks_exact(ASKED).zip(all.chunks_exact_mut(EVENT)) {
        // The word that tells the guest which it is, and its type; no error.
        event[..8].copy_from_slice(&asked[..8]);
        event[10] = asked[8];
    }
    write(memory, events, &all)?;
    write(memory, out, &count.to_le_bytes())
}

fn define_sources(linker: &mut Linker<State>, module: &str) -> wasmtime::Result<()> {
    linker.func_wrap(
        module,
        "clock_time_get",
        |mut guest: Guest<'_>, clock: u32, _precision: u64, out: u32| {
            let time = match clock {
                0 => nanoseconds(),
                1 => monotonic(),
                _ => return NOT_SUPPORTED,
            };
            let time = time.to_le_bytes();
            errno(split(&mut guest).and_then(|(memory, _)| write(memory, out, &time)))
        },
    )?;
    linker.func_wrap(module, "random_get", |mut guest: Guest<'_>, at: u32, size: u32| {
        if size > RANDOM_BYTES_MAX {
            return INVALID;
        }
        errno(random(&mut guest, Span { at, size }))
    })?;
    linker.func_wrap(
        module,
        "environ_sizes_get",
        |mut guest: Guest<'_>, count: u32, bytes: u32| {
            let variables = &guest.data().plugin.settings.environment;
            let size = variables.iter().map(|variable| variable.len() + 1).sum();
            let number = variables.len();
            errno(write_sizes(&mut guest, (count, number), (bytes, size)))
        },
    )?;
    linker.func_wrap(module, "environ_get", |mut guest: Guest<'_>, list: u32, bytes: u32| {
        errno(environment(&mut guest, list, bytes))
    })?;
    Ok(())
}

fn errno(result: Result<(), Status>) -> u32 {
    if result.is_ok() { SUCCESS } else { FAULT }
}

fn write_sizes(
    guest: &mut Guest<'_>,
    count: (u32, usize),
    bytes: (u32, usize),
) -> Result<(), Status> {
    let (memory, _) = split(guest)?;
    for (at, number) in [count, bytes] {
        write(memory, at, &u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes())?;
    }
    Ok(())
}

/// Logs what the guest writes.
fn output(
    guest: &mut Guest<'_>,
    level: u32,
    pieces: u32,
    count: u32,
    out: u32,
) -> Result<(), Status> {
    let (memory, state) = split(guest)?;
    let list = Span { at: pieces, size: count * 8 }.of(memory)?;
    let mut line = Vec::new();
    for piece in list.chunks_exact(8) {
        let number = |at: usize| {
            let bytes = piece[at..at + 4].try_into().map_err(|_| Status::BadMemory);
            bytes.map(u32::from_le_bytes)
        };
        line.extend_from_slice(Span { at: number(0)?, size: number(4)? }.of(memory)?);
        // Guests may name the same memory a thousand times.
        if line.len() > memory.len() {
            return Err(Status::BadMemory);
        }
    }
    log(state, level, &line)?;
    write(memory, out, &u32::try_from(line.len()).unwrap_or(u32::MAX).to_le_bytes())
}

/// Time since the process first asked.
fn monotonic() -> u64 {
    static FIRST: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let first = *FIRST.get_or_init(Instant::now);
    // Some runtimes take 0 for no time at all.
    u64::try_from(first.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// From the kernel: guests may make keys of it.
fn random(guest: &mut Guest<'_>, span: Span) -> Result<(), Status> {
    let (memory, _) = split(guest)?;
    let at = span.at as usize;
    let room = memory.get_mut(at..at + span.size as usize).ok_or(Status::BadMemory)?;
    let source = std::fs::File::open("/dev/urandom");
    source.and_then(|mut source| source.read_exact(room)).map_err(|_| Status::Internal)
}

fn environment(guest: &mut Guest<'_>, list: u32, bytes: u32) -> Result<(), Status> {
    let (memory, state) = split(guest)?;
    let (mut list, mut bytes) = (list, bytes);
    for variable in &state.plugin.settings.environment {
        write(memory, list, &bytes.to_le_bytes())?;
        write(memory, bytes, variable.as_bytes())?;
        let end = bytes.saturating_add(u32::try_from(variable.len()).unwrap_or(u32::MAX));
        write(memory, end, &[0])?;
        (list, bytes) = (list.saturating_add(4), end.saturating_add(1));
    }
    Ok(())
}
