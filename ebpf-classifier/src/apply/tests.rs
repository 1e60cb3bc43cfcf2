//! Every lookup at every step of a change gives the answer of one whole configuration.

use super::store::Kind;
use super::*;
use classifier_abi::Address;

/// A configuration in short: zones by (ifindex, VLAN), networks by prefix, ports.
fn tables(zones: &[(u32, u32, u16)], networks: &[(&str, u16)], ports: &[u16]) -> Tables {
    let mut tables = Tables::default();
    for (ifindex, vlan, id) in zones {
        let key = ZoneKey { ifindex: *ifindex, vlan: *vlan };
        tables.zones.insert(key, Zone { id: *id, ..Zone::default() });
        let key = NameKey { kind: NameKind::Zone as u16, id: *id };
        tables.names.insert(key, Name::new(&format!("zone-{id}")).unwrap());
    }
    for (cidr, id) in networks {
        tables.networks.set(prefix(cidr), Some(Network { id: *id, action: *id % 3 }));
        let key = NameKey { kind: NameKind::Network as u16, id: *id };
        tables.names.insert(key, Name::new(&format!("network-{id}")).unwrap());
    }
    for port in ports {
        *tables.ports.entry(u32::from(port >> 6)).or_default() |= 1 << (port & 63);
    }
    tables
}

fn prefix(cidr: &str) -> Prefix {
    let net: ipnet::IpNet = cidr.parse().unwrap();
    let before = if net.addr().is_ipv4() { 96 } else { 0 };
    Prefix::new(net.addr().into(), before + u32::from(net.prefix_len()))
}

const ADDRESSES: [&str; 9] = [
    "10.0.0.1",
    "10.1.0.1",
    "10.1.2.3",
    "10.1.2.200",
    "192.0.2.1",
    "8.8.8.8",
    "2001:db8::1",
    "2001:db8:1::1",
    "fe80::1",
];
const PLACES: [(u32, u32); 7] = [(1, 0), (1, 5), (1, 6), (1, 7), (2, 0), (2, 5), (3, 9)];
const PORTS: [u16; 6] = [1, 80, 443, 8080, 63, 65_535];

/// Everything that a packet could find out, by the lookups of the program.
#[derive(Debug, PartialEq, Eq)]
struct Answers {
    zones: Vec<Zone>,
    networks: Vec<Network>,
    ports: Vec<bool>,
}

/// Looks up as the program does: the longest key of the map, whatever its value is.
fn look_up(held: &Held) -> Answers {
    let zone = |(ifindex, vlan)| {
        let find = |vlan| {
            let slots = held.zones.get(&ZoneKey { ifindex, vlan })?;
            Some(*slots.of(held.generation)).filter(|zone| zone.id != 0)
        };
        find(vlan).or_else(|| find(0)).unwrap_or_default()
    };
    let network = |address: &str| {
        let address = Address::from(address.parse::<std::net::IpAddr>().unwrap());
        let matching = held.networks.iter().filter(|(prefix, _)| {
            masked(&Prefix::new(address, 128), prefix.bits) == masked(prefix, prefix.bits)
        });
        let longest = matching.max_by_key(|(prefix, _)| prefix.bits);
        longest.map(|(_, slots)| *slots.of(held.generation)).unwrap_or_default()
    };
    let port = |port: u16| {
        let word = u32::from(port >> 6) | (held.generation & 1) << 10;
        held.ports.get(&word).is_some_and(|ports| ports >> (port & 63) & 1 != 0)
    };
    Answers {
        zones: PLACES.into_iter().map(zone).collect(),
        networks: ADDRESSES.into_iter().map(network).collect(),
        ports: PORTS.into_iter().map(port).collect(),
    }
}

/// Puts `new` in force step by step and looks everything up in between.
fn change(held: &mut Held, new: &Tables) {
    let mut fresh = Held::default();
    plan(&Held::default(), new).iter().for_each(|step| fresh.follow(step));
    let (before, after) = (look_up(held), look_up(&fresh));
    let (generation, before_change) = (held.generation, held.clone());
    let planned = plan(held, new);
    for steps in [interleaved(&planned), planned] {
        held.clone_from(&before_change);
        for step in steps {
            held.follow(&step);
            let expected = if held.generation == generation { &before } else { &after };
            assert_eq!(&look_up(held), expected, "after {step:?}");
            for slots in held.networks.values() {
                named(held, NameKind::Network, slots.of(held.generation).id);
            }
            for slots in held.zones.values() {
                named(held, NameKind::Zone, slots.of(held.generation).id);
            }
        }
    }
    assert_eq!(held.generation, generation.wrapping_add(1));
    let mut at_once = before_change;
    at_once.follow_all(&plan(&at_once, new));
    assert_eq!(at_once.networks, held.networks);
    assert_eq!(held.networks.len(), new.networks.len());
    assert_eq!(held.zones.len(), new.zones.len());
}

