//! The maps, by the names under which they are pinned. The loader sets their sizes.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf};
use classifier_abi::{
    Address, CELLS_IN_A_ROW, CachedNetwork, Counter, Datagram, Flow, FlowKey, Fragments,
    LEARNT_SLOTS, Marks, Meta, Meter, Name, NameKey, Network, PENDING_SLOTS, Pending, Reason,
    STRANGER_SLOTS, SampleRate, Scratch, Shared, Slots, Source, Stranger, VERDICT_KINDS,
    VERDICT_SLOTS, Verdict, Watch, ZONES_MAX, Zone, ZoneKey, ZoneRates,
};

/// Entries of a trie are made when they are needed; the kernel refuses to make them ahead.
const NO_PREALLOC: u32 = 1;

/// Values begin where a page does, and so where a cache line does. Nobody maps them.
const MMAPABLE: u32 = 1 << 10;

#[map(name = "meta")]
pub(crate) static META: Array<Meta> = Array::pinned(1, 0);
#[map(name = "zones")]
pub(crate) static ZONES: HashMap<ZoneKey, Slots<Zone>> = HashMap::pinned(4_096, 0);
#[map(name = "networks")]
pub(crate) static NETWORKS: LpmTrie<[u8; 16], Slots<Network>> =
    LpmTrie::pinned(65_536, NO_PREALLOC);
#[map(name = "sources")]
pub(crate) static SOURCES: LruHashMap<Address, Source> = LruHashMap::pinned(65_536, 0);
#[map(name = "flows")]
pub(crate) static FLOWS: LruHashMap<FlowKey, Flow> = LruHashMap::pinned(262_144, 0);
#[map(name = "verdicts")]
pub(crate) static VERDICTS: HashMap<Address, Verdict> = HashMap::pinned(65_536, 0);
#[map(name = "verdict_prefixes")]
pub(crate) static VERDICT_PREFIXES: LpmTrie<[u8; 16], Verdict> =
    LpmTrie::pinned(65_536, NO_PREALLOC);
#[map(name = "verdict_marks")]
pub(crate) static VERDICT_MARKS: Array<u64> = Array::pinned(VERDICT_KINDS + VERDICT_SLOTS, 0);
#[map(name = "counters")]
pub(crate) static COUNTERS: PerCpuArray<Counter> = PerCpuArray::pinned(Reason::COUNTERS, 0);
#[map(name = "handshakes")]
pub(crate) static HANDSHAKES: LruHashMap<Address, Shared> = LruHashMap::pinned(65_536, 0);
#[map(name = "zone_rates")]
pub(crate) static ZONE_RATES: Array<ZoneRates> = Array::pinned(ZONES_MAX as u32, 0);
#[map(name = "ports")]
pub(crate) static PORTS: Array<u64> = Array::pinned(2_048, 0);
#[map(name = "fragments")]
pub(crate) static FRAGMENTS: LruHashMap<Datagram, Fragments> = LruHashMap::pinned(16_384, 0);
/// Read by nobody here; declared so that it is made and pinned with the others.
#[map(name = "names")]
pub(crate) static NAMES: HashMap<NameKey, Name> = HashMap::pinned(65_536, NO_PREALLOC);

#[map(name = "network_counters")]
pub(crate) static NETWORK_COUNTERS: PerCpuHashMap<u32, Counter> =
    PerCpuHashMap::pinned(65_536, NO_PREALLOC);

/// Two thousand samples: those of a fifth of a second, and the reader comes more often.
#[map(name = "drops")]
pub(crate) static DROPS: RingBuf = RingBuf::pinned(1 << 19, 0);
#[map(name = "drops_watch")]
pub(crate) static DROPS_WATCH: Array<Watch> = Array::pinned(1, 0);
#[map(name = "drops_rate")]
pub(crate) static DROPS_RATE: PerCpuArray<SampleRate> = PerCpuArray::pinned(1, 0);

#[map(name = "pending")]
pub(crate) static PENDING: Array<Pending> = Array::pinned(PENDING_SLOTS, 0);
#[map(name = "strangers")]
pub(crate) static STRANGERS: Array<Stranger> = Array::pinned(STRANGER_SLOTS, MMAPABLE);
#[map(name = "learnt")]
pub(crate) static LEARNT: Array<Marks> = Array::pinned(LEARNT_SLOTS, 0);
#[map(name = "cells")]
pub(crate) static CELLS: Array<Meter> = Array::pinned(2 * CELLS_IN_A_ROW, 0);

/// What each CPU looked up of networks lately. Not pinned.
#[map(name = "networks_cache")]
pub(crate) static NETWORKS_CACHE: PerCpuArray<CachedNetwork> =
    PerCpuArray::with_max_entries(CachedNetwork::SLOTS, 0);

/// Where each CPU keeps the facts of the packet it looks at. Not pinned.
#[map(name = "scratch")]
pub(crate) static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);
