use std::borrow::Cow;

use proptest::prelude::*;

use super::*;

#[test]
fn hosts_take_one_spelling() {
    let cases = [
        ("example.com", "example.com"),
        ("Shop.EXAMPLE.com", "shop.example.com"),
        ("example.com.", "example.com"),
        ("example.com.:80", "example.com"),
        ("localhost:65535", "localhost"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("under_score.example", "under_score.example"),
        ("192.0.2.1:8080", "192.0.2.1"),
        ("[::1]", "[::1]"),
        ("[::1]:8080", "[::1]"),
        ("[2001:DB8::A]", "[2001:db8::a]"),
    ];
    for (host, expected) in cases {
        assert_eq!(normalise_host(host).as_deref(), Ok(expected), "{host}");
    }
}

#[test]
fn rfc3986_3_2_3_empty_port_is_no_port() {
    assert_eq!(normalise_host("example.com:").as_deref(), Ok("example.com"));
    assert_eq!(normalise_host("[::1]:").as_deref(), Ok("[::1]"));
}

#[test]
fn rfc5952_4_spellings_of_an_address_are_one() {
    for host in ["[2001:db8::1]", "[2001:DB8:0:0:0:0:0:1]", "[2001:0db8::0001]"] {
        assert_eq!(normalise_host(host).as_deref(), Ok("[2001:db8::1]"), "{host}");
    }
}

#[test]
fn hosts_that_are_refused() {
    let cases = [
        ("", HostError::Empty),
        (".", HostError::Empty),
        (":80", HostError::Empty),
        ("a..b", HostError::EmptyLabel),
        (".a", HostError::EmptyLabel),
        ("a..", HostError::EmptyLabel),
        ("a b", HostError::Character(b' ')),
        ("a\tb", HostError::Character(b'\t')),
        ("a\0", HostError::Character(0)),
        ("a/b", HostError::Character(b'/')),
        ("a\\b", HostError::Character(b'\\')),
        ("user@a", HostError::Character(b'@')),
        ("a,b", HostError::Character(b',')),
        ("*.a", HostError::Character(b'*')),
        ("a%2e", HostError::Character(b'%')),
        ("bücher.example", HostError::Character(0xc3)),
        ("a:http", HostError::Port),
        ("a:+80", HostError::Port),
        ("a:65536", HostError::Port),
        ("a:80:80", HostError::Port),
        ("a:80.", HostError::Port),
        ("::1", HostError::Port),
        ("[::1]x", HostError::Port),
        ("[::1].", HostError::Port),
        ("[::1", HostError::Address),
        ("[]", HostError::Address),
        ("[::1%25eth0]", HostError::Address),
        ("[v1.x]", HostError::Address),
        ("[192.0.2.1]", HostError::Address),
    ];
    for (host, expected) in cases {
        assert_eq!(normalise_host(host), Err(expected), "{host:?}");
    }
}

#[test]
fn rfc1035_2_3_4_lengths() {
    let label = "a".repeat(63);
    let longest = [&*label, &label, &label, &"a".repeat(61)].join(".");
    assert_eq!(normalise_host(&longest).as_deref(), Ok(&*longest));
    assert_eq!(normalise_host(&format!("{longest}a")), Err(HostError::TooLong));
    assert_eq!(normalise_host(&format!("{label}a.example")), Err(HostError::LabelTooLong));
    assert_eq!(normalise_host(&format!("example.{label}a")), Err(HostError::LabelTooLong));
}

#[test]
fn a_normal_host_is_borrowed() {
    for host in ["example.com", "example.com.:80", "[::1]:80"] {
        assert!(matches!(normalise_host(host), Ok(Cow::Borrowed(_))), "{host}");
    }
}

#[test]
fn domains_read_and_write() {
    let cases = [
        ("Example.com.", Domain::Exact("example.com".into())),
        ("*.Example.com", Domain::Suffix("example.com".into())),
        ("shop.*", Domain::Prefix("shop".into())),
        ("*", Domain::Any),
        ("[2001:DB8::1]", Domain::Exact("[2001:db8::1]".into())),
    ];
    for (text, expected) in cases {
        let domain: Domain = text.parse().unwrap();
        assert_eq!(domain, expected, "{text}");
        assert_eq!(domain.to_string().parse(), Ok(expected), "{text}");
    }
}

#[test]
fn domains_that_are_refused() {
    let cases = [
        ("", DomainError::Empty),
        ("example.com:80", DomainError::Port),
        ("*.example.com:80", DomainError::Port),
        ("[::1]:80", DomainError::Port),
        ("::1", DomainError::Port),
        ("a.*.b", DomainError::Wildcard),
        ("*.*", DomainError::Wildcard),
        ("*a.example", DomainError::Wildcard),
        ("*.a.*", DomainError::Wildcard),
        ("bücher.example", DomainError::NotAscii),
        ("*.", DomainError::Host(HostError::Empty)),
        ("a..b", DomainError::Host(HostError::EmptyLabel)),
        ("a/b", DomainError::Url),
        ("https://site.example", DomainError::Url),
        ("a_b@c", DomainError::Host(HostError::Character(b'@'))),
        ("[nonsense]", DomainError::Host(HostError::Address)),
    ];
    for (text, expected) in cases {
        assert_eq!(text.parse::<Domain>(), Err(expected), "{text}");
    }
}

fn table(domains: &[&str]) -> HostTable {
    let domains = domains.iter().map(|domain| domain.parse().unwrap());
    HostTable::new(domains.zip(0..)).unwrap()
}

#[test]
fn the_most_specific_domain_wins() {
    let table = table(&[
        "*",
        "*.com",
        "*.example.com",
        "a.example.com",
        "shop.*",
        "shop.eu.*",
        "*.shop.example.com",
    ]);
    let cases = [
        ("a.example.com", 3),
        ("b.example.com", 2),
        ("a.b.example.com", 2),
        ("example.com", 1),
        ("x.shop.example.com", 6),
        ("shop.example.com", 2),
        ("shop.org", 4),
        ("shop.us.org", 4),
        ("shop.eu.org", 5),
        ("shop.eu", 4),
        ("shop", 0),
        ("com", 0),
        ("aexample.org", 0),
        ("[::1]", 0),
    ];
    for (host, expected) in cases {
        assert_eq!(table.lookup(host), Some(expected), "{host}");
    }
}

#[test]
fn a_wildcard_stands_for_at_least_one_label() {
    let table = table(&["*.example.com", "shop.*"]);
    assert_eq!(table.lookup("example.com"), None);
    assert_eq!(table.lookup("xexample.com"), None);
    assert_eq!(table.lookup("shop"), None);
    assert_eq!(table.lookup("shopx.org"), None);
}

#[test]
fn an_empty_table_finds_nothing() {
    assert_eq!(HostTable::default().lookup("example.com"), None);
}

#[test]
fn a_domain_claimed_twice_is_an_error() {
    for domain in ["example.com", "*.example.com", "shop.*", "*"] {
        let domain: Domain = domain.parse().unwrap();
        let result = HostTable::new([(domain.clone(), 3), (domain.clone(), 5)]);
        assert_eq!(result.unwrap_err(), DuplicateDomain { domain, first: 3, second: 5 });
    }
}

/// The precedence of the table, by trying every domain.
fn reference(domains: &[Domain], host: &str) -> Option<u32> {
    let rank = |domain: &Domain| match domain {
        Domain::Exact(name) => (**name == *host).then_some((3, 0)),
        Domain::Suffix(name) => host.ends_with(&format!(".{name}")).then_some((2, name.len())),
        Domain::Prefix(name) => host.starts_with(&format!("{name}.")).then_some((1, name.len())),
        Domain::Any => Some((0, 0)),
    };
    let ranked = domains.iter().zip(0..).filter_map(|(domain, n)| Some((rank(domain)?, n)));
    ranked.max().map(|(_, n)| n)
}

proptest! {
    #[test]
    fn normalise_host_never_panics(host in any::<String>()) {
        if let Ok(normal) = normalise_host(&host) {
            prop_assert!(normal.is_ascii() && !normal.is_empty());
        }
    }

    #[test]
    fn normalise_host_is_idempotent(host in "[a-zA-Z.:0-9\\[\\]-]{1,20}") {
        if let Ok(once) = normalise_host(&host) {
            prop_assert_eq!(normalise_host(&once), Ok(Cow::Borrowed(&*once)));
        }
    }

    #[test]
    fn the_table_agrees_with_trying_every_domain(
        texts in prop::collection::hash_set(r"(\*\.)?[ab](\.[ab]){0,2}|[ab](\.[ab]){0,2}\.\*|\*", 0..12),
        host in r"[ab](\.[ab]){0,4}",
    ) {
        let domains: Vec<Domain> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let table = HostTable::new(domains.iter().cloned().zip(0..)).unwrap();
        prop_assert_eq!(table.lookup(&host), reference(&domains, &host));
    }
}
