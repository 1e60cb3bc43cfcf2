//! YAML text as a tree of values.
//!
//! Scalars are told apart by the core schema of YAML 1.2; numbers keep their text, so that a message
//! can show what was written. What is refused here is what no reader could refuse later: broken
//! syntax, keys that are there twice, aliases that multiply, nesting without end.

use std::collections::{HashMap, HashSet};
use std::fmt;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::problem::{Found, Severity};
use crate::references::Step;

/// Collections within one another; a configuration has about ten.
const DEPTH_MAX: usize = 100;

/// Values that aliases may add to those that were written.
const COPIES_MAX: usize = 1 << 20;

/// A value of a YAML file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// Nothing, `null` or `~`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as written.
    Number(Box<str>),
    /// Any other scalar, and everything in quotes.
    String(Box<str>),
    /// A list.
    Sequence(Vec<Value>),
    /// A mapping.
    Mapping(Mapping),
    /// A value with a tag of its own, of which only the tag is kept.
    Tagged(Box<str>),
}

/// Keys and values in the order in which they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mapping(Vec<(Value, Value)>);

impl Value {
    /// The text of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// Whether it is a string.
    #[must_use]
    pub fn is_string(&self) -> bool {
        matches!(self, Self::String(_))
    }

    /// The items of a list.
    #[must_use]
    pub fn as_sequence(&self) -> Option<&Vec<Value>> {
        if let Self::Sequence(items) = self { Some(items) } else { None }
    }

    /// A whole number that is not negative: decimal, or behind `0x` or `0o`.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        if let Self::Number(text) = self { whole(text) } else { None }
    }

    /// The value as a message shows it: scalars as written, short; collections by kind.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Null => "empty".into(),
            Self::Bool(flag) => flag.to_string(),
            Self::Number(number) => number.to_string(),
            Self::String(text) => format!("{:?}", text.chars().take(80).collect::<String>()),
            Self::Sequence(_) => "a list".into(),
            Self::Mapping(_) => "a mapping".into(),
            Self::Tagged(tag) => format!("tagged {tag}"),
        }
    }

    fn plain(text: &str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Self::Null,
            "true" | "True" | "TRUE" => Self::Bool(true),
            "false" | "False" | "FALSE" => Self::Bool(false),
            _ if is_number(text) => Self::Number(text.into()),
            _ => Self::String(text.into()),
        }
    }

    fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Self {
        match tag {
            Some(tag) if !tag.is_yaml_core_schema() => Self::tagged(tag),
            Some(tag) if tag.suffix == "str" => Self::String(text.into()),
            Some(_) => Self::plain(text),
            None if style == ScalarStyle::Plain => Self::plain(text),
            None => Self::String(text.into()),
        }
    }

    fn tagged(tag: &Tag) -> Self {
        Self::Tagged(format!("{}{}", tag.handle, tag.suffix).into())
    }

    /// How many values it is made of.
    fn count(&self) -> usize {
        1 + match self {
            Self::Sequence(items) => items.iter().map(Self::count).sum(),
            Self::Mapping(Mapping(entries)) => {
                entries.iter().map(|(key, value)| key.count() + value.count()).sum()
            }
            _ => 0,
        }
    }
}

impl Mapping {
    /// The value under `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(found, _)| found.as_str() == Some(key)).map(|(_, value)| value)
    }

    /// Whether there is a value under `key`.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Adds an entry.
    pub fn insert(&mut self, key: &str, value: Value) {
        self.0.push((Value::String(key.into()), value));
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().map(|(key, _)| key)
    }

    /// Keys with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&Value, &Value)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// Keys with their values, which may be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&Value, &mut Value)> {
        self.0.iter_mut().map(|(key, value)| (&*key, value))
    }

    fn repeated(&self) -> Option<&Value> {
        if let [(one, _), (other, _)] = &self.0[..] {
            return (one == other).then_some(other);
        }
        let mut seen = HashSet::with_capacity(self.0.len());
        self.keys().find(|key| !seen.insert(*key))
    }
}

impl Value {
    /// The value that is one step within this one.
    pub(crate) fn step_mut(&mut self, step: &Step) -> Option<&mut Self> {
        match (self, step) {
            (Self::Sequence(items), Step::Item(index)) => items.get_mut(*index),
            (Self::Mapping(mapping), Step::Key(key)) => {
                let mut entries = mapping.iter_mut();
                entries.find_map(|(found, value)| (found.as_str() == Some(key)).then_some(value))
            }
            _ => None,
        }
    }
}

