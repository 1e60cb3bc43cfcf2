//! SYN cookies: a stranger's SYN is answered here, and what comes back proves its source.
//!
//! The kernel makes and checks the cookies, so that it takes the segment that returns one for what it
//! is and makes the connection itself. Its helpers are there from Linux 6.0 on; the loader says whether
//! they can be used, and where they cannot, the verifier never sees the calls.

use core::ptr::{read_volatile, write_unaligned};

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_TX};
use aya_ebpf::helpers::generated::{
    bpf_tcp_raw_check_syncookie_ipv4, bpf_tcp_raw_check_syncookie_ipv6,
    bpf_tcp_raw_gen_syncookie_ipv4, bpf_tcp_raw_gen_syncookie_ipv6, bpf_xdp_adjust_tail,
    bpf_xdp_load_bytes,
};
use aya_ebpf::programs::XdpContext;
use classifier_abi::Headers;

use crate::frame::length;

/// Set by the loader before the program is loaded.
#[unsafe(no_mangle)]
static COOKIES: u8 = 0;

/// The longest TCP header.
const TCP_BYTES_MAX: usize = 60;

/// What is answered: a header and the option of the maximum segment size.
const REPLY_BYTES: usize = 24;

/// Ethernet with four tags ends before this.
const IP_AT_MAX: usize = 30;

/// Segments that fit into 1,500 bytes with IPv4 and with IPv6.
const MSS_V4: u16 = 1_460;
const MSS_V6: u16 = 1_440;

/// Whether cookies are in use.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    // SAFETY: a byte of this program's own; volatile, because the loader changes it.
    unsafe { read_volatile(&raw const COOKIES) != 0 }
}

/// `N` bytes of the packet at `at`, as a pointer for a helper.
#[inline(always)]
fn bytes_at<const N: usize>(ctx: &XdpContext, at: usize) -> Option<*mut [u8; N]> {
    if at > 0x3fff {
        return None;
    }
    let start = ctx.data() + at;
    (start + N <= ctx.data_end()).then_some(start as *mut [u8; N])
}

/// Whether the segment returns a cookie.
#[inline(always)]
pub(crate) fn is_valid(ctx: &XdpContext, headers: &Headers) -> bool {
    let Some(tcp) = bytes_at::<20>(ctx, headers.transport.at) else { return false };
    // SAFETY: both pointers are to as many bytes of the packet as the helpers read.
    unsafe {
        if headers.v6 {
            let Some(ip) = bytes_at::<40>(ctx, headers.at) else { return false };
            bpf_tcp_raw_check_syncookie_ipv6(ip.cast(), tcp.cast()) == 0
        } else {
            let Some(ip) = bytes_at::<20>(ctx, headers.at) else { return false };
            bpf_tcp_raw_check_syncookie_ipv4(ip.cast(), tcp.cast()) == 0
        }
    }
}

/// Turns the SYN into its answer; drops it where that cannot be done.
///
/// The answer offers no timestamps, window scaling or selective acknowledgement: the kernel takes these
/// from a timestamp that it has shifted for each connection, by a secret of its own.
#[inline(never)]
pub(crate) fn answer(ctx: &XdpContext, headers: &Headers) -> u32 {
    let reply = if headers.v6 { answer_v6(ctx, headers) } else { answer_v4(ctx, headers) };
    if reply.is_some() { XDP_TX } else { XDP_DROP }
}

#[inline(always)]
fn answer_v4(ctx: &XdpContext, headers: &Headers) -> Option<()> {
    let at = headers.at;
    let ip = bytes_at::<20>(ctx, at)?;
    // With options in between there is no answer.
    if headers.transport.at != at + 20 {
        return None;
    }
    let mut tcp = [0; TCP_BYTES_MAX];
    let bytes = tcp_header(ctx, at + 20, &mut tcp)?;
    // SAFETY: the pointers are to as many bytes as the helper reads.
    let made = unsafe {
        bpf_tcp_raw_gen_syncookie_ipv4(ip.cast(), (&raw const tcp).cast_mut().cast(), bytes)
    };
    if made < 0 {
        return None;
    }
    resize(ctx, at + 20 + REPLY_BYTES)?;
    let reply = bytes_at::<{ 20 + REPLY_BYTES }>(ctx, at)?;
    // SAFETY: as above; read before anything is written.
    let mut ip: [u8; 20] = unsafe { core::ptr::read_unaligned(reply.cast()) };
    let [_, _, _, _, _, _, _, _, _, _, _, _, s1, s2, s3, s4, d1, d2, d3, d4] = ip;
    ip = [
        0x45,
        0,
        0,
        (20 + REPLY_BYTES) as u8,
        0,
        0,
        0x40,
        0,
        64,
        6,
        0,
        0,
        d1,
        d2,
        d3,
        d4,
        s1,
        s2,
        s3,
        s4,
    ];
    let checksum = fold(sum(&ip)).to_be_bytes();
    ip[10] = checksum[0];
    ip[11] = checksum[1];
    let addresses = sum(&[s1, s2, s3, s4, d1, d2, d3, d4]);
    let tcp = segment(&tcp, made as u32, MSS_V4, addresses);
    // SAFETY: as above.
    unsafe {
        write_unaligned(reply.cast::<[u8; 20]>(), ip);
        write_unaligned(reply.cast::<u8>().add(20).cast::<[u8; REPLY_BYTES]>(), tcp);
    }
    turn(ctx)
}

