//! Every key bites, and everything that contradicts itself is refused in one line.

use std::path::PathBuf;

use classifier_abi::{
    Address, NetworkAction, Prefix, Rate, Reason, Screens, Zone, bits_for, per_window,
};

use super::*;

fn read(text: &str) -> Result<Loaded, Problems> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("classifier.yaml");
    std::fs::write(&path, text).unwrap();
    load(&path, &mut Lists::default())
}

/// The problems, one a line, without the file's name.
fn problems(text: &str) -> Vec<String> {
    let problems = read(text).expect_err("it was accepted");
    problems.iter().map(|p| format!("{}: {}: {}, {}", p.line, p.path, p.what, p.fix)).collect()
}

const HEAD: &str =
    "interfaces: [ { name: eth0, zone: internet } ]\nzones: [ { name: internet, id: 1 } ]\n";

fn refused(text: &str, expected: &str) {
    let found = problems(text);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains(expected), "{found:?} does not say {expected:?}");
}

#[test]
fn the_shipped_file_holds() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../conf/classifier.yaml");
    let config = load(&path, &mut Lists::default()).unwrap().config;
    assert_eq!(config.limits, Limits::default());
    assert!(!config.zones.is_empty() && !config.ports.is_empty());
}

#[test]
fn defaults_are_off() {
    let config = read(HEAD).unwrap().config;
    assert_eq!(config.pin_path, PathBuf::from(PIN_PATH));
    assert_eq!(config.metrics, None);
    assert_eq!(config.zones[0].rules, classifier_abi::Zone { id: 1, ..Default::default() });
    assert!(config.networks.is_empty() && config.ports.is_empty());
    assert_eq!(config.interfaces[0].mode, Mode::Auto);
}

#[test]
fn every_key_has_an_effect() {
    let config = read(
        "pin_path: /run/pins\n\
         metrics: { address: 127.0.0.1:9 }\n\
         interfaces:\n\
         - { name: eth0, zone: inside, mode: generic }\n\
         - { name: eth0, vlan: 7, zone: inside, mode: generic }\n\
         - { name: eth1, zone: inside, mode: native }\n\
         zones: [ { name: inside, id: 255, screen: all } ]\n\
         networks:\n\
         - { name: a, cidrs: [192.0.2.0/24, \"2001:db8::/32\", 10.0.0.1], action: allow }\n\
         - { name: b, cidrs: [192.0.2.0/25], action: drop }\n\
         - { name: c, cidrs: [] }\n\
         screens: [ { name: all, unparsable: off, land: count, syn_fin: drop } ]\n\
         flows: { ports: [80, 65535] }\n\
         limits: { sources: 1, flows: 2, verdicts: 3, networks: 4, handshakes: 16777216 }\n",
    )
    .unwrap()
    .config;
    assert_eq!(config.pin_path, PathBuf::from("/run/pins"));
    assert_eq!(config.metrics, Some("127.0.0.1:9".parse().unwrap()));
    assert_eq!(config.interfaces[1].vlan, Some(7));
    let attachments: Vec<_> = config.attachments().collect();
    assert_eq!(attachments, [("eth0", Mode::Generic), ("eth1", Mode::Native)]);
    let rules = config.zones[0].rules;
    assert_eq!(rules.watched, Screens::of(Reason::Land).with(Screens::of(Reason::SynFin)));
    assert_eq!(rules.dropping, Screens::of(Reason::SynFin));
    let v4 = |octets, bits| Prefix::new(Address::v4(octets), bits);
    assert_eq!(config.networks[0].prefixes[0], v4([192, 0, 2, 0], 120));
    assert_eq!(config.networks[0].prefixes[1].bits, 32);
    assert_eq!(config.networks[0].prefixes[2], v4([10, 0, 0, 1], 128));
    let actions: Vec<_> = config.networks.iter().map(|network| network.action).collect();
    assert_eq!(actions, [NetworkAction::Allow, NetworkAction::Drop, NetworkAction::Classify]);
    assert_eq!(config.ports.iter().copied().collect::<Vec<_>>(), [80, 65_535]);
    let limits: Vec<_> = config.limits.entries().iter().map(|(_, limit)| *limit).collect();
    assert_eq!(limits, [1, 2, 3, 4, 16_777_216]);
}