/// As other formats write it: numbers as numbers, and as text those that are none there.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(flag) => serializer.serialize_bool(*flag),
            Self::Number(text) => number(text, serializer),
            Self::String(text) | Self::Tagged(text) => serializer.serialize_str(text),
            Self::Sequence(items) => serializer.collect_seq(items),
            Self::Mapping(Mapping(entries)) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

fn number<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    if let Some(number) = whole(text) {
        return serializer.serialize_u64(number);
    }
    if let Ok(number) = text.parse::<i64>() {
        return serializer.serialize_i64(number);
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => serializer.serialize_f64(number),
        _ => serializer.serialize_str(text),
    }
}

fn whole(text: &str) -> Option<u64> {
    let in_radix = |prefix, radix| u64::from_str_radix(text.strip_prefix(prefix)?, radix).ok();
    in_radix("0x", 16).or_else(|| in_radix("0o", 8)).or_else(|| text.parse().ok())
}

/// From other formats, and from YAML that is read without a tree: numbers as they are written there.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader)
    }
}

/// Any.
impl JsonSchema for Value {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AnyValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        Schema::default()
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.to_string().into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.to_string().into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(match number {
            _ if number.is_nan() => ".nan".into(),
            f64::INFINITY => ".inf".into(),
            f64::NEG_INFINITY => "-.inf".into(),
            // As `1.0`, not as `1`, which is a whole number.
            _ => format!("{number:?}").into(),
        }))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut read = Vec::new();
        while let Some(item) = items.next_element()? {
            read.push(item);
        }
        Ok(Value::Sequence(read))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut read = Mapping::default();
        while let Some(entry) = entries.next_entry()? {
            read.0.push(entry);
        }
        match read.repeated() {
            Some(key) => Err(A::Error::custom(format!("{} is a duplicate key", key.shown()))),
            None => Ok(Value::Mapping(read)),
        }
    }
}

/// YAML 1.2.2, 10.3.2, except that `0123` is text: YAML 1.1 took it for octal, and so may who wrote it.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let radix = |prefix, digit: fn(&u8) -> bool| {
        text.strip_prefix(prefix)
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| digit(&byte)))
    };
    if radix("0x", u8::is_ascii_hexdigit) || radix("0o", |byte| (b'0'..=b'7').contains(byte)) {
        return true;
    }
    let bytes = unsigned.as_bytes();
    let leading_zero = bytes.len() > 1 && bytes[0] == b'0' && bytes[1].is_ascii_digit();
    let begins = bytes.iter().find(|byte| **byte != b'.').is_some_and(u8::is_ascii_digit);
    begins && !leading_zero && unsigned.parse::<f64>().is_ok()
}

/// A collection that has begun and not ended.
struct Open {
    value: Value,
    /// The key whose value comes next.
    key: Option<Value>,
    anchor: usize,
    /// What stands for it, if it has a tag of its own.
    tagged: Option<Value>,
}

/// The tree as far as it was read.
#[derive(Default)]
struct Tree {
    root: Option<Value>,
    open: Vec<Open>,
    anchors: HashMap<usize, Value>,
    copies: usize,
    /// What is wrong and hides nothing else.
    faults: Vec<Fault>,
}

/// What is wrong, and how to mend it.
struct Fault {
    /// Where, if it is not where the parser stands.
    place: Option<String>,
    what: String,
    fix: &'static str,
}

fn fault(what: impl Into<String>, fix: &'static str) -> Fault {
    Fault { place: None, what: what.into(), fix }
}

/// Reads `text`, which is the file with index `file`. What is wrong and leaves a tree that can be read
/// on is noted beside it.
pub(crate) fn read(file: usize, text: &str) -> Result<(Value, Vec<Found>), Found> {
    let found = |line: usize, Fault { place, what, fix }| Found {
        severity: Severity::Error,
        file,
        line: place.is_none().then_some(line.max(1)),
        place: place.unwrap_or_default(),
        what,
        fix: fix.into(),
    };
    let mut tree = Tree::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let (line, fault) = syntax(text, error.marker().line(), error.info());
            found(line, fault)
        })?;
        tree.take(event).map_err(|fault| found(span.start.line(), fault))?;
    }
    let faults = tree.faults.into_iter().map(|fault| found(1, fault)).collect();
    Ok((tree.root.unwrap_or(Value::Null), faults))
}

