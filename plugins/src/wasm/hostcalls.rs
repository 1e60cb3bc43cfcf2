//! The functions of `env` that a guest may call, a file for each part of the ABI.

mod buffers;
mod calls;
mod clock;
mod data;
mod fields;
mod foreign;
mod grpc;
mod meta;
mod metrics;
mod properties;
mod stream;

use wasmtime::Linker;

pub(super) use calls::send as send_call;
pub(super) use clock::{keep_time, nanoseconds};
pub(super) use grpc::define_old;
pub(super) use meta::log;

use super::state::State;

/// Where guests import them from.
const MODULE: &str = "env";

/// Defines all of them.
pub(super) fn define(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    buffers::define(linker)?;
    calls::define(linker)?;
    clock::define(linker)?;
    data::define(linker)?;
    fields::define(linker)?;
    foreign::define(linker)?;
    grpc::define(linker)?;
    meta::define(linker)?;
    metrics::define(linker)?;
    properties::define(linker)?;
    stream::define(linker)
}