fn rules(screen: &str) -> classifier_abi::Zone {
    let text = HEAD.replace("id: 1", "id: 1, screen: s");
    read(&format!("{text}screens: [ {{ name: s, {screen} }} ]\n")).unwrap().config.zones[0].rules
}

#[test]
fn every_screen_can_be_counted_dropped_and_turned_off() {
    let figures = "per_source_per_s: 10, per_zone_per_s: 3900000";
    let mut screens: Vec<(String, Screens)> = Vec::new();
    for reason in Reason::ALL.iter().filter(|reason| reason.screen().is_some()) {
        let own = Screens::of(*reason);
        let label = reason.label();
        match reason {
            Reason::PortScan => {
                screens.push(("port_scan: { ports_per_8s: 20, action: ACTION }".into(), own));
            }
            Reason::AddressSweep => screens
                .push(("address_sweep: { addresses_per_8s: 500, action: ACTION }".into(), own)),
            _ if label.ends_with("_flood_source") => {
                let (key, next) = (label.trim_end_matches("_source"), Screens(own.0 << 1));
                screens.push((format!("{key}: {{ {figures}, action: ACTION }}"), own.with(next)));
                screens.push((format!("{key}: {{ per_source_per_s: 9, action: ACTION }}"), own));
                screens.push((format!("{key}: {{ per_zone_per_s: 9, action: ACTION }}"), next));
            }
            _ if label.ends_with("_flood_zone") => {}
            _ => screens.push((format!("{label}: ACTION"), own)),
        }
    }
    assert_eq!(screens.len(), 11 + 9 * 3 + 2);
    for (text, screens) in screens {
        // That one is on unless it is turned off.
        let off = if text.starts_with("unparsable") { "" } else { "unparsable: off, " };
        let with = |action| rules(&format!("{off}{}", text.replace("ACTION", action)));
        assert_eq!((with("count").watched, with("count").dropping), (screens, Screens::NONE));
        assert_eq!((with("drop").watched, with("drop").dropping), (screens, screens), "{text}");
        assert_eq!(with("off"), classifier_abi::Zone { id: 1, ..Default::default() }, "{text}");
    }
    for rate in Rate::ALL {
        let [of_source, _] = [Screens::floods(rate).0, Screens::floods(rate).1];
        let label = of_source.iter().next().unwrap().label().trim_end_matches("_source");
        let limits =
            rules(&format!("{label}: {{ {figures}, action: drop }}")).limits[rate as usize];
        assert_eq!((limits.source, limits.zone), (per_window(10), per_window(3_900_000)));
    }
    assert_eq!(rules("port_scan: { ports_per_8s: 20, action: drop }").port_bits, bits_for(20));
    let sweep = rules("address_sweep: { addresses_per_8s: 9, action: drop }");
    assert_eq!(sweep.address_bits, bits_for(9));
}

#[test]
fn what_cannot_be_parsed_is_dropped_unless_the_file_says_otherwise() {
    let screen = Screens::of(Reason::Unparsable);
    let default = rules("land: drop");
    assert!(!default.dropping.and(screen).is_empty() && default.has(Zone::UNPARSABLE_TCP));
    assert!(!rules("unparsable: drop").has(Zone::UNPARSABLE_TCP), "of every protocol");
    assert!(rules("unparsable: count").dropping.and(screen).is_empty());
}