/// What the parser says, and where it shows: it often notices what is wrong a line late or early, and
/// says what it expected where a person has to know what was written.
fn syntax(text: &str, line: usize, info: &str) -> (usize, Fault) {
    let lines = || text.lines().enumerate().map(|(index, text)| (index + 1, text));
    let near = |number: &usize| (line.saturating_sub(1)..=line + 1).contains(number);
    let indent = |text: &str| text.len() - text.trim_start_matches([' ', '\t']).len();
    let tab = lines().find(|(number, text)| near(number) && text[..indent(text)].contains('\t'));
    if let Some((line, _)) = tab {
        let what = format!("is indented with a tab ({info})");
        return (line, fault(what, "indent with spaces: YAML does not take tabs"));
    }
    // An unquoted `*.example.com` is an alias of something called `.example.com`.
    let star = lines().find(|(number, text)| *number == line && alias(text).is_some());
    if let Some(name) = star.and_then(|(_, text)| alias(text)) {
        let what = format!("{name} without quotes is an alias in YAML ({info})");
        return (line, fault(what, "put what begins with * in quotes, such as \"*.example.com\""));
    }
    (line, fault(info, "mend the YAML here"))
}

/// The first word of `line` that begins with `*`, outside quotes and comments.
fn alias(line: &str) -> Option<&str> {
    let mut quote = None;
    for (at, character) in line.char_indices() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(character),
            (None, '#') if line[..at].ends_with([' ', '\t']) || at == 0 => return None,
            (None, '*') if at == 0 || line[..at].ends_with([' ', '\t', '[', '{', ',']) => {
                let rest = &line[at..];
                let end = rest.find([' ', ',', ']', '}']).unwrap_or(rest.len());
                return Some(&rest[..end]);
            }
            _ => {}
        }
    }
    None
}

impl Tree {
    fn take(&mut self, event: Event<'_>) -> Result<(), Fault> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.put(Value::scalar(&text, style, tag.as_deref()), anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.begin(Value::Sequence(Vec::new()), anchor, tag.as_deref())
            }
            Event::MappingStart(anchor, tag) => {
                self.begin(Value::Mapping(Mapping::default()), anchor, tag.as_deref())
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => self.copy(anchor),
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(fault("has more than one document", "split the file"))
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, value: Value, anchor: usize, tag: Option<&Tag>) -> Result<(), Fault> {
        if self.open.len() >= DEPTH_MAX {
            let what = format!("is nested more than {DEPTH_MAX} deep");
            return Err(fault(what, "nest less deeply"));
        }
        let tagged = tag.filter(|tag| !tag.is_yaml_core_schema()).map(Value::tagged);
        self.open.push(Open { value, key: None, anchor, tagged });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        let Some(Open { value, anchor, tagged, .. }) = self.open.pop() else { return Ok(()) };
        if let Value::Mapping(mapping) = &value
            && let Some(key) = mapping.repeated()
        {
            let place = Some(self.place_of(key));
            let fix = "remove one of the two";
            self.faults.push(Fault { place, what: "is a duplicate key".into(), fix });
        }
        self.put(tagged.unwrap_or(value), anchor)
    }

    /// The place of what is under `key` in the collection that ends here.
    fn place_of(&self, key: &Value) -> String {
        let mut place = String::new();
        for Open { value, key, .. } in &self.open {
            match (value, key) {
                (Value::Sequence(items), _) => place += &format!("[{}]", items.len()),
                (_, Some(Value::String(key))) => place += &format!(".{key}"),
                _ => {}
            }
        }
        if let Value::String(key) = key {
            place += &format!(".{key}");
        }
        place.trim_start_matches('.').to_owned()
    }

    fn copy(&mut self, anchor: usize) -> Result<(), Fault> {
        let Some(count) = self.anchors.get(&anchor).map(Value::count) else {
            return Err(fault("is an alias of what it is part of", "write the values out"));
        };
        self.copied(count)?;
        self.put(self.anchors[&anchor].clone(), 0)
    }

    fn copied(&mut self, count: usize) -> Result<(), Fault> {
        self.copies += count;
        if self.copies > COPIES_MAX {
            let fix = "write the values out: aliases that multiply are refused";
            return Err(fault("has aliases of too many values", fix));
        }
        Ok(())
    }

