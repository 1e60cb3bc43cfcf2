//! A parser for the Prometheus text format 0.0.4 that panics at whatever the format does not
//! allow: samples before their TYPE or outside their family, names out of its alphabet, unknown
//! escapes, labels or series given twice, a last line without its end.

#![expect(clippy::panic, reason = "a test's parser, whose verdict is a panic")]

use std::collections::{BTreeMap, HashSet};

/// What belongs to one metric name.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) samples: Vec<Sample>,
}

/// One line.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Family {
    /// The value of one series, if it is there.
    pub(crate) fn value(&self, name: &str, labels: &BTreeMap<String, String>) -> Option<f64> {
        let found = self.samples.iter().find(|it| it.name == name && it.labels == *labels);
        found.map(|it| it.value)
    }
}

/// Reads a whole exposition.
pub(crate) fn parse(text: &str) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::new();
    let mut series = HashSet::new();
    let mut helped = None;
    let mut current = String::new();
    let body = text.strip_suffix('\n').expect("the last line ends");
    for line in body.split('\n') {
        if let Some(help) = line.strip_prefix("# HELP ") {
            helped = help.split_once(' ').map(|(name, _)| name.to_owned());
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            current = open(&mut families, kind);
            assert_eq!(helped.take().as_ref(), Some(&current), "HELP comes just before TYPE");
        } else {
            let sample = sample(line);
            assert!(series.insert((sample.name.clone(), sample.labels.clone())), "twice: {line}");
            let family = families.get_mut(&current).expect("TYPE comes before samples");
            assert!(belongs(&sample.name, &current, &family.kind), "{line} under {current}");
            family.samples.push(sample);
        }
    }
    families
}

fn open(families: &mut BTreeMap<String, Family>, line: &str) -> String {
    let (name, kind) = line.split_once(' ').expect("TYPE has a name and a kind");
    assert!(is_name(name), "{name}");
    assert!(["counter", "gauge", "histogram", "summary", "untyped"].contains(&kind), "{kind}");
    let family = Family { kind: kind.to_owned(), samples: Vec::new() };
    assert!(families.insert(name.to_owned(), family).is_none(), "{name} is opened twice");
    name.to_owned()
}

fn belongs(name: &str, family: &str, kind: &str) -> bool {
    match (kind, name.strip_prefix(family)) {
        ("histogram", Some(suffix)) => ["_bucket", "_sum", "_count"].contains(&suffix),
        ("summary", Some(suffix)) => ["", "_sum", "_count"].contains(&suffix),
        (_, suffix) => suffix == Some(""),
    }
}

fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).expect("a sample has a value");
    let (name, rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    let mut rest = rest;
    if let Some(inner) = rest.strip_prefix('{') {
        rest = self::labels(inner, &mut labels);
    }
    let value = rest.strip_prefix(' ').expect("one space before the value");
    Sample { name: name.to_owned(), labels, value: number(value) }
}

/// Reads up to the closing brace and returns what follows it.
fn labels<'a>(mut rest: &'a str, labels: &mut BTreeMap<String, String>) -> &'a str {
    loop {
        let (name, quoted) = rest.split_once("=\"").expect("a label has a quoted value");
        assert!(is_name(name) && !name.contains(':'), "label {name}");
        let (value, after) = unquote(quoted);
        assert!(labels.insert(name.to_owned(), value).is_none(), "label {name} is given twice");
        match after.split_at(1) {
            ("}", after) => return after,
            (",", after) => rest = after,
            other => panic!("{other:?} after a label"),
        }
    }
}

fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next().expect("a value is closed") {
            '"' => return (value, chars.as_str()),
            '\\' => value.push(match chars.next() {
                Some('\\') => '\\',
                Some('"') => '"',
                Some('n') => '\n',
                other => panic!("escape {other:?}"),
            }),
            plain => value.push(plain),
        }
    }
}

fn number(text: &str) -> f64 {
    assert!(!text.contains(' '), "no time stamps here: {text}");
    let value: f64 = text.parse().expect("a value is a number");
    assert!(value >= 0.0 && value.is_finite(), "{text}");
    value
}

fn is_name(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit())
}
