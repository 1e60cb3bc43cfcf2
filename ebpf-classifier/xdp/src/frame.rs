//! A packet as the verifier lets it be read.

use core::ptr::read_volatile;

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::generated::bpf_xdp_get_buff_len;
use aya_ebpf::programs::XdpContext;
use classifier_abi::Packet;

/// Offsets beyond this are not read: the verifier wants a bound, and no header is that far in.
const AT_MAX: usize = 0x3fff;

/// Set by the loader before the program is loaded: whether frames may be in several buffers.
#[unsafe(no_mangle)]
static FRAGS: u8 = 0;

/// The length of a whole frame; what can be read is the part in its first buffer.
#[inline(always)]
pub(crate) fn length(ctx: &XdpContext) -> usize {
    // SAFETY: a byte of this program's own; volatile, because the loader changes it.
    if unsafe { read_volatile(&raw const FRAGS) } == 0 {
        return ctx.data_end() - ctx.data();
    }
    // SAFETY: the context is the program's argument.
    unsafe { bpf_xdp_get_buff_len(ctx.ctx) as usize }
}

/// A packet.
pub(crate) struct Frame {
    ctx: *mut xdp_md,
    bytes: usize,
}

impl Frame {
    #[inline(always)]
    pub(crate) fn of(ctx: &XdpContext) -> Self {
        // Hidden from the compiler, which would otherwise prove from the lengths in the headers that a
        // read is within bounds and leave its check out; the verifier cannot follow that proof.
        let bytes = core::hint::black_box(length(ctx));
        Self { ctx: ctx.ctx, bytes }
    }
}

impl Packet for Frame {
    /// The ends of the packet are asked for anew with every read: the verifier remembers with a pointer
    /// how far it was read through, and would follow the rest of the program once for every length
    /// that another header may have.
    #[inline(always)]
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        if at > AT_MAX {
            return None;
        }
        // SAFETY: the context is the program's argument. Volatile, so that it is read.
        let (data, end) = unsafe {
            (
                read_volatile(&raw const (*self.ctx).data),
                read_volatile(&raw const (*self.ctx).data_end),
            )
        };
        let start = data as usize + at;
        if start + N > end as usize {
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
