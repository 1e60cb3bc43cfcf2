use super::*;
use crate::matcher::HeaderMatch;

fn route(path: PathMatch, value: ValueMatch) -> Match {
    let name = http::header::ACCEPT;
    Match { path, headers: vec![HeaderMatch { name, value }], ..Match::default() }
}

#[test]
fn a_pattern_that_was_there_is_not_compiled_again() {
    let before =
        route(PathMatch::regex("/a/[0-9]+").unwrap(), ValueMatch::regex("(?x) a+ # some").unwrap());
    let mut patterns = Patterns::of([&before]);
    assert!(patterns.path("/a/[0-9]+").unwrap().holds("/a/7"));
    patterns.value("(?x) a+ # some").unwrap();
    assert_eq!(patterns.compiled(), 0);

    assert!(patterns.path("/b/[0-9]+").unwrap().holds("/b/7"));
    patterns.path("/b/[0-9]+").unwrap();
    patterns.value("a+").unwrap();
    patterns.value("a+").unwrap();
    assert_eq!(patterns.compiled(), 2);
}

#[test]
fn a_bad_pattern_is_refused_each_time() {
    let mut patterns = Patterns::default();
    for _ in 0..2 {
        assert!(patterns.path("a(").is_err());
        assert!(patterns.value("a)|(?:b").is_err());
    }
    assert_eq!(patterns.compiled(), 0);
}