    fn put(&mut self, value: Value, anchor: usize) -> Result<(), Fault> {
        if anchor > 0 {
            self.copied(value.count())?;
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some(Open { value: Value::Sequence(items), .. }) => items.push(value),
            Some(Open { value: Value::Mapping(mapping), key, .. }) => match key.take() {
                Some(key) => mapping.0.push((key, value)),
                None => *key = Some(value),
            },
            Some(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        read(0, text).unwrap().0
    }

    fn json(text: &str) -> String {
        serde_json::to_string(&value(text)).unwrap()
    }

    fn refused(text: &str) -> (Option<usize>, String, String) {
        let found = match read(0, text) {
            Err(found) => found,
            Ok((_, found)) => found.into_iter().next().unwrap(),
        };
        (found.line, found.place, found.what)
    }

    #[test]
    fn scalars_are_told_apart_by_the_core_schema() {
        for null in ["", "~", "null", "!!null x"] {
            assert_eq!(json(null), if null.ends_with('x') { "\"x\"" } else { "null" }, "{null}");
        }
        for (text, as_json) in [
            ("true", "true"),
            ("FALSE", "false"),
            ("yes", "\"yes\""),
            ("17", "17"),
            ("-3", "-3"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("1.5e3", "1500.0"),
            (".inf", "\".inf\""),
            ("0123", "\"0123\""),
            ("1.2.3.4", "\"1.2.3.4\""),
            ("1s", "\"1s\""),
            ("infinity", "\"infinity\""),
            ("-", "[null]"),
            ("'17'", "\"17\""),
            ("\"tr\\x75e\"", "\"true\""),
            ("!!str 17", "\"17\""),
            ("|\n  a\n  b\n", "\"a\\nb\\n\""),
        ] {
            assert_eq!(json(text), as_json, "{text}");
        }
        assert_eq!(value("18446744073709551615").as_u64(), Some(u64::MAX));
        assert_eq!(value("-1").as_u64(), None);
        assert_eq!(value("!mine [1, 2]"), Value::Tagged("!mine".into()));
    }

    #[test]
    fn collections_keep_their_order() {
        assert_eq!(
            json("b: [1, {c: 2}]\na:\n- x\n- y: z\n"),
            r#"{"b":[1,{"c":2}],"a":["x",{"y":"z"}]}"#
        );
        assert_eq!(json("{}"), "{}");
        assert_eq!(json("# nothing\n"), "null");
        assert_eq!(json("--- # one\na: 1\n...\n"), r#"{"a":1}"#);
    }

    #[test]
    fn aliases_are_copies_and_may_not_multiply() {
        assert_eq!(json("a: &x {b: 1}\nc: [*x, *x]"), r#"{"a":{"b":1},"c":[{"b":1},{"b":1}]}"#);
        let mut bomb = "a0: &a0 [x, x]\n".to_owned();
        for level in 1..40 {
            bomb += &format!("a{level}: &a{level} [*a{}, *a{}]\n", level - 1, level - 1);
        }
        assert_eq!(refused(&bomb).2, "has aliases of too many values");
        assert_eq!(refused("a: &x [*x]").2, "is an alias of what it is part of");
        assert!(read(0, "a: *nowhere").is_err());
    }

    #[test]
    fn what_no_reader_could_refuse_is_refused_here() {
        let twice = |place: &str| (None, place.to_owned(), "is a duplicate key".to_owned());
        assert_eq!(refused("a: 1\nb: 2\na: 3"), twice("a"));
        assert_eq!(refused("u:\n- a: 1\n- {b: {c: 1, d: 2, c: 3}}"), twice("u[1].b.c"));
        assert_eq!(refused("a: 1\n---\nb: 2").2, "has more than one document");
        assert_eq!(refused(&"- ".repeat(1000)).2, "is nested more than 100 deep");
        assert_eq!(refused(&"[".repeat(1000)).2, "recursion limit exceeded");
        assert_eq!(refused("a: 1\nb: [1,\n").0, Some(3));
    }

    #[test]
    fn syntax_is_told_where_it_is_and_in_words_for_who_wrote_it() {
        for (text, line, part) in [
            ("a:\n  b: 1\n\tc: 2\nd: 3\n", 3, "is indented with a tab"),
            ("a:\n\tb: 1\n", 2, "is indented with a tab"),
            ("a:\n  - b: 1\n  \t- c: 2\n", 3, "is indented with a tab"),
            ("a: 1\nb: [*.example.com]\n", 2, "*.example.com without quotes is an alias"),
            ("a: 1\nb:\n  - *.example.com\n", 3, "*.example.com without quotes is an alias"),
            ("a: 1\nb: [\"x*\", *]\n", 2, "* without quotes is an alias"),
        ] {
            let (found, _, what) = refused(text);
            assert!(found == Some(line) && what.contains(part), "{text:?}: {found:?} {what}");
        }
    }

    #[test]
    fn every_duplicate_is_told() {
        let (_, found) = read(0, "a: {b: 1, b: 2}\nc: [{d: 1, d: 2}]\na: 1\n").unwrap();
        let places: Vec<_> = found.iter().map(|found| &*found.place).collect();
        assert_eq!(places, ["a.b", "c[0].d", "a"]);
    }
}
