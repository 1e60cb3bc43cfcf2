//! From a place in the tree to its line in the text.
//!
//! The tree does not keep positions; this reads the text a second time, and only once there is a
//! problem to report.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser};

/// The lines of some places of one document, and of the places around them.
pub(crate) struct Lines(HashMap<String, usize>);

/// One open collection while walking the events.
struct Open {
    /// `None` where nothing is wanted of what is in it.
    place: Option<String>,
    kind: Kind,
}

enum Kind {
    Sequence(usize),
    MappingKey,
    /// With the place of the value, unless nothing is wanted of that.
    MappingValue(Option<String>),
}

struct Walk<'w> {
    /// The places that are asked for, and all around them.
    wanted: HashSet<&'w str>,
    /// How many of those that are asked for have not been met.
    missing: usize,
    asked: HashSet<&'w str>,
    /// The collections that those stand in.
    lists: HashSet<&'w str>,
    lines: HashMap<String, usize>,
    open: Vec<Open>,
}

impl Lines {
    /// Looks for `places` in `text`, and reads no further than to the end of what the last of them stands
    /// in: of keys that are repeated, the last line is told. What cannot be parsed has no lines beyond the
    /// point where it fails.
    pub(crate) fn of<'p>(text: &str, places: impl IntoIterator<Item = &'p str>) -> Self {
        let asked: HashSet<&str> = places.into_iter().filter(|place| !place.is_empty()).collect();
        let around = |place: &'p str| std::iter::successors(Some(place), |place| parent(place));
        let mut walk = Walk {
            wanted: asked.iter().flat_map(|place| around(place)).collect(),
            missing: asked.len(),
            lists: asked.iter().map(|place| parent(place).unwrap_or_default()).collect(),
            asked,
            lines: HashMap::new(),
            open: Vec::new(),
        };
        for event in Parser::new_from_str(text) {
            let Ok((event, span)) = event else { break };
            if walk.missing == 0 && !walk.may_repeat() {
                break;
            }
            walk.take(event, span.start.line());
        }
        Self(walk.lines)
    }

    /// The line of `place`, or of the nearest place around it that has one; 1 for the whole file.
    pub(crate) fn of_place(&self, place: &str) -> usize {
        let mut place = place;
        loop {
            if let Some(line) = self.0.get(place) {
                return *line;
            }
            match parent(place) {
                Some(around) => place = around,
                None => return 1,
            }
        }
    }
}

/// The place around `place`, as far as its text tells.
fn parent(place: &str) -> Option<&str> {
    place.rfind(['.', '[']).map(|end| &place[..end])
}

impl Walk<'_> {
    /// Whether a place that was met may be met again, by a key that is repeated.
    fn may_repeat(&self) -> bool {
        let mut open = self.open.iter().filter_map(|open| open.place.as_deref());
        open.any(|place| self.lists.contains(place))
    }

    fn take(&mut self, event: Event<'_>, line: usize) {
        match event {
            Event::Scalar(value, ..) => match self.open.last_mut() {
                Some(Open { place, kind: kind @ Kind::MappingKey }) => {
                    let key = place.as_ref().map(|place| child_key(place, &value));
                    let key = key.filter(|key| self.wanted.contains(&**key));
                    *kind = Kind::MappingValue(key.clone());
                    self.note(key, line);
                }
                _ => drop(self.begin(line)),
            },
            Event::Alias(_) => drop(self.begin(line)),
            Event::SequenceStart(..) => {
                let place = self.begin(line);
                self.open.push(Open { place, kind: Kind::Sequence(0) });
            }
            Event::MappingStart(..) => {
                let place = self.begin(line);
                self.open.push(Open { place, kind: Kind::MappingKey });
            }
            Event::SequenceEnd | Event::MappingEnd => drop(self.open.pop()),
            _ => {}
        }
    }

    /// Names the value that begins here and moves its parent on to what follows.
    fn begin(&mut self, line: usize) -> Option<String> {
        let Some(Open { place, kind }) = self.open.last_mut() else { return Some(String::new()) };
        match kind {
            Kind::Sequence(index) => {
                let item = place.as_ref().map(|place| format!("{place}[{index}]"));
                let item = item.filter(|item| self.wanted.contains(&**item));
                *index += 1;
                self.note(item.clone(), line);
                item
            }
            Kind::MappingValue(key) => {
                let key = key.take();
                *kind = Kind::MappingKey;
                key
            }
            // A collection as a key: nothing here is addressed by one.
            Kind::MappingKey => {
                *kind = Kind::MappingValue(place.clone());
                None
            }
        }
    }

    fn note(&mut self, place: Option<String>, line: usize) {
        let Some(place) = place else { return };
        if self.asked.remove(&*place) {
            self.missing -= 1;
        }
        self.lines.insert(place, line);
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
        let text = "a:\n  - b: 1\n    c: [x,\n      y]\n  - d: {e: 1}\nf: g\n\"h.i\": {j: 1}\n";
        let places = [
            ("a", 1),
            ("a[0]", 2),
            ("a[0].b", 2),
            ("a[0].c", 3),
            ("a[0].c[1]", 4),
            ("a[1].d.e", 5),
            ("a[1].d.missing", 5),
            ("f", 6),
            ("h.i.j", 7),
            ("nowhere", 1),
        ];
        let lines = Lines::of(text, places.map(|(place, _)| place));
        let repeated = "a: 1\nb:\n  c: 1\n  c: 2\na: 2\n";
        for (place, line) in [("a", 5), ("b.c", 4), ("b", 2)] {
            assert_eq!(Lines::of(repeated, [place]).of_place(place), line, "{place}");
        }
        for (place, line) in places {
            assert_eq!(lines.of_place(place), line, "{place}");
            assert_eq!(Lines::of(text, [place]).of_place(place), line, "{place}");
        }
    }
}
