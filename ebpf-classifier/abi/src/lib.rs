//! What the XDP program, its loader and the gateway share: the layout of the pinned maps, the packet
//! parser and the classification.
//!
//! The crate is apart, and `no_std`, because the same lines run in the kernel under the verifier and
//! on the host under tests and a fuzzer. It reads packets through [`Packet`] and maps through
//! [`World`]; it deliberately does not know how either is had, loads nothing and prints nothing.
//!
//! A packet's way: [`classify`] finds its source and asks for a verdict, parses the rest, finds its
//! network and its zone, applies the [screens](Reason), measures rates, and notes sources and flows.

#![no_std]
#![cfg_attr(target_arch = "bpf", allow(internal_features))]
#![cfg_attr(target_arch = "bpf", feature(core_intrinsics))]
#![cfg_attr(test, allow(clippy::indexing_slicing, reason = "a test fails by panicking"))]

mod classify;
mod fragment;
mod hash;
mod layout;
mod marks;
mod packet;
mod parse;
mod payload;
mod rate;
mod reason;
mod scratch;
mod screen;
mod shared;
mod sketch;
mod slots;

pub use classify::{Action, World, classify};
pub use fragment::{Datagram, Fragments};
pub use layout::{
    ABI_VERSION, Address, CELLS_IN_A_ROW, Counter, Flow, FlowKey, LEARNT_SLOTS, Limits, MAGIC,
    Meta, NAME_BYTES, NETWORK_MAX, Name, NameKey, NameKind, Network, NetworkAction, PENDING_SLOTS,
    Pending, Prefix, SAMPLE_BYTES, STRANGER_SLOTS, Sample, SampleRate, Slots, Source, Standing,
    Stranger, VERDICT_KINDS, VERDICT_SLOTS, Verdict, VerdictReason, Watch, ZONES_MAX, Zone,
    ZoneKey, ZoneRates, map,
};
pub use marks::{MARKS, Marks};
pub use packet::Packet;
#[cfg(not(target_arch = "bpf"))]
pub use parse::headers;
pub use parse::{Fault, Fragment, Headers, Kind, Transport};
pub use payload::Protocol;
pub use rate::{Meter, PER_WINDOW_MAX, Rate, WINDOW_NS, per_second, per_window};
pub use reason::{Reason, Screens};
pub use scratch::{CachedNetwork, Scratch};
pub use shared::Shared;
pub use sketch::{DISTINCT_MAX, Sketch, bits_for};
pub use slots::SenderHash;