#[test]
fn syn_cookies_are_asked_for_where_a_zone_drops_and_not_turned_off() {
    let has = |flood: &str| rules(&format!("syn_flood: {{ {flood} }}")).has(Zone::COOKIES);
    assert!(has("per_zone_per_s: 9, action: drop"));
    assert!(!has("per_zone_per_s: 9, action: drop, cookies: false"));
    assert!(!has("per_zone_per_s: 9, action: count"));
    assert!(!has("per_source_per_s: 9, action: drop"));
}

#[test]
fn trusted_proxies_are_exempt_whatever_network_they_are_of() {
    let file = format!(
        "{HEAD}trusted_proxies: [10.0.0.0/8, 192.0.2.0/24]\n\
         networks: [ {{ name: cdn, cidrs: [10.1.0.0/16, 192.0.2.0/24] }}, \
         {{ name: bad, cidrs: [10.2.0.0/16], action: drop }}, \
         {{ name: lb, cidrs: [198.51.100.0/24], action: exempt }} ]\n"
    );
    let config = read(&file).unwrap().config;
    let names = ["cdn", "bad", "lb", Config::TRUSTED_PROXIES];
    let ids = names.iter().zip(1..).map(|(name, id)| (*name, id)).collect();
    let tables = crate::tables::Tables::of(&config, &Default::default(), &ids);
    let of = |cidr: &str| {
        let prefix = super::raw::prefix(&cidr.parse().unwrap());
        let network = *tables.networks.get(&prefix).unwrap();
        (network.id, network.action())
    };
    assert_eq!(of("10.0.0.0/8"), (4, NetworkAction::Exempt));
    assert_eq!(of("10.1.0.0/16"), (1, NetworkAction::Exempt), "it keeps its name");
    assert_eq!(of("192.0.2.0/24"), (1, NetworkAction::Exempt));
    assert_eq!(of("10.2.0.0/16"), (2, NetworkAction::Drop));
    assert_eq!(of("198.51.100.0/24"), (3, NetworkAction::Exempt));
    refused(
        &format!(
            "{HEAD}trusted_proxies: [10.0.0.0/8]\n\
             networks: [ {{ name: bad, cidrs: [10.0.0.0/8], action: drop }} ]\n"
        ),
        "which is dropped",
    );
    refused(&format!("{HEAD}ipv6_prefix: 31\n"), "from 32 to 128");
    assert_eq!(read(&format!("{HEAD}ipv6_prefix: 56\n")).unwrap().config.ipv6_prefix, 56);
}

#[test]
fn what_contradicts_itself_is_refused_in_one_line() {
    let zones = |zones: &str| format!("interfaces: []\nzones: [ {zones} ]\n");
    refused(&zones("{ name: a, id: 1 }, { name: a, id: 2 }"), "duplicate zone \"a\"");
    refused(&zones("{ name: a, id: 1 }, { name: b, id: 1 }"), "duplicate zone id 1");
    refused(&zones("{ name: a, id: 0 }"), "is 0, write a whole number from 1 to 255");
    refused(&zones("{ name: a, id: 256 }"), "is 256, write a whole number from 1 to 255");
    refused(&zones("{ name: a, id: 1, screen: x }"), "unknown screen \"x\"");
    refused(
        &HEAD.replace("zone: internet", "zone: x"),
        "unknown zone \"x\", known zones: `internet`",
    );
    refused(&HEAD.replace("eth0", "a234567890123456"), "is over 15 bytes");
    refused(&zones("{ name: a23456789012345678901234567890123, id: 1 }"), "33 bytes long");
    refused(&format!("{HEAD}pin_path: here\n"), "is not an absolute path");
    refused(&format!("{HEAD}limits: {{ flows: 16777217 }}\n"), "from 1 to 16777216");
    refused(&format!("{HEAD}colour: red\n"), "unknown key `colour`");
    refused(
        "interfaces: [ { name: a, zone: z }, { name: a, zone: z } ]\nzones: [ { name: z, id: 1 } ]",
        "duplicate interface \"a\" with every VLAN",
    );
    refused(
        "interfaces: [ { name: a, zone: z, vlan: 2 }, { name: a, zone: z, vlan: 3, mode: native } ]\n\
         zones: [ { name: z, id: 1 } ]",
        "interface \"a\" has two modes",
    );
    refused(&HEAD.replace("eth0", "eth0, vlan: 4095"), "from 1 to 4094");
}

