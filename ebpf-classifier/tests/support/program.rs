//! The program, loaded for this test alone: its maps pinned in a file system of its own.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use aya::programs::{TestRun as _, TestRunOptions, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use classifier_abi::{
    ABI_VERSION, Address, Datagram, Flow, FlowKey, Fragments, MAGIC, Marks, Meta, Meter, Network,
    Prefix, Shared, Slots, Source, Stranger, Zone, ZoneKey, ZoneRates, map,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use sallyport_classifier::pinned::{Access, Map, Maps, PerCpuArray, Verdicts};
use tempfile::TempDir;

/// `XDP_PASS`.
pub(crate) const PASS: u32 = 2;
/// `XDP_TX`.
pub(crate) const TX: u32 = 3;
/// `XDP_DROP`.
pub(crate) const DROP: u32 = 1;

/// Where the program is, if it was built.
pub(crate) fn object() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/bpf/bpfel-unknown-none/release/classifier-xdp");
    std::env::var_os("SALLYPORT_XDP_OBJECT").map_or(built, PathBuf::from)
}

/// Whether programs can be loaded here. Where they must be, a reason why not fails.
pub(crate) fn can_load() -> bool {
    let why = if !rustix::process::geteuid().is_root() {
        "root is needed to load programs"
    } else if !object().exists() {
        "the XDP program was not built: make classifier"
    } else {
        return true;
    };
    assert!(std::env::var_os("SALLYPORT_REQUIRE_TOOLS").is_none(), "{why}");
    eprintln!("SKIPPED: {why}");
    false
}

/// A BPF file system on a folder of its own; gone with this value.
pub(crate) struct BpfFs(TempDir);

impl BpfFs {
    pub(crate) fn mount() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let status =
            Command::new("mount").args(["-t", "bpf", "bpf"]).arg(folder.path()).status().unwrap();
        assert!(status.success(), "mount -t bpf");
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.path()).status());
    }
}

/// The program that passes everything, on an interface for as long as this lives.
pub(crate) struct Passing {
    _program: Ebpf,
}

impl Passing {
    /// Attaches it in the network namespace behind `namespace`.
    pub(crate) fn attach(namespace: &Path, interface: &str, mode: XdpMode) -> Self {
        let namespace = std::fs::File::open(namespace).unwrap();
        let interface = interface.to_owned();
        let attached = std::thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            let file_system = BpfFs::mount();
            let object = std::fs::read(object()).unwrap();
            let mut loader = EbpfLoader::new();
            loader.default_map_pin_directory(file_system.path());
            let mut ebpf = loader.load(&object).unwrap();
            let program: &mut Xdp = ebpf.program_mut("pass").unwrap().try_into().unwrap();
            program.load().unwrap();
            program.attach(&interface, mode).unwrap();
            ebpf
        });
        Self { _program: attached.join().unwrap() }
    }
}

/// What the program is loaded with.
pub(crate) struct Variant {
    pub(crate) cookies: bool,
    /// For frames in several buffers.
    pub(crate) frags: bool,
    /// Room for verdicts.
    pub(crate) verdicts: u32,
}

impl Default for Variant {
    fn default() -> Self {
        Self { cookies: false, frags: true, verdicts: 65_536 }
    }
}

/// The program and every map that a row may set.
pub(crate) struct Program {
    ebpf: Ebpf,
    /// The name of the program in the object.
    classify: &'static str,
    pub(crate) meta: Map<u32, Meta>,
    pub(crate) zones: Map<ZoneKey, Slots<Zone>>,
    pub(crate) networks: Map<Prefix, Slots<Network>>,
    pub(crate) sources: Map<Address, Source>,
    pub(crate) flows: Map<FlowKey, Flow>,
    pub(crate) verdicts: Verdicts,
    pub(crate) strangers: Map<u32, Stranger>,
    pub(crate) cells: Map<u32, Meter>,
    pub(crate) maps: Maps,
    pub(crate) handshakes: Map<Address, Shared>,
    pub(crate) learnt: Map<u32, Marks>,
    pub(crate) fragments: Map<Datagram, Fragments>,
    pub(crate) zone_rates: Map<u32, ZoneRates>,
    pub(crate) ports: Map<u32, u64>,
    pub(crate) counters: PerCpuArray<classifier_abi::Counter>,
    file_system: BpfFs,
}

impl Program {
    pub(crate) fn load() -> Self {
        Self::load_as(&Variant::default())
    }

