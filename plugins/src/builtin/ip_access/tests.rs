use std::sync::Arc;

use sallyport_route::Hints;

use super::KIND;
use crate::chain::Step;
use crate::testing::Tried;

/// Whether a client of this network, whose packets tripped this screen, is let in.
fn is_let_in(yaml: &str, client: &str, hints: Option<(&str, &'static str)>) -> bool {
    let mut tried = Tried::new(&KIND, yaml);
    tried.about.client = Some(client.parse().unwrap());
    let hints = hints.map(|(network, screen)| Hints {
        network: Some(Arc::from(network)),
        screens: Box::new([screen]),
        ..Hints::default()
    });
    tried.about.hints = hints.map(|hints| &*Box::leak(Box::new(hints)));
    match tried.request() {
        Step::Answer(answer) => {
            assert_eq!((answer.status.as_u16(), answer.reason), (403, "forbidden"));
            false
        }
        _ => true,
    }
}

#[test]
fn the_default_follows_from_the_lists() {
    for (yaml, expected) in [
        ("{ allow: [10.0.0.0/8] }", false),
        ("{ allow_networks: [office] }", false),
        ("{ deny: [10.0.0.0/8] }", true),
        ("{ deny_networks: [office] }", true),
        ("{ allow: [10.0.0.0/8], default: allow }", true),
        ("{ deny: [10.0.0.0/8], default: deny }", false),
    ] {
        assert_eq!(is_let_in(yaml, "192.0.2.1", None), expected, "{yaml}");
    }
}

#[test]
fn hints_and_prefixes_are_asked_in_order() {
    let yaml = "{ allow: [10.1.0.0/16], deny: [10.0.0.0/8], allow_networks: [office],
        deny_networks: [guests], deny_screens: [port_scan] }";
    for (client, hints, expected) in [
        ("10.1.0.1", None, true),
        ("10.1.0.1", Some(("guests", "land")), false),
        ("10.1.0.1", Some(("office", "port_scan")), false),
        ("10.2.0.1", Some(("office", "land")), false),
        ("192.0.2.1", Some(("office", "land")), true),
        ("192.0.2.1", Some(("lab", "land")), false),
        ("192.0.2.1", None, false),
    ] {
        assert_eq!(is_let_in(yaml, client, hints), expected, "{client} {hints:?}");
    }
}