#[test]
fn networks_that_overlap_are_refused_and_nested_ones_are_not() {
    let with = |networks: &str| format!("{HEAD}networks: [ {networks} ]\n");
    refused(
        &with("{ name: a, cidrs: [10.0.0.0/8] }, { name: b, cidrs: [10.0.0.0/8] }"),
        "networks[1].cidrs[0]: overlaps: 10.0.0.0/8 is in two networks",
    );
    refused(&with("{ name: a, cidrs: [10.0.0.1, 10.0.0.1/32] }"), "twice in one");
    refused(
        &with("{ name: a, cidrs: [192.0.2.1/24] }"),
        "192.0.2.1/24 has bits set behind its prefix, write 192.0.2.0/24 for the network",
    );
    refused(&with("{ name: a, cidrs: [] }, { name: a, cidrs: [] }"), "duplicate network");
    let limit = "limits: { networks: 1 }\n";
    refused(
        &format!("{}{limit}", with("{ name: a, cidrs: [10.0.0.1, 10.0.0.2] }")),
        "2 prefixes, over the limit of 1",
    );
    assert!(
        read(&with("{ name: a, cidrs: [10.0.0.0/8] }, { name: b, cidrs: [10.0.0.0/9] }")).is_ok()
    );
}

#[test]
fn screens_without_figures_or_with_wrong_ones_are_refused() {
    let with = |screen: &str| format!("{HEAD}screens: [ {{ name: s, {screen} }} ]\n");
    refused(
        &with("syn_flood: { action: drop }"),
        "has none of `per_source_per_s`, `per_zone_per_s`",
    );
    refused(&with("udp_flood: { per_zone_per_s: 1 }"), "has no `action`");
    refused(&with("icmp_flood: { per_zone_per_s: 3900001, action: drop }"), "from 1 to 3900000");
    refused(&with("port_scan: { ports_per_8s: 501, action: drop }"), "from 1 to 500");
    refused(&with("land: maybe"), "write off, count or drop");
    refused(&with("syn_flod: drop"), "did you mean");
    refused(&format!("{HEAD}screens: [ {{ name: s }}, {{ name: s }} ]\n"), "duplicate screen");
}

#[test]
fn all_problems_are_reported_at_once_with_their_lines() {
    let found = problems(
        "interfaces:\n- { name: eth0, zone: x }\nzones:\n- { name: a, id: 1 }\n- { name: b, id: 1 }\n\
         networks:\n- { name: n, cidrs: [10.0.0.1/8] }\n",
    );
    let lines: Vec<&str> = found.iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(lines, ["2", "5", "7"], "{found:#?}");
}

#[test]
fn a_running_classifier_refuses_what_it_cannot_change() {
    let fixed = Fixed::of(&read(HEAD).unwrap().config);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("classifier.yaml");
    let held = |more: &str| {
        std::fs::write(&path, format!("{HEAD}{more}")).unwrap();
        resolve(&Sources::read(&path).unwrap(), Some(&fixed), &mut Lists::default())
    };
    assert!(held("flows: { ports: [80] }\n").is_ok());
    for (more, place) in [
        ("pin_path: /elsewhere\n", "pin_path"),
        ("metrics: { address: 127.0.0.1:1 }\n", "metrics"),
        ("limits: { flows: 1 }\n", "limits.flows"),
    ] {
        let problems = held(more).expect_err(place);
        assert_eq!((problems.len(), &*problems[0].path), (1, place));
        assert!(problems[0].fix.contains("restart"));
    }
}

