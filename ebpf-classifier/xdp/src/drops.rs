//! Samples of dropped packets, for whoever asks: `sallyport-classifier drops`.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::programs::XdpContext;
use classifier_abi::{Packet, SAMPLE_BYTES, Sample, Watch};

use crate::frame::Frame;
use crate::maps;

/// The reader polls.
const NO_WAKEUP: u64 = 1;

/// How much is copied at once: a register. More would be a call of a function that copies bytes,
/// which the verifier does not let read a packet.
const CHUNK: usize = 8;

/// Notes a packet that is dropped, if somebody asks for it. While nobody does, this is a look at
/// one word.
#[inline(always)]
pub(crate) fn note(ctx: &XdpContext) {
    if let Some(watch) = maps::DROPS_WATCH.get(0)
        && watch.until_ns != 0
    {
        sample(ctx, watch);
    }
}

#[inline(never)]
fn sample(ctx: &XdpContext, watch: &Watch) {
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    let Some(scratch) = maps::SCRATCH.get(0) else { return };
    let counter = scratch.dropped();
    if watch.until_ns < now_ns || !watch.asks_for(counter, scratch.source()) {
        return;
    }
    let Some(rate) = maps::DROPS_RATE.get_ptr_mut(0) else { return };
    // SAFETY: the value is this CPU's own.
    let rate = unsafe { &mut *rate };
    if !rate.take(now_ns) {
        rate.missed += 1;
        return;
    }
    let Some(mut entry) = maps::DROPS.reserve::<Sample>(0) else {
        rate.missed += 1;
        return;
    };
    let frame = Frame::of(ctx);
    let sample = entry.as_mut_ptr();
    // SAFETY: the pointer is to a whole sample, which is written before anybody reads it.
    unsafe {
        (*sample).ktime_ns = now_ns;
        (*sample).bytes = frame.bytes() as u32;
        (*sample).counter = counter;
        (*sample).ifindex = ctx.ingress_ifindex() as u32;
        let data = (&raw mut (*sample).data).cast::<u8>();
        let mut at = 0;
        while at < SAMPLE_BYTES {
            let Some(chunk) = frame.read::<CHUNK>(at) else { break };
            data.add(at).cast::<u64>().write_unaligned(u64::from_ne_bytes(chunk));
            at += CHUNK;
        }
        // What is left is shorter: the last whole chunk, over the one before.
        let end = frame.bytes();
        if end > at && end >= CHUNK && end < SAMPLE_BYTES {
            // Hidden from the compiler, which would compare another sum with the packet's end than
            // it reads at.
            let last = core::hint::black_box(end - CHUNK);
            if last < SAMPLE_BYTES - CHUNK
                && let Some(chunk) = frame.read::<CHUNK>(last)
            {
                data.add(last).cast::<u64>().write_unaligned(u64::from_ne_bytes(chunk));
                at = end;
            }
        }
        (*sample).captured = at as u32;
    }
    entry.submit(NO_WAKEUP);
}
