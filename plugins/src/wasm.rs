#![doc = include_str!("wasm/README.md")]

mod abi;
mod budget;
mod buffer;
mod deadline;
mod engine;
mod fields;
mod filter;
mod gauges;
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
mod state;
mod stock;
mod stream;
mod vm;
mod wait;
mod wasi;

use crate::kind::Kind;

/// `wasm:` in `filters:`.
pub const KIND: Kind = Kind { name: "wasm", read: settings::read };

#[cfg(test)]
mod tests;