#[test]
fn the_documentation_names_every_limit_with_its_default() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/classifier.md");
    let text = std::fs::read_to_string(path).unwrap();
    for (key, default) in Limits::default().entries() {
        assert!(text.contains(&format!("| `limits.{key}` | {default} |")), "{key}");
    }
    for reason in Reason::ALL {
        assert!(text.contains(&format!("| `{}` |", reason.label())), "{reason:?}");
    }
}

#[test]
fn a_network_is_a_list_in_a_file_beside_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("classifier.yaml");
    let list = folder.path().join("bad.txt");
    let write = |networks: &str| std::fs::write(&path, format!("{HEAD}{networks}\n")).unwrap();
    let told = || {
        let problems = load(&path, &mut Lists::default()).expect_err("it was accepted");
        problems.iter().map(|p| format!("{}: {}, {}", p.path, p.what, p.fix)).collect::<Vec<_>>()
    };
    write("networks: [ { name: bad, file: bad.txt, action: drop } ]");
    let said = told();
    assert!(said[0].starts_with("networks[0].file: "), "{said:?}");
    assert!(said[0].contains("bad.txt cannot be read: No such file"), "{said:?}");
    std::fs::write(&list, "192.0.2.0/24\n2001:db8::1\n").unwrap();
    let mut lists = Lists::default();
    let config = load(&path, &mut lists).unwrap().config;
    assert_eq!(lists.paths(), std::slice::from_ref(&list));
    let read = config.networks[0].list.as_ref().unwrap();
    assert_eq!((read.prefixes.len(), read.expires, read.is_expired), (2, None, false));
    assert_eq!(config.networks[0].action, NetworkAction::Drop);

    std::fs::write(&list, "192.0.2.0/24\n2001:db8::1\n192.0.2.0/33\n").unwrap();
    let said = told();
    assert_eq!(said.len(), 1);
    assert!(said[0].contains("bad.txt:3: \"192.0.2.0/33\" is not an address"), "{said:?}");
    for everybody in ["0.0.0.0/0", "::/0", "::ffff:0:0/96"] {
        std::fs::write(&list, everybody).unwrap();
        assert!(told()[0].contains("the list holds everybody"), "{everybody}");
    }
    std::fs::write(&list, "192.0.2.1\n192.0.2.2\n192.0.2.3\n").unwrap();
    for (networks, expected) in [
        ("{ name: a, file: bad.txt, cidrs: [] }", "networks[0]: has `cidrs`, `file` together"),
        ("{ name: a }", "networks[0]: has none of `cidrs`, `file`"),
        ("{ name: a, cidrs: [], expires: 1h }", "`expires` is for lists in files"),
        ("{ name: a, file: bad.txt, expires: 1ms }", "networks[0].expires: is not from 1s"),
        ("{ name: a, file: \"\" }", "networks[0].file: is empty"),
        ("{ name: a, file: . }", "is not a file"),
    ] {
        write(&format!("networks: [ {networks} ]"));
        let said = told();
        assert!(said.len() == 1 && said[0].contains(expected), "{said:?}");
    }
    write("networks: [ { name: a, file: bad.txt } ]\nlimits: { networks: 2 }");
    assert!(told()[0].contains("3 prefixes, over the limit of 2"));
}

#[test]
fn a_list_expires_by_the_age_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("classifier.yaml");
    let list = folder.path().join("bad.txt");
    let text = format!("{HEAD}networks: [ {{ name: a, file: bad.txt, expires: 1h }} ]\n");
    std::fs::write(&path, text).unwrap();
    std::fs::write(&list, "192.0.2.1\n").unwrap();
    let read = || {
        let config = load(&path, &mut Lists::default()).unwrap().config;
        (config.networks[0].prefix_count(), config.next_expiry())
    };
    let (count, expires) = read();
    assert_eq!(count, 1);
    assert!(expires.unwrap() > std::time::SystemTime::now());
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(7_200);
    std::fs::File::options().write(true).open(&list).unwrap().set_modified(old).unwrap();
    assert_eq!(read(), (0, None));
}
