//! The classification's world, as the kernel has it.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::{
    bpf_ktime_get_coarse_ns, bpf_ktime_get_ns, bpf_sk_lookup_tcp, bpf_sk_lookup_udp, bpf_sk_release,
};
use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::programs::XdpContext;
use classifier_abi::{
    Address, CachedNetwork, Datagram, Flow, FlowKey, Fragments, Headers, Marks, Meta, Meter,
    Network, Pending, Shared, Slots, Source, Stranger, World, Zone, ZoneKey, ZoneRates,
};

use crate::{cookie, maps};

/// Insert only if there is nothing yet: another CPU may have been first.
const NO_EXIST: u64 = 1;

/// The packet's network namespace is the one to look in.
const CURRENT_NETNS: u64 = u64::MAX;

pub(crate) struct Kernel<'c> {
    pub(crate) ctx: &'c XdpContext,
}

/// Lends a map's value.
#[inline(always)]
fn lend<'m, V>(value: Option<*mut V>) -> Option<&'m V> {
    // SAFETY: the pointer is to a value of a map, which the kernel keeps until the program ends, and
    // what others write meanwhile are words of `Shared` or whole values behind another pointer.
    value.map(|value| unsafe { &*value })
}

#[inline(always)]
fn lend_const<'m, V>(value: Option<*const V>) -> Option<&'m V> {
    lend(value.map(<*const V>::cast_mut))
}