#[inline(always)]
fn answer_v6(ctx: &XdpContext, headers: &Headers) -> Option<()> {
    let at = headers.at;
    let ip = bytes_at::<40>(ctx, at)?;
    if headers.transport.at != at + 40 {
        return None;
    }
    let mut tcp = [0; TCP_BYTES_MAX];
    let bytes = tcp_header(ctx, at + 40, &mut tcp)?;
    // SAFETY: as in `answer_v4`.
    let made = unsafe {
        bpf_tcp_raw_gen_syncookie_ipv6(ip.cast(), (&raw const tcp).cast_mut().cast(), bytes)
    };
    if made < 0 {
        return None;
    }
    resize(ctx, at + 40 + REPLY_BYTES)?;
    let reply = bytes_at::<{ 40 + REPLY_BYTES }>(ctx, at)?;
    // SAFETY: as in `answer_v4`.
    unsafe {
        let source: [u8; 16] = core::ptr::read_unaligned(reply.cast::<u8>().add(8).cast());
        let destination: [u8; 16] = core::ptr::read_unaligned(reply.cast::<u8>().add(24).cast());
        let addresses = sum(&source) + sum(&destination);
        let tcp = segment(&tcp, made as u32, MSS_V6, addresses);
        let first = [0x60, 0, 0, 0, 0, REPLY_BYTES as u8, 6, 64];
        write_unaligned(reply.cast::<[u8; 8]>(), first);
        write_unaligned(reply.cast::<u8>().add(8).cast(), destination);
        write_unaligned(reply.cast::<u8>().add(24).cast(), source);
        write_unaligned(reply.cast::<u8>().add(40).cast::<[u8; REPLY_BYTES]>(), tcp);
    }
    turn(ctx)
}

/// Copies the SYN's TCP header with its options; returns its length.
#[inline(always)]
fn tcp_header(ctx: &XdpContext, at: usize, tcp: &mut [u8; TCP_BYTES_MAX]) -> Option<u32> {
    if at > IP_AT_MAX + 40 {
        return None;
    }
    let head = bytes_at::<20>(ctx, at)?;
    // SAFETY: `head` is to bytes of the packet.
    let bytes = u32::from(unsafe { (*head)[12] } >> 4) * 4;
    // The compiler knows that this is at most 60, the verifier does not.
    let bytes = core::hint::black_box(bytes) & TCP_BYTES_MAX as u32;
    if bytes < 20 {
        return None;
    }
    // SAFETY: the buffer is as long as the most that is asked for.
    let read = unsafe {
        bpf_xdp_load_bytes(ctx.as_ptr().cast(), at as u32, tcp.as_mut_ptr().cast(), bytes)
    };
    (read == 0).then_some(bytes)
}

/// Makes the frame `bytes` long.
#[inline(always)]
fn resize(ctx: &XdpContext, bytes: usize) -> Option<()> {
    let by = bytes as i32 - length(ctx) as i32;
    // SAFETY: the context is the program's own.
    let resized = by == 0 || unsafe { bpf_xdp_adjust_tail(ctx.as_ptr().cast(), by) } == 0;
    resized.then_some(())
}

/// A SYN-ACK to `syn` (RFC 9293, 3.10.7.2; RFC 4987, 3.6). `addresses` is the sum of both addresses.
#[inline(always)]
fn segment(syn: &[u8; TCP_BYTES_MAX], cookie: u32, mss: u16, addresses: u32) -> [u8; REPLY_BYTES] {
    let [s1, s2, d1, d2, q1, q2, q3, q4, ..] = *syn;
    let [c1, c2, c3, c4] = cookie.to_be_bytes();
    let [a1, a2, a3, a4] = u32::from_be_bytes([q1, q2, q3, q4]).wrapping_add(1).to_be_bytes();
    let [m1, m2] = mss.to_be_bytes();
    let mut segment = [
        d1,
        d2,
        s1,
        s2,
        c1,
        c2,
        c3,
        c4,
        a1,
        a2,
        a3,
        a4,
        6 << 4,
        0x12,
        0xff,
        0xff,
        0,
        0,
        0,
        0,
        2,
        4,
        m1,
        m2,
    ];
    // The pseudo-header: both addresses, the protocol and the length.
    let checksum = fold(addresses + 6 + REPLY_BYTES as u32 + sum(&segment)).to_be_bytes();
    segment[16] = checksum[0];
    segment[17] = checksum[1];
    segment
}

/// Exchanges the Ethernet addresses.
#[inline(always)]
fn turn(ctx: &XdpContext) -> Option<()> {
    let ethernet = bytes_at::<12>(ctx, 0)?;
    // SAFETY: `ethernet` is to bytes of the packet.
    unsafe {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *ethernet;
        *ethernet = [g, h, i, j, k, l, a, b, c, d, e, f];
    }
    Some(())
}

/// The sum of the 16-bit words of `bytes`.
#[inline(always)]
fn sum<const N: usize>(bytes: &[u8; N]) -> u32 {
    let mut sum = 0;
    let mut at = 0;
    while at + 1 < N {
        sum += u32::from(bytes[at]) << 8 | u32::from(bytes[at + 1]);
        at += 2;
    }
    sum
}

/// The complement of a sum with its carries added (RFC 1071).
#[inline(always)]
fn fold(sum: u32) -> u16 {
    let sum = (sum >> 16) + (sum & 0xffff);
    !((sum + (sum >> 16)) as u16)
}
