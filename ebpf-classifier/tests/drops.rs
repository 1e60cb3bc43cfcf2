//! Evidence: which packets are dropped and why, by the real binary.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "support/process.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod process;
#[path = "support/program.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod program;

use classifier_abi::{MAGIC, Meta, Network, Prefix, Reason, SampleRate, Slots, Watch, map};
use process::World;
use program::{DROP, Program, can_load};
use sallyport_classifier::pinned::{Access, Map, PerCpuArray, ktime_ns};

/// A loader that drops what 192.0.2.2 and 192.0.2.3 send, in a world with both.
fn world(name: &str) -> World {
    let world = World::new(name);
    let networks = "networks: [ { name: bad, cidrs: [192.0.2.2, 192.0.2.3], action: drop } ]";
    world.edit("networks: [ { name: office, cidrs: [10.0.0.0/8] } ]", networks);
    for line in ["addr add 192.0.2.1/24 dev eth0", "link set eth0 up"] {
        world.ip(&line.split(' ').collect::<Vec<_>>());
    }
    world
}

fn watch(world: &World) -> Watch {
    let map: Map<u32, Watch> =
        Map::open(&world.pins().join(map::DROPS_WATCH), Access::Read).unwrap();
    map.lookup(&0).unwrap().unwrap()
}

#[test]
fn dropped_packets_are_shown_with_their_reason_and_written_for_tcpdump() {
    if !can_load() {
        return;
    }
    let world = world("drops");
    let client = world.peer("192.0.2.2/24", "192.0.2.3/24");
    let loader = world.run(&[]);
    loader.says("in force generation=1");
    let pcap = world.path("drops.pcap");
    let asked = ["drops", "--reason", "network", "--source", "192.0.2.3", "--count", "1", "--pcap"];
    let arguments: Vec<&str> = asked.into_iter().chain([pcap.to_str().unwrap()]).collect();
    let drops = world.start(&arguments);
    let has_begun = || std::fs::metadata(&pcap).is_ok_and(|file| file.len() == 24);
    world.until("somebody asks", || watch(&world).until_ns != 0 && has_begun());
    // One at a time.
    let header = std::fs::read(&pcap).unwrap();
    let second = world.start(&["drops", "--pcap", pcap.to_str().unwrap()]).ends();
    assert_eq!(std::fs::read(&pcap).unwrap(), header);
    assert!(!second.status.success());
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("another `sallyport-classifier drops` is at work"), "{said}");

    assert!(!client.ping("192.0.2.2"), "not asked for");
    assert!(!client.ping("192.0.2.3"));
    let output = drops.ends();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let line = String::from_utf8(output.stdout).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.contains(" network if="), "{line}");
    assert!(line.contains(" 192.0.2.3:") && line.contains(" > 192.0.2.1:9 tcp [S] "), "{line}");
    let file = std::fs::read(&pcap).unwrap();
    let captured = u32::from_ne_bytes(file[32..36].try_into().unwrap()) as usize;
    assert_eq!(file.len(), 24 + 16 + captured);
    assert_eq!(file[40 + 26..40 + 30], [192, 0, 2, 3], "the frame from its Ethernet header on");
    assert_eq!(watch(&world), Watch::default(), "nobody asks any more");
}

#[test]
fn who_is_killed_is_sent_nothing_any_more_and_stands_in_nobodys_way() {
    if !can_load() {
        return;
    }
    let world = world("lease");
    let loader = world.run(&[]);
    loader.says("in force generation=1");
    let mut killed = world.start(&["drops"]);
    world.until("somebody asks", || watch(&world).until_ns != 0);
    killed.kill();
    world.until("that is over", || watch(&world).until_ns < ktime_ns());
    let next = world.start(&["drops"]);
    world.until("somebody else asks", || watch(&world).until_ns > ktime_ns());
    next.interrupt();
    assert!(next.ends().status.success());
    assert_eq!(watch(&world), Watch::default());
    let folder = world.path("");
    let nowhere = world.start(&["drops", "--pcap", folder.to_str().unwrap()]).ends();
    assert!(String::from_utf8(nowhere.stderr).unwrap().contains("cannot write"));
    assert_eq!(watch(&world), Watch::default());
    let wrong = world.start(&["drops", "--reason", "passed"]).ends();
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert!(said.contains("write one of network, verdict, unparsable,"), "{said}");
}