/// Networks in a row as two threads write them, in an order of their own.
fn interleaved(steps: &[Step]) -> Vec<Step> {
    let mut all = Vec::new();
    for run in steps.chunk_by(|one, next| Kind::of(one) == Kind::of(next)) {
        if run.first().map_or(Kind::Other, Kind::of) == Kind::Other {
            all.extend_from_slice(run);
            continue;
        }
        let (one, other) = run.split_at(run.len() / 2);
        let (mut one, mut other) = (one.iter().rev(), other.iter().rev());
        while all.len() < steps.len() {
            let next = [other.next(), one.next()];
            if next == [None, None] {
                break;
            }
            all.extend(next.into_iter().flatten().cloned());
        }
    }
    assert_eq!(all.len(), steps.len());
    all
}

fn named(held: &Held, kind: NameKind, id: u16) {
    assert!(
        id == 0 || held.names.contains_key(&NameKey { kind: kind as u16, id }),
        "{kind:?} {id}"
    );
}

fn configurations() -> Vec<Tables> {
    vec![
        tables(&[(1, 0, 1)], &[("10.0.0.0/8", 1)], &[80, 443]),
        tables(&[(1, 0, 1), (1, 5, 2)], &[("10.0.0.0/8", 1), ("10.1.0.0/16", 2)], &[80, 8080]),
        tables(
            &[(1, 5, 1), (2, 0, 2), (2, 5, 3)],
            &[("10.1.2.0/24", 3), ("2001:db8::/32", 1), ("0.0.0.0/0", 4)],
            &[],
        ),
        tables(
            &[(2, 5, 1), (1, 0, 3)],
            &[("10.1.2.200/32", 5), ("10.1.0.0/16", 3), ("::/0", 2), ("2001:db8:1::/48", 4)],
            &[65_535, 63, 1],
        ),
        tables(&[], &[], &[]),
        tables(
            &[(1, 6, 2), (1, 0, 2)],
            &[("10.0.0.0/8", 7), ("10.1.0.0/16", 8), ("10.1.2.0/24", 9), ("192.0.2.0/24", 1)],
            &[443],
        ),
    ]
}

#[test]
fn every_step_between_any_two_configurations_answers_as_one_of_them() {
    for old in &configurations() {
        for new in &configurations() {
            for generation in [0, 1, u32::MAX] {
                let mut held = Held { generation, ..Held::default() };
                change(&mut held, old);
                change(&mut held, new);
                change(&mut held, old);
            }
        }
    }
}

#[test]
fn a_change_that_was_cut_off_anywhere_can_be_made_again() {
    for old in &configurations() {
        for new in &configurations() {
            let mut held = Held::default();
            change(&mut held, old);
            let steps = plan(&held, new);
            for cut in 0..steps.len() {
                let mut held = held.clone();
                steps.iter().take(cut).for_each(|step| held.follow(step));
                for next in [new, old] {
                    change(&mut held.clone(), next);
                }
            }
        }
    }
}

#[test]
fn what_stays_is_not_written_again() {
    let first = tables(&[], &[("10.0.0.0/8", 1), ("10.1.0.0/16", 2)], &[]);
    let mut held = Held::default();
    change(&mut held, &first);
    assert_eq!(plan(&held, &first), [Step::Generation(held.generation.wrapping_add(1))]);
}

#[test]
fn a_network_that_goes_keeps_its_name() {
    let mut held = Held::default();
    change(&mut held, &tables(&[(1, 0, 1)], &[("10.0.0.0/8", 1)], &[]));
    change(&mut held, &tables(&[(1, 0, 2)], &[], &[]));
    named(&held, NameKind::Network, 1);
    assert!(!held.names.contains_key(&NameKey { kind: NameKind::Zone as u16, id: 1 }));
}

#[test]
fn a_change_of_some_prefixes_of_a_list_writes_no_others() {
    let listed = |count: u32| {
        let mut tables = Tables::default();
        for number in 0..count {
            let address = Address::v4((0x0b00_0000 + number).to_be_bytes());
            tables.networks.set(Prefix::new(address, 128), Some(Network { id: 1, action: 2 }));
        }
        tables
    };
    let mut held = Held::default();
    let first = listed(10_000);
    plan(&held, &first).iter().for_each(|step| held.follow(step));
    let in_force =
        |steps: &[Step]| steps.iter().position(|step| matches!(step, Step::Generation(_))).unwrap();
    for (count, before, after) in [(10_100, 100, 100), (10_000, 100, 100), (10_000, 0, 0)] {
        let steps = plan(&held, &listed(count));
        assert_eq!(in_force(&steps), before);
        assert_eq!(steps.len() - before - 1, after);
        steps.iter().for_each(|step| held.follow(step));
    }
    assert_eq!(held.networks.len(), 10_000);
}

fn masked(prefix: &Prefix, bits: u32) -> u128 {
    let mask = u128::MAX.checked_shl(128 - bits.min(128)).unwrap_or(0);
    u128::from_be_bytes(prefix.octets) & mask
}
