//! The field sections that a client sends (RFC 9113, 4.3): which of them are trailers that name a pseudo-field.

use super::hpack::{Stop, Table};

/// Frame types and flags (RFC 9113, 6.2 and 6.10).
pub(super) const HEADERS: u8 = 0x1;
pub(super) const CONTINUATION: u8 = 0x9;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// A field that is not complete takes no more; the h2 crate gives up such sections as well.
const FIELD_BYTES_MAX: usize = 2 << 20;

/// The sections of one connection, in the order in which they come.
#[derive(Debug, Default)]
pub(super) struct Sections {
    table: Table,
    /// The highest stream so far: a section for it or one below is trailers (RFC 9113, 5.1.1).
    latest: u32,
    /// The section that is under way.
    is_trailers: bool,
    has_pseudo: bool,
    /// The beginning of a field whose end has not come.
    rest: Vec<u8>,
    /// Something was no HPACK: what an index stands for is no longer known.
    is_lost: bool,
}

impl Sections {
    /// Takes the next frame with a part of a section. Returns its stream if that ends trailers which name a
    /// pseudo-field, or may name one.
    pub(super) fn take(&mut self, kind: u8, flags: u8, stream: u32, content: &[u8]) -> Option<u32> {
        if kind == HEADERS {
            (self.is_trailers, self.has_pseudo) = (stream <= self.latest, false);
            self.latest = self.latest.max(stream);
            self.rest.clear();
        }
        if !self.is_lost {
            let fragment = if kind == HEADERS { fragment(flags, content) } else { Some(content) };
            let is_last = flags & END_HEADERS != 0;
            self.is_lost = fragment.is_none_or(|fragment| !self.read(fragment, is_last));
        }
        let malformed = self.is_trailers && (self.has_pseudo || self.is_lost);
        (flags & END_HEADERS != 0 && malformed).then_some(stream)
    }

    /// The h2 crate will not see the content of this frame either.
    pub(super) fn lose(&mut self) {
        self.is_lost = true;
    }

    /// Whether `fragment` is HPACK.
    fn read(&mut self, fragment: &[u8], is_last: bool) -> bool {
        if self.rest.is_empty() {
            let mut rest = fragment;
            let is_sound = self.read_fields(&mut rest, is_last);
            self.rest.extend_from_slice(rest);
            return is_sound;
        }
        let mut block = std::mem::take(&mut self.rest);
        block.extend_from_slice(fragment);
        let mut rest = &block[..];
        let is_sound = self.read_fields(&mut rest, is_last) && rest.len() <= FIELD_BYTES_MAX;
        let read = block.len() - rest.len();
        block.drain(..read);
        self.rest = block;
        is_sound
    }

    fn read_fields(&mut self, block: &mut &[u8], is_last: bool) -> bool {
        loop {
            if block.is_empty() {
                return true;
            }
            match self.table.read(block) {
                Ok(is_pseudo) => self.has_pseudo |= is_pseudo,
                Err(Stop::Incomplete) => return !is_last,
                Err(Stop::Malformed) => return false,
            }
        }
    }
}

/// The part of a section in the content of a HEADERS frame.
fn fragment(flags: u8, content: &[u8]) -> Option<&[u8]> {
    let (mut rest, mut padding) = (content, 0);
    if flags & PADDED != 0 {
        let (length, after) = rest.split_first()?;
        (rest, padding) = (after, usize::from(*length));
    }
    if flags & PRIORITY != 0 {
        rest = rest.get(5..)?;
    }
    rest.get(..rest.len().checked_sub(padding)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `:method: GET` by its index, and `x: y`.
    const PSEUDO: &[u8] = b"\x82";
    const PLAIN: &[u8] = b"\0\x01x\x01y";

    fn opened() -> Sections {
        let mut sections = Sections::default();
        assert_eq!(sections.take(HEADERS, END_HEADERS, 3, PSEUDO), None);
        sections
    }

    #[test]
    fn rfc9113_8_1_trailers_are_what_comes_for_a_stream_that_is_open() {
        let mut sections = opened();
        assert_eq!(sections.take(HEADERS, END_HEADERS, 3, PLAIN), None);
        assert_eq!(sections.take(HEADERS, END_HEADERS, 5, PSEUDO), None);
        assert_eq!(sections.take(HEADERS, END_HEADERS, 3, PSEUDO), Some(3));
        assert_eq!(sections.take(HEADERS, END_HEADERS, 5, PSEUDO), Some(5));
    }

    #[test]
    fn rfc9113_6_2_a_section_is_what_padding_priority_and_continuations_leave() {
        for flags in [0, PADDED, PRIORITY, PADDED | PRIORITY] {
            for (section, expected) in
                [([PLAIN, PSEUDO].concat(), Some(3)), (PLAIN.repeat(2), None)]
            {
                for split in 0..=section.len() {
                    let mut content = Vec::new();
                    content.extend((flags & PADDED != 0).then_some(3));
                    content.extend_from_slice(if flags & PRIORITY != 0 { &[0x82; 5] } else { &[] });
                    content.extend_from_slice(&section[..split]);
                    content.extend_from_slice(if flags & PADDED != 0 { &[0x82; 3] } else { &[] });
                    let mut sections = opened();
                    assert_eq!(sections.take(HEADERS, flags, 3, &content), None);
                    let found = sections.take(CONTINUATION, END_HEADERS, 3, &section[split..]);
                    assert_eq!(found, expected, "{flags:#x}, split at {split}");
                }
            }
        }
    }

    #[test]
    fn once_the_table_is_not_known_no_trailers_are_trusted() {
        for rubbish in [&b"\x80"[..], b"\0\x7fx", b"\xff\xff\xff\xff\xff"] {
            let mut sections = opened();
            assert_eq!(sections.take(HEADERS, END_HEADERS, 5, rubbish), None);
            assert_eq!(sections.take(HEADERS, END_HEADERS, 5, PLAIN), Some(5), "{rubbish:?}");
        }
        let mut sections = opened();
        assert_eq!(sections.take(HEADERS, END_HEADERS | PADDED, 3, b"\x02\0"), Some(3));
    }
}
