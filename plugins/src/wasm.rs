#![doc = include_str!("wasm/README.md")]

mod abi;
mod budget;
mod buffer;
mod deadline;
mod engine;
mod fields;
mod filter;
mod gauges;
mod grpc;
mod guest;
mod hostcalls;
mod inbox;
mod lines;
mod maps;
mod module;
mod plugin;
mod properties;
mod queues;
mod scene;
mod settings;
mod shared;
mod slot;
mod spec;
mod state;
mod stock;
mod stream;
mod vm;
mod wait;
mod wasi;

use sallyport_config::schema;

use crate::kind::Kind;

pub use spec::{Configuration, PhaseName, WasmSpec};

/// `wasm:` in `filters:`.
pub const KIND: Kind =
    Kind { name: "wasm", read: settings::read, schema: schema::settings::<WasmSpec> };

#[cfg(test)]
mod tests;
