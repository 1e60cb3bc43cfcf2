//! The XDP program: maps and packet pointers for the classification in `classifier-abi`.
//!
//! Nothing is decided here. `maps` declares what is pinned, `world` lends it to the classification,
//! `frame` reads packets the way the verifier accepts.

#![no_std]
#![allow(missing_docs, reason = "the macro's own functions have none")]
#![no_main]

mod frame;
mod maps;
mod world;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use classifier_abi::Action;

use crate::frame::Frame;
use crate::world::Kernel;

/// The program that is attached.
#[xdp]
pub(crate) fn classify(ctx: XdpContext) -> u32 {
    let frame = Frame::of(&ctx);
    let kernel = Kernel { ctx: &ctx };
    // A map of one entry always has it; the verifier asks all the same.
    let Some(scratch) = maps::SCRATCH.get_ptr_mut(0) else { return xdp_action::XDP_PASS };
    // SAFETY: the value is this CPU's own, and the program is not entered twice on one CPU.
    let scratch = unsafe { &mut *scratch };
    match classifier_abi::classify(&kernel, &frame, ctx.ingress_ifindex() as u32, scratch) {
        Action::Pass => xdp_action::XDP_PASS,
        Action::Drop => xdp_action::XDP_DROP,
    }
}

/// Passes everything: the floor that measurements subtract.
#[xdp]
pub(crate) fn pass(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The licence that the kernel asks for; no helper in use is reserved for the GPL.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 11] = *b"Apache-2.0\0";