#[test]
fn a_flood_is_sampled_at_a_rate_and_nothing_is_copied_for_nobody() {
    if !can_load() {
        return;
    }
    let program = Program::load();
    let meta = program.meta.lookup(&0).unwrap().unwrap();
    assert_eq!(Meta { magic: MAGIC, ..meta }, meta);
    let everybody = Prefix::default();
    let network = Network { id: 1, action: 2 };
    program.networks.insert(&everybody, Slots { even: network, odd: network }).unwrap();
    let at = |name: &str| program.pin_path().join(name);
    let watch: Map<u32, Watch> = Map::open(&at(map::DROPS_WATCH), Access::Write).unwrap();
    let rate: PerCpuArray<SampleRate> = PerCpuArray::open(&at(map::DROPS_RATE)).unwrap();
    let missed = || rate.lookup(0).unwrap().iter().map(|cpu| cpu.missed).sum::<u64>();
    let taken = || rate.lookup(0).unwrap().iter().any(|cpu| cpu.due_ns != 0);
    let mut frame = vec![0; 12];
    frame.extend([0x08, 0, 0x45, 0, 0, 20, 0, 1, 0, 0, 64, 50, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    frame.resize(200, 0);
    let flood = || assert_eq!(program.run("classify", &frame, 100_000).0, DROP);
    flood();
    assert!(missed() == 0 && !taken(), "nobody asks");
    let asks = |counter, until_ns| {
        watch.insert(&0, Watch { until_ns, counter, ..Watch::default() }).unwrap();
    };
    asks(Reason::Verdict.counter(true), u64::MAX);
    flood();
    assert!(missed() == 0 && !taken(), "not asked for");
    asks(Watch::EVERY_REASON, 1);
    flood();
    assert!(missed() == 0 && !taken(), "nobody asks any more");
    asks(Watch::EVERY_REASON, u64::MAX);
    flood();
    // 100 at once and 10,000 a second: however slow this machine is, not all of 100,000.
    assert!(taken());
    assert!(missed() > 50_000, "{}", missed());
}

#[test]
fn a_sample_is_the_beginning_of_its_packet_whatever_its_length() {
    use aya::maps::{Map as AyaMap, MapData, RingBuf};
    use zerocopy::FromBytes as _;
    if !can_load() {
        return;
    }
    let program = Program::load();
    let network = Network { id: 1, action: 2 };
    program.networks.insert(&Prefix::default(), Slots { even: network, odd: network }).unwrap();
    let at = |name: &str| program.pin_path().join(name);
    let watch: Map<u32, Watch> = Map::open(&at(map::DROPS_WATCH), Access::Write).unwrap();
    let asks = Watch { until_ns: u64::MAX, counter: Watch::EVERY_REASON, ..Watch::default() };
    watch.insert(&0, asks).unwrap();
    let pinned = MapData::from_pin(at(map::DROPS)).and_then(AyaMap::from_map_data).unwrap();
    let mut samples: RingBuf<MapData> = pinned.try_into().unwrap();
    let head = [0x08, 0, 0x45, 0, 0, 20, 0, 1, 0, 0, 64, 50, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    for bytes in (34..160).chain([1_500]) {
        let mut frame: Vec<u8> = [0; 12].into_iter().chain(head).collect();
        frame.extend((34..bytes).map(|at| at as u8));
        assert_eq!(program.run("classify", &frame, 1).0, DROP);
        let item = samples.next().unwrap();
        let sample = classifier_abi::Sample::read_from_bytes(&item).unwrap();
        assert_eq!((sample.bytes as usize, sample.captured as usize), (bytes, bytes.min(128)));
        assert_eq!(sample.data[..bytes.min(128)], frame[..bytes.min(128)], "{bytes}");
        assert_eq!(sample.counter, Reason::Network.counter(true));
        drop(item);
        // No more than 100 in a row.
        std::thread::sleep(std::time::Duration::from_micros(200));
    }
}
