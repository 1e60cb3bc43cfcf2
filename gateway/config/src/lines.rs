//! From a place in the tree to its line in the text.
//!
//! The tree does not keep positions; this reads the text a second time, and only once there is a
//! problem to report.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser};

/// The line of every mapping key and sequence item of one document.
pub(crate) struct Lines(HashMap<String, usize>);

/// One open collection while walking the events.
struct Open {
    place: String,
    kind: Kind,
}

enum Kind {
    Sequence(usize),
    MappingKey,
    MappingValue(String),
}

impl Lines {
    /// Reads `text`. What cannot be parsed has no lines beyond the point where it fails.
    pub(crate) fn of(text: &str) -> Self {
        let mut lines = HashMap::new();
        let mut open: Vec<Open> = Vec::new();
        for event in Parser::new_from_str(text) {
            let Ok((event, span)) = event else { break };
            match event {
                Event::Scalar(value, ..) => {
                    if let Some(Open { place, kind: kind @ Kind::MappingKey }) = open.last_mut() {
                        let key = child_key(place, &value);
                        lines.insert(key.clone(), span.start.line());
                        *kind = Kind::MappingValue(key);
                    } else {
                        begin(&mut open, &mut lines, span.start.line());
                    }
                }
                Event::Alias(_) => {
                    begin(&mut open, &mut lines, span.start.line());
                }
                Event::SequenceStart(..) => {
                    let place = begin(&mut open, &mut lines, span.start.line());
                    open.push(Open { place, kind: Kind::Sequence(0) });
                }
                Event::MappingStart(..) => {
                    let place = begin(&mut open, &mut lines, span.start.line());
                    open.push(Open { place, kind: Kind::MappingKey });
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    open.pop();
                }
                _ => {}
            }
        }
        Self(lines)
    }

    /// The line of `place`, or of the nearest place around it that has one; 1 for the whole file.
    pub(crate) fn of_place(&self, place: &str) -> usize {
        let mut place = place;
        loop {
            if let Some(line) = self.0.get(place) {
                return *line;
            }
            match place.rfind(['.', '[']) {
                Some(end) => place = &place[..end],
                None => return 1,
            }
        }
    }
}

/// Names the value that begins here and moves its parent on to what follows.
fn begin(open: &mut [Open], lines: &mut HashMap<String, usize>, line: usize) -> String {
    let Some(Open { place, kind }) = open.last_mut() else { return String::new() };
    match kind {
        Kind::Sequence(index) => {
            let item = format!("{place}[{index}]");
            *index += 1;
            lines.insert(item.clone(), line);
            item
        }
        Kind::MappingValue(key) => {
            let key = std::mem::take(key);
            *kind = Kind::MappingKey;
            key
        }
        // A collection as a key: nothing here is addressed by one.
        Kind::MappingKey => {
            *kind = Kind::MappingValue(place.clone());
            String::new()
        }
    }
}

fn child_key(place: &str, key: &str) -> String {
    if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    #[test]
    fn finds_keys_items_and_the_nearest_known_place() {
        let lines = Lines::of("a:\n  - b: 1\n    c: [x,\n      y]\n  - d: {e: 1}\nf: g\n");
        for (place, line) in [
            ("a", 1),
            ("a[0]", 2),
            ("a[0].b", 2),
            ("a[0].c", 3),
            ("a[0].c[1]", 4),
            ("a[1].d.e", 5),
            ("a[1].d.missing", 5),
            ("f", 6),
            ("nowhere", 1),
        ] {
            assert_eq!(lines.of_place(place), line, "{place}");
        }
    }
}