    pub(crate) fn load_as(variant: &Variant) -> Self {
        let file_system = BpfFs::mount();
        let object = std::fs::read(object()).unwrap();
        let mut loader = EbpfLoader::new();
        let (cookies, frags) = (u8::from(variant.cookies), u8::from(variant.frags));
        loader.override_global("COOKIES", &cookies, true);
        loader.override_global("FRAGS", &frags, true);
        loader.map_max_entries(map::VERDICTS, variant.verdicts);
        loader.map_max_entries(map::VERDICT_PREFIXES, variant.verdicts);
        loader.default_map_pin_directory(file_system.path());
        let mut ebpf = loader.load(&object).unwrap();
        let classify = if variant.frags { "classify" } else { "classify_linear" };
        for name in [classify, "pass", "forged"] {
            let program: &mut Xdp = ebpf.program_mut(name).unwrap().try_into().unwrap();
            program.load().unwrap();
        }
        let at = |name: &str| file_system.path().join(name);
        let meta = Map::open(&at(map::META), Access::Write).unwrap();
        let first = Meta {
            magic: MAGIC,
            abi: ABI_VERSION,
            ipv6_prefix: 64,
            ipv6_mask: Address::mask(64),
            seed: 1,
            ..Meta::default()
        };
        meta.insert(&0, first).unwrap();
        let maps = Maps::open(file_system.path(), Access::Read).unwrap();
        Self {
            ebpf,
            classify,
            meta,
            zones: Map::open(&at(map::ZONES), Access::Write).unwrap(),
            networks: Map::open(&at(map::NETWORKS), Access::Write).unwrap(),
            sources: Map::open(&at(map::SOURCES), Access::Write).unwrap(),
            flows: Map::open(&at(map::FLOWS), Access::Write).unwrap(),
            verdicts: Verdicts::open(file_system.path(), Access::Write).unwrap(),
            strangers: Map::open(&at(map::STRANGERS), Access::Write).unwrap(),
            cells: Map::open(&at(map::CELLS), Access::Write).unwrap(),
            maps,
            handshakes: Map::open(&at(map::HANDSHAKES), Access::Write).unwrap(),
            learnt: Map::open(&at(map::LEARNT), Access::Write).unwrap(),
            fragments: Map::open(&at(map::FRAGMENTS), Access::Write).unwrap(),
            zone_rates: Map::open(&at(map::ZONE_RATES), Access::Write).unwrap(),
            ports: Map::open(&at(map::PORTS), Access::Write).unwrap(),
            counters: PerCpuArray::open(&at(map::COUNTERS)).unwrap(),
            file_system,
        }
    }

    /// The folder of the pins.
    pub(crate) fn pin_path(&self) -> &Path {
        self.file_system.path()
    }

    /// Runs the classifier, or the program that is called otherwise, on `packet`, `repeat` times; returns its last answer and the
    /// kernel's mean time of a run in nanoseconds.
    pub(crate) fn run(&self, name: &str, packet: &[u8], repeat: u32) -> (u32, u32) {
        let name = if name == "classify" { self.classify } else { name };
        let program: &Xdp = self.ebpf.program(name).unwrap().try_into().unwrap();
        let options = TestRunOptions { data_in: Some(packet), repeat, ..TestRunOptions::new() };
        let result = program.test_run(options).unwrap();
        (result.return_value, result.duration.as_nanos() as u32)
    }

    /// As [`Program::run`] of the program that is attached, once; returns its answer and the frame.
    pub(crate) fn answer(&self, packet: &[u8]) -> (u32, Vec<u8>) {
        let program: &Xdp = self.ebpf.program(self.classify).unwrap().try_into().unwrap();
        let mut frame = vec![0; packet.len() + 256];
        let options = TestRunOptions {
            data_in: Some(packet),
            data_out: Some(&mut frame),
            repeat: 1,
            ..TestRunOptions::new()
        };
        let result = program.test_run(options).unwrap();
        frame.truncate(result.data_size_out as usize);
        (result.return_value, frame)
    }

    /// Lets connections to `port` have flow entries.
    pub(crate) fn track(&self, port: u16) {
        self.ports.insert(&u32::from(port >> 6), 1 << (port & 63)).unwrap();
    }

    /// Empties every map that packets or rows fill.
    pub(crate) fn clear(&self) {
        fn empty<K: sallyport_classifier::pinned::Key, V: sallyport_classifier::pinned::Value>(
            map: &Map<K, V>,
        ) {
            for key in map.keys().unwrap() {
                map.remove(&key).unwrap();
            }
        }
        empty(&self.zones);
        empty(&self.networks);
        empty(&self.sources);
        empty(&self.flows);
        for (prefix, _) in self.verdicts.entries().unwrap() {
            self.verdicts.remove(&prefix).unwrap();
        }
        // Nothing is left, so nothing has expired at any time: the marks are cleared.
        self.verdicts.sweep(0).unwrap();
        empty(&self.handshakes);
        empty(&self.fragments);
        for zone in 0..4 {
            self.zone_rates.insert(&zone, ZoneRates::default()).unwrap();
        }
    }

    /// Packets by counter.
    pub(crate) fn counts(&self) -> Vec<u64> {
        let sum =
            |index| self.counters.lookup(index).unwrap().iter().map(|value| value.packets).sum();
        (0..self.counters.entries()).map(sum).collect()
    }
}
