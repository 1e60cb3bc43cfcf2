//! The XDP program: maps and packet pointers for the classification in `classifier-abi`.
//!
//! Nothing is decided here. `maps` declares what is pinned, `world` lends it to the classification,
//! `frame` reads packets the way the verifier accepts.

#![no_std]
#![allow(missing_docs, reason = "the macro's own functions have none")]
#![no_main]

mod cookie;
mod drops;
mod frame;
mod maps;
mod world;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use classifier_abi::Action;

use crate::frame::Frame;
use crate::world::Kernel;

/// The program that is attached, where drivers may hand over frames in several buffers.
#[xdp(frags)]
pub(crate) fn classify(ctx: XdpContext) -> u32 {
    run(&ctx)
}

/// The same for kernels and drivers that have frames in one buffer only.
#[xdp]
pub(crate) fn classify_linear(ctx: XdpContext) -> u32 {
    run(&ctx)
}

#[inline(always)]
fn run(ctx: &XdpContext) -> u32 {
    match decide(ctx) {
        xdp_action::XDP_TX => answer(ctx),
        xdp_action::XDP_DROP => {
            drops::note(ctx);
            xdp_action::XDP_DROP
        }
        decided => decided,
    }
}

/// A function of its own, so that what is on its stack is gone when a packet is answered: all that call
/// each other have 512 bytes together.
#[inline(never)]
fn decide(ctx: &XdpContext) -> u32 {
    let frame = Frame::of(ctx);
    let kernel = Kernel { ctx };
    // A map of one entry always has it; the verifier asks all the same.
    let Some(scratch) = maps::SCRATCH.get_ptr_mut(0) else { return xdp_action::XDP_PASS };
    // SAFETY: the value is this CPU's own, and the program is not entered twice on one CPU.
    let scratch = unsafe { &mut *scratch };
    match classifier_abi::classify(&kernel, &frame, ctx.ingress_ifindex() as u32, scratch) {
        Action::Pass => xdp_action::XDP_PASS,
        Action::Drop => xdp_action::XDP_DROP,
        Action::Cookie => xdp_action::XDP_TX,
    }
}

#[inline(always)]
fn answer(ctx: &XdpContext) -> u32 {
    match maps::SCRATCH.get_ptr(0) {
        // SAFETY: as in `decide`.
        Some(scratch) if cookie::is_on() => cookie::answer(ctx, unsafe { &*scratch }.headers()),
        _ => xdp_action::XDP_DROP,
    }
}

/// Passes everything: the floor that measurements subtract.
#[xdp]
pub(crate) fn pass(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Classifies an IPv4 packet as if each run's came from a source that was never seen: what a flood of
/// forged addresses costs, for measurements.
#[xdp]
pub(crate) fn forged(ctx: XdpContext) -> u32 {
    /// Where the source is in a frame without tags.
    const SOURCE_AT: usize = 26;
    let source = ctx.data() + SOURCE_AT;
    if source + 4 > ctx.data_end() {
        return xdp_action::XDP_ABORTED;
    }
    let source = source as *mut u32;
    // SAFETY: the four bytes are inside the packet, as was just compared.
    unsafe { source.write_unaligned(source.read_unaligned().wrapping_add(0x9e37_79b1)) };
    run(&ctx)
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The licence that the kernel asks for: the helpers for SYN cookies are for programs that may be
/// used under the GPL.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
