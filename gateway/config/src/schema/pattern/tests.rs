use regex::Regex;

use super::{between, numbers};

#[test]
fn a_range_holds_its_numbers_and_no_others() {
    for (from, to) in [(0, 0), (1, 9), (7, 1_234), (100, 65_535), (99, 101), (3, 1_000_000)] {
        let range = Regex::new(&format!("^{}$", between(from, to))).unwrap();
        for number in (0..2_000).chain([65_534, 65_535, 65_536, 999_999, 1_000_000, 1_000_001]) {
            let is_match = range.is_match(&number.to_string());
            assert_eq!(is_match, (from..=to).contains(&number), "{number} of {from} to {to}");
        }
    }
}

#[test]
fn a_bound_between_two_units_lets_parts_of_one_pass() {
    // `regex` has no look-ahead, so nothing here begins at 0.
    let kib = |least, most, text: &str| {
        Regex::new(&format!("^{}$", numbers(least, most, 1_024))).unwrap().is_match(text)
    };
    for (text, expected) in [("1", true), ("1.5", true), ("4", true), ("4.0", true)] {
        assert_eq!(kib(1_024, 4_096, text), expected, "{text}");
    }
    for text in ["0.9", "4.1", "5", "", "."] {
        assert!(!kib(1_024, 4_096, text), "{text}");
    }
    assert!(kib(256, 1 << 20, "0.5") && !kib(256, 1 << 20, "0"));
    assert!(kib(100, 200, "0.1") && !kib(100, 200, "1"));
}
