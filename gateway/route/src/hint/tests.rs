use super::{HintMatch, HintMismatch, Hints};

fn office() -> Hints {
    Hints {
        network: Some("office".into()),
        zone: Some("internet".into()),
        protocol: Some("tls"),
        screens: Box::new(["port_scan", "land"]),
        syn_rate: 101,
        ..Hints::default()
    }
}

fn asked() -> HintMatch {
    HintMatch {
        network: Some("office".into()),
        zone: Some("internet".into()),
        protocol: Some("tls".into()),
        screens: vec!["syn_fin".into(), "land".into()],
        syn_rate_above: Some(100),
        ..HintMatch::default()
    }
}

#[test]
fn everything_given_must_hold() {
    assert!(asked().holds(Some(&office())));
    assert_eq!(asked().mismatch(Some(&office())), None);
    for (hints, expected) in [
        (Hints { network: None, ..office() }, "hint network is not office"),
        (Hints { network: Some("home".into()), ..office() }, "hint network is not office"),
        (Hints { zone: Some("lan".into()), ..office() }, "hint zone is not internet"),
        (Hints { protocol: None, ..office() }, "hint protocol is not tls"),
        (Hints { screens: Box::new(["port_scan"]), ..office() }, "none of syn_fin, land"),
        (Hints { syn_rate: 100, ..office() }, "hint syn_rate is not above 100"),
    ] {
        assert!(!asked().holds(Some(&hints)), "{hints:?}");
        let said = asked().mismatch(Some(&hints)).unwrap().to_string();
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn without_hints_nothing_that_asks_for_some_matches() {
    for asked in [asked(), HintMatch::default()] {
        assert!(!asked.holds(None));
        assert_eq!(asked.mismatch(None), Some(HintMismatch::Unknown));
    }
    assert!(HintMatch::default().holds(Some(&Hints::default())));
}

#[test]
fn it_is_listed_clause_by_clause() {
    let text = "hint network office, hint zone internet, hint protocol tls, \
                hint screens syn_fin or land, hint syn_rate above 100";
    assert_eq!(asked().to_string(), text);
}
