use std::path::PathBuf;

use sallyport_config::{File, Sources};

use super::differences::SECRET;
use super::*;

fn file(text: &str) -> Vec<File> {
    vec![File { path: PathBuf::from("a.yaml"), text: text.to_owned() }]
}

/// Every place with what was and what is there.
fn between(before: &str, after: &str) -> Vec<(String, Option<String>, Option<String>)> {
    let found = Differences::between(&file(before), &file(after));
    assert_eq!(found.more, 0);
    found.places.into_iter().map(|place| (place.path, place.before, place.after)).collect()
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn entries_with_names_are_the_same_where_their_names_are() {
    let routes = "routes: [ { name: a, t: 1s }, { name: b, t: 2s } ]";
    let moved = "routes: [ { name: new, t: 3s }, { name: b, t: 5s }, { name: a, t: 1s } ]";
    assert_eq!(
        between(routes, moved),
        [
            ("routes[new]".into(), None, text("{ name: new, t: 3s }")),
            ("routes[b].t".into(), text("2s"), text("5s")),
        ]
    );
    assert_eq!(
        between("a: { b: [1, 2] }", "a: { b: [1, 3, 4], c: x }"),
        [
            ("a.b[1]".into(), text("2"), text("3")),
            ("a.b[2]".into(), None, text("4")),
            ("a.c".into(), None, text("x")),
        ]
    );
    assert_eq!(between("a: 1\nb: 2", "b: 2"), [("a".into(), text("1"), None)]);
    assert_eq!(between("a: 1", "# a comment\na: 1"), []);
}

#[test]
fn secrets_are_not_told() {
    let with = |secret: &str| {
        format!(
            "push: {{ headers: {{ x-key: {secret} }} }}\nfilters: [ {{ jwt: {{ secret: {secret} }} }} ]\n\
             other: {{ password: {secret}, token_file: /a }}"
        )
    };
    let found = between(&with("hunter1"), &with("hunter2"));
    assert_eq!(found.len(), 3);
    assert!(
        found.iter().all(|(_, before, after)| *before == text(SECRET) && *after == text(SECRET))
    );
    let new = between("a: 1", &format!("a: 1\n{}", with("hunter3")));
    let told = format!("{new:?}");
    assert!(!told.contains("hunter") && told.contains("/a"), "{told}");
}

#[test]
fn what_is_told_is_bounded() {
    let many = |value: &str| -> String {
        (0..500).map(|index| format!("key{index}: {value}\n")).collect()
    };
    let found = Differences::between(&file(&many("1")), &file(&many("2")));
    assert_eq!((found.places.len(), found.more), (100, 400));
    let long = "x".repeat(100_000);
    let found = Differences::between(&file("a: 1"), &file(&format!("a: {long}")));
    assert!(found.places[0].after.as_ref().unwrap().chars().count() <= 201);
}

#[test]
fn the_latest_are_kept_and_refusals_change_nothing() {
    let mut history = History::default();
    let add = |history: &mut History, version: u64, text: &str| {
        let sources = Sources::of_bytes("a.yaml".as_ref(), text.as_bytes().to_vec()).unwrap();
        let sha256 = Some(sources.sha256().to_owned());
        let outcome = Outcome::Applied { version };
        history.add(Reason::Edit, sha256, outcome, Some(Texts::of(&sources)));
    };
    for version in 1..=60 {
        add(&mut history, version, &format!("a: {version}"));
    }
    let refused = Outcome::Refused(Problems::with_file("a.yaml".into(), "is wrong", "mend it"));
    history.add(Reason::Asked, None, refused, None);
    add(&mut history, 61, "a: 61");
    let entries: Vec<_> = history.entries().collect();
    assert_eq!(entries.len(), 50);
    assert!(entries[0].1.is_none(), "what was before it is not known any more");
    assert!(entries[48].1.is_none() && matches!(entries[48].0.outcome, Outcome::Refused(_)));
    let last = &entries[49].1.unwrap().places[0];
    assert_eq!((last.before.as_deref(), last.after.as_deref()), (Some("60"), Some("61")));
}
