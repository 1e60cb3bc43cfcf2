//! A packet as the verifier lets it be read.

use aya_ebpf::programs::XdpContext;
use classifier_abi::Packet;

/// Offsets beyond this are not read: the verifier wants a bound, and no header is that far in.
const AT_MAX: usize = 0x3fff;

/// The two ends of a packet.
pub(crate) struct Frame {
    data: usize,
    end: usize,
    bytes: usize,
}

impl Frame {
    #[inline(always)]
    pub(crate) fn of(ctx: &XdpContext) -> Self {
        let (data, end) = (ctx.data(), ctx.data_end());
        // Hidden from the compiler, which would otherwise prove from the lengths in the headers that a
        // read is within bounds and leave its check out; the verifier cannot follow that proof.
        Self { data, end, bytes: core::hint::black_box(end - data) }
    }
}

impl Packet for Frame {
    #[inline(always)]
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        if at > AT_MAX {
            return None;
        }
        let start = self.data + at;
        if start + N > self.end {
            return None;
        }
        // SAFETY: the bytes from `start` are inside the packet: that was just compared, and the
        // verifier refuses the program if it was not.
        Some(unsafe { core::ptr::read_unaligned(start as *const [u8; N]) })
    }

    #[inline(always)]
    fn bytes(&self) -> usize {
        self.bytes
    }
}
