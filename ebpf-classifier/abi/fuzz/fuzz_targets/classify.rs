//! Any bytes as frames, one after the other in one world: no panic, and one outcome each.
//!
//! The input is cut into frames by a length byte in front of each, so that the fuzzer also finds
//! sequences: fragments of one datagram, a SYN and its data.

#![no_main]

#[path = "../../tests/packets/world.rs"]
#[allow(dead_code)]
mod world;

use classifier_abi::{
    Limits, Rate, Reason, Scratch, Screens, Slots, Zone, ZoneKey, classify, headers,
};
use libfuzzer_sys::fuzz_target;
use world::Host;

fuzz_target!(|input: &[u8]| {
    let host = Host::new(1 << 50);
    let all =
        Reason::SCREENS.into_iter().fold(Screens::NONE, |all, one| all.with(Screens::of(one)));
    let limits = Limits { source: 3, zone: 5 };
    let zone = Zone {
        id: 1,
        watched: all,
        dropping: all,
        limits: [limits; Rate::COUNT],
        port_bits: 3,
        address_bits: 3,
        ..Zone::default()
    };
    host.zones.put(ZoneKey { ifindex: 1, vlan: 0 }, Slots { even: zone, odd: zone });
    host.ports.borrow_mut().push(443);
    let (mut rest, mut sent) = (input, 0);
    while let Some((length, behind)) = rest.split_first() {
        let (frame, behind) = behind.split_at(behind.len().min(*length as usize));
        let _ = headers(frame);
        classify(&host, frame, 1, &mut Scratch::default());
        sent += 1;
        rest = behind;
    }
    let counters = host.counters.borrow();
    let dropped: u64 =
        Reason::ALL.iter().map(|reason| counters[reason.counter(true) as usize].0).sum();
    assert_eq!(dropped + counters[Reason::Passed.counter(false) as usize].0, sent);
});