impl World for Kernel<'_> {
    #[inline(always)]
    fn now_ns(&self) -> u64 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_ktime_get_coarse_ns() }
    }

    #[inline(always)]
    fn now_exact_ns(&self) -> u64 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_ktime_get_ns() }
    }

    #[inline(always)]
    fn meta(&self) -> Option<&Meta> {
        lend_const(maps::META.get_ptr(0))
    }

    #[inline(always)]
    fn count(&self, counter: u32, bytes: u64) {
        if let Some(counter) = maps::COUNTERS.get_ptr_mut(counter) {
            // SAFETY: the value is this CPU's own, and nothing interrupts the program to write it.
            unsafe {
                (*counter).packets += 1;
                (*counter).bytes += bytes;
            }
        }
    }

    #[inline(always)]
    fn count_network(&self, id: u16, bytes: u64) {
        if let Some(counter) = maps::NETWORK_COUNTERS.get_ptr_mut(&u32::from(id)) {
            // SAFETY: as in `count`.
            unsafe {
                (*counter).packets += 1;
                (*counter).bytes += bytes;
            }
        }
    }

    #[inline(always)]
    fn zone(&self, key: &ZoneKey) -> Option<&Slots<Zone>> {
        lend_const(maps::ZONES.get_ptr(key))
    }

    #[inline(always)]
    fn zone_rates(&self, id: u16) -> Option<&ZoneRates> {
        lend_const(maps::ZONE_RATES.get_ptr(id as u32))
    }

    #[inline(always)]
    fn network(&self, address: &Address) -> Option<&Slots<Network>> {
        let key = Aligned { padding: 0, bits: 128, address: *address };
        // SAFETY: `bits` and `address` lie behind each other as in a key, which may stand anywhere.
        maps::NETWORKS.get(unsafe { &*(&raw const key.bits).cast::<Key<[u8; 16]>>() })
    }

    #[inline(always)]
    fn cached_network(&self, index: u32) -> Option<&CachedNetwork> {
        lend_const(maps::NETWORKS_CACHE.get_ptr(index))
    }

    #[inline(always)]
    fn has_verdicts(&self, index: u32) -> bool {
        maps::VERDICT_MARKS.get(index).is_some_and(|mark| *mark != 0)
    }

    #[inline(always)]
    fn verdict_on_prefix(&self, address: &Address) -> Option<u64> {
        let key = Aligned { padding: 0, bits: 128, address: *address };
        // SAFETY: as in `network`.
        let key = unsafe { &*(&raw const key.bits).cast::<Key<[u8; 16]>>() };
        maps::VERDICT_PREFIXES.get(key).map(|verdict| verdict.expires_ns)
    }

    #[inline(always)]
    fn verdict(&self, address: &Address) -> Option<u64> {
        lend_const(maps::VERDICTS.get_ptr(address)).map(|verdict| verdict.expires_ns)
    }

    #[inline(always)]
    fn source(&self, address: &Address) -> Option<&Source> {
        lend_const(maps::SOURCES.get_ptr(address))
    }

    #[inline(always)]
    fn insert_source(&self, address: &Address) -> Option<&Source> {
        // Not on the stack, of which there are 512 bytes in all.
        static EMPTY: Source = Source::new();
        // Another CPU's entry serves as well, and a full map is the LRU's to empty.
        let _ = maps::SOURCES.insert(address, &EMPTY, NO_EXIST);
        self.source(address)
    }

    #[inline(always)]
    fn stranger(&self, index: u32) -> Option<&Stranger> {
        lend_const(maps::STRANGERS.get_ptr(index))
    }

    #[inline(always)]
    fn cell(&self, index: u32) -> Option<&Meter> {
        lend_const(maps::CELLS.get_ptr(index))
    }

    #[inline(always)]
    fn learnt(&self, index: u32) -> Option<&Marks> {
        lend_const(maps::LEARNT.get_ptr(index))
    }

    #[inline(always)]
    fn pending(&self, index: u32) -> Option<&Pending> {
        lend_const(maps::PENDING.get_ptr(index))
    }

    #[inline(always)]
    fn flow(&self, key: &FlowKey) -> Option<&Flow> {
        lend_const(maps::FLOWS.get_ptr(key))
    }

    #[inline(always)]
    fn insert_flow(&self, key: &FlowKey, flow: Flow) {
        // A flow that finds no room goes without hints.
        let _ = maps::FLOWS.insert(key, &flow, 0);
    }

    #[inline(always)]
    fn has_flows(&self, port: u16, generation: u32) -> bool {
        let word = (port as u32 >> 6) | (generation & 1) << 10;
        maps::PORTS.get(word).is_some_and(|ports| ports >> (port & 63) & 1 != 0)
    }

    #[inline(always)]
    fn handshake(&self, address: &Address) -> Option<&Shared> {
        lend_const(maps::HANDSHAKES.get_ptr(address))
    }

    #[inline(always)]
    fn insert_handshake(&self, address: &Address, now_ns: u64) {
        // A source that finds no room is a stranger again.
        let _ = maps::HANDSHAKES.insert(address, &Shared::new(now_ns), 0);
    }

    #[inline(always)]
    fn connection(&self, key: &FlowKey, v6: bool) -> u32 {
        let mut tuple = tuple(key, v6);
        let bytes = if v6 { 36 } else { 12 };
        // SAFETY: the tuple lives through the call and has the size that its kind has; the reference
        // that is returned is given back on the only way out.
        unsafe {
            let socket = bpf_sk_lookup_tcp(
                self.ctx.as_ptr(),
                tuple.as_mut_ptr().cast(),
                bytes,
                CURRENT_NETNS,
                0,
            );
            if socket.is_null() {
                return 0;
            }
            let state = (*socket).state;
            bpf_sk_release(socket.cast());
            state
        }
    }

    #[inline(always)]
    fn has_udp_socket(&self, key: &FlowKey, v6: bool) -> bool {
        let mut tuple = tuple(key, v6);
        let bytes = if v6 { 36 } else { 12 };
        // SAFETY: as in `connection`.
        unsafe {
            let socket = bpf_sk_lookup_udp(
                self.ctx.as_ptr(),
                tuple.as_mut_ptr().cast(),
                bytes,
                CURRENT_NETNS,
                0,
            );
            if socket.is_null() {
                return false;
            }
            bpf_sk_release(socket.cast());
            true
        }
    }

    #[inline(always)]
    fn has_cookies(&self) -> bool {
        cookie::is_on()
    }

    #[inline(always)]
    fn is_cookie(&self, headers: &Headers) -> bool {
        cookie::is_on() && cookie::is_valid(self.ctx, headers)
    }

    #[inline(always)]
    fn fragments(&self, datagram: &Datagram) -> Option<&Fragments> {
        lend_const(maps::FRAGMENTS.get_ptr(datagram))
    }

    #[inline(always)]
    fn insert_fragments(&self, datagram: &Datagram) -> Option<&Fragments> {
        static EMPTY: Fragments = Fragments::new();
        // As in `insert_source`.
        let _ = maps::FRAGMENTS.insert(datagram, &EMPTY, NO_EXIST);
        self.fragments(datagram)
    }
}

/// A trie's key behind four bytes of padding, so that its address is aligned: packets and values may
/// be read and written at odd addresses, the stack may not.
#[repr(C)]
struct Aligned {
    padding: u32,
    bits: u32,
    address: Address,
}

/// The connection as the kernel looks it up, a `bpf_sock_tuple`: addresses and ports in network order.
#[inline(always)]
fn tuple(key: &FlowKey, v6: bool) -> [u32; 9] {
    let [s0, s1, s2, s3] = key.source.words();
    let [d0, d1, d2, d3] = key.destination.words();
    let ports =
        u32::from(key.source_port().to_be()) | u32::from(key.destination_port().to_be()) << 16;
    if v6 { [s0, s1, s2, s3, d0, d1, d2, d3, ports] } else { [s3, d3, ports, 0, 0, 0, 0, 0, 0] }
}
