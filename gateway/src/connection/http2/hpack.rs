//! Follows the compression state of a connection (RFC 7541) as far as it takes to find pseudo-fields in trailers.
//!
//! A pseudo-field in trailers makes a request malformed (RFC 9113, 8.1), and the h2 crate drops it unseen. A field may
//! be named by an index into a table that all sections of the connection have filled, so each of them is read here as
//! well. What is kept of an entry is its size, by which entries leave the table, and whether its name begins with a
//! colon; no field is decoded.

use std::collections::VecDeque;

/// A client's table before it says otherwise (RFC 9113, 6.5.2). The gateway allows no larger one.
const TABLE_BYTES_MAX: usize = 4_096;

/// What an entry costs beside its name and value (RFC 7541, 4.1).
const ENTRY_OVERHEAD_BYTES: usize = 32;

/// Lengths of the names of the static table (RFC 7541, A), the first of which are pseudo-fields.
const STATIC_NAMES: [u8; 61] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14,
    16, 13, 12, 6, 4, 4, 6, 7, 4, 4, 8, 17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10,
    25, 17, 10, 4, 3, 16,
];
const STATIC_PSEUDO: usize = 14;

/// How many symbols have a Huffman code of each length in bits (RFC 7541, B). The code is canonical, so that this is
/// all it takes to find where each symbol ends.
const CODES_BY_BITS: [u16; 31] = [
    0, 0, 0, 0, 0, 10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19,
    29, 0, 4,
];

/// The code of a colon, which has seven bits.
const COLON: u8 = 0x5c;

/// Why no field could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Its end has not come.
    Incomplete,
    /// It is no HPACK.
    Malformed,
}

/// The dynamic table, of which the newest entry comes first (RFC 7541, 2.3.2).
#[derive(Debug)]
pub(super) struct Table {
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    name: Name,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Name {
    bytes: usize,
    is_pseudo: bool,
}

impl Default for Table {
    fn default() -> Self {
        Self { entries: VecDeque::new(), bytes: 0, bytes_max: TABLE_BYTES_MAX }
    }
}

impl Table {
    /// Reads one field or instruction from the front of `block`; whether it is a pseudo-field.
    ///
    /// # Errors
    /// Then nothing has changed, and `block` is where it was.
    pub(super) fn read(&mut self, block: &mut &[u8]) -> Result<bool, Stop> {
        let mut rest = *block;
        let first = *rest.first().ok_or(Stop::Incomplete)?;
        let is_pseudo = if first & 0x80 != 0 {
            let index = integer(&mut rest, 7)?;
            self.name(index)?.is_pseudo
        } else if first & 0xe0 == 0x20 {
            let bytes = integer(&mut rest, 5)?;
            self.resize(bytes)?;
            false
        } else {
            let is_kept = first & 0x40 != 0;
            let index = integer(&mut rest, if is_kept { 6 } else { 4 })?;
            let literal = if index == 0 { Some(Text::read(&mut rest)?) } else { None };
            let value = Text::read(&mut rest)?;
            let name = match literal {
                // Its length matters where it is kept only.
                Some(text) => Name {
                    bytes: if is_kept { text.decoded_bytes() } else { 0 },
                    is_pseudo: text.begins_with_colon(),
                },
                None => self.name(index)?,
            };
            if is_kept {
                let bytes = name.bytes + value.decoded_bytes() + ENTRY_OVERHEAD_BYTES;
                self.add(Entry { name, bytes });
            }
            name.is_pseudo
        };
        *block = rest;
        Ok(is_pseudo)
    }

    fn name(&self, index: usize) -> Result<Name, Stop> {
        let index = index.checked_sub(1).ok_or(Stop::Malformed)?;
        match STATIC_NAMES.get(index) {
            Some(bytes) => {
                Ok(Name { bytes: usize::from(*bytes), is_pseudo: index < STATIC_PSEUDO })
            }
            None => {
                let entry = self.entries.get(index - STATIC_NAMES.len());
                entry.map(|entry| entry.name).ok_or(Stop::Malformed)
            }
        }
    }

    fn add(&mut self, entry: Entry) {
        self.evict(self.bytes_max.saturating_sub(entry.bytes));
        if entry.bytes <= self.bytes_max {
            self.bytes += entry.bytes;
            self.entries.push_front(entry);
        }
    }

    fn resize(&mut self, bytes: usize) -> Result<(), Stop> {
        if bytes > TABLE_BYTES_MAX {
            return Err(Stop::Malformed);
        }
        self.bytes_max = bytes;
        self.evict(bytes);
        Ok(())
    }

    /// Removes the oldest entries until what is left takes no more than `bytes`.
    fn evict(&mut self, bytes: usize) {
        while self.bytes > bytes {
            let Some(oldest) = self.entries.pop_back() else { return };
            self.bytes -= oldest.bytes;
        }
    }
}

/// An integer whose first bits share a byte with something else (RFC 7541, 5.1).
fn integer(rest: &mut &[u8], bits: u32) -> Result<usize, Stop> {
    let (first, mut after) = rest.split_first().ok_or(Stop::Incomplete)?;
    let most = (1_usize << bits) - 1;
    let mut number = usize::from(*first) & most;
    if number == most {
        // Four bytes of seven bits are more than any length or index here.
        for shift in [0, 7, 14, 21] {
            let (byte, following) = after.split_first().ok_or(Stop::Incomplete)?;
            after = following;
            number += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                *rest = after;
                return Ok(number);
            }
        }
        return Err(Stop::Malformed);
    }
    *rest = after;
    Ok(number)
}

/// A string as it is sent (RFC 7541, 5.2).
#[derive(Clone, Copy, Debug)]
struct Text<'b> {
    bytes: &'b [u8],
    is_huffman: bool,
}

impl<'b> Text<'b> {
    fn read(rest: &mut &'b [u8]) -> Result<Self, Stop> {
        let is_huffman = rest.first().ok_or(Stop::Incomplete)? & 0x80 != 0;
        let length = integer(rest, 7)?;
        let (bytes, after) = rest.split_at_checked(length).ok_or(Stop::Incomplete)?;
        *rest = after;
        Ok(Self { bytes, is_huffman })
    }

    fn begins_with_colon(self) -> bool {
        match self.bytes.first() {
            Some(first) if self.is_huffman => first >> 1 == COLON,
            Some(first) => *first == b':',
            None => false,
        }
    }

    fn decoded_bytes(self) -> usize {
        if self.is_huffman { huffman_symbols(self.bytes) } else { self.bytes.len() }
    }
}

/// The number of symbols that are encoded in `bytes`. Bits left at the end are padding.
fn huffman_symbols(bytes: &[u8]) -> usize {
    let (mut symbols, mut code, mut first, mut bits) = (0, 0_u32, 0_u32, 0_usize);
    for byte in bytes {
        for place in (0..8).rev() {
            let shorter = CODES_BY_BITS.get(bits).copied().unwrap_or(0);
            bits += 1;
            code = (code << 1) | u32::from((byte >> place) & 1);
            // The first code of each length follows the last of those that are shorter.
            first = (first + u32::from(shorter)) << 1;
            let codes = CODES_BY_BITS.get(bits).copied().unwrap_or(0);
            if code < first + u32::from(codes) {
                symbols += 1;
                (code, first, bits) = (0, 0, 0);
            } else if bits == CODES_BY_BITS.len() {
                return symbols;
            }
        }
    }
    symbols
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair =
            |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(pair).collect()
    }

    /// Reads all of a block; how many of its fields are pseudo-fields.
    fn read(table: &mut Table, hex: &str) -> usize {
        let block = bytes(hex);
        let mut rest = &block[..];
        let mut pseudo = 0;
        while !rest.is_empty() {
            pseudo += usize::from(table.read(&mut rest).unwrap());
        }
        pseudo
    }

    #[test]
    fn rfc7541_c_3_and_c_4_the_table_has_the_size_of_the_examples() {
        let plain = [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ];
        let huffman = [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ];
        for blocks in [plain, huffman] {
            let mut table = Table::default();
            for (block, size) in blocks.iter().zip([57, 110, 164]) {
                assert_eq!(read(&mut table, block), 4);
                assert_eq!(table.bytes, size, "{block}");
            }
            assert_eq!(table.entries.len(), 3);
        }
    }

    #[test]
    fn rfc7541_c_6_entries_leave_a_small_table_as_in_the_examples() {
        let mut table = Table::default();
        assert_eq!(read(&mut table, "3fe1 01"), 0);
        assert_eq!(table.bytes_max, 256);
        let blocks = [
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6
             2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
            "4883 640e ffc1 c0bf",
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad
             94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160
             65c0 03ed 4ee5 b106 3d50 07",
        ];
        for (block, size) in blocks.iter().zip([222, 222, 215]) {
            assert_eq!(read(&mut table, block), 1, ":status");
            assert_eq!(table.bytes, size);
        }
    }

    #[test]
    fn a_pseudo_field_is_found_however_it_is_sent() {
        for (block, pseudo) in [
            ("82", 1),
            ("8e", 1),
            ("8f", 0),
            ("0004 3a666f6f 0162", 1),
            ("0003 666f6f 0162", 0),
            // Huffman codes of `:path` and `path`.
            ("0084 b958d33f 00", 1),
            ("0083 ac699f 00", 0),
            ("01 0161", 1),
            ("1f0d 0161", 0),
            // Kept, and then named by its index.
            ("41 0161 be", 2),
            ("40 0178 0161 be", 0),
        ] {
            assert_eq!(read(&mut Table::default(), block), pseudo, "{block}");
        }
    }

    #[test]
    fn a_part_of_a_field_changes_nothing_and_rubbish_is_told() {
        let block = bytes("41 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d");
        let mut table = Table::default();
        for end in 0..block.len() {
            assert_eq!(table.read(&mut &block[..end]), Err(Stop::Incomplete), "{end}");
        }
        assert_eq!((table.bytes, table.entries.len()), (0, 0));
        for malformed in ["80", "be", "ff ffff ffff 7f", "3fe2 1f"] {
            let block = bytes(malformed);
            assert_eq!(table.read(&mut &block[..]), Err(Stop::Malformed), "{malformed}");
        }
        // RFC 7541, 4.4: an entry larger than the table empties it.
        read(&mut table, "41 0161");
        assert_eq!(table.entries.len(), 1);
        read(&mut table, &format!("417f c11f{}", "61".repeat(4_160)));
        assert_eq!(table.entries.len(), 0);
    }

    #[test]
    fn no_bytes_are_too_odd() {
        fastrand::seed(7);
        for _ in 0..20_000 {
            let block: Vec<u8> = (0..fastrand::usize(..40)).map(|_| fastrand::u8(..)).collect();
            let mut table = Table::default();
            let mut rest = &block[..];
            while table.read(&mut rest).is_ok() {}
            let sum: usize = table.entries.iter().map(|entry| entry.bytes).sum();
            assert_eq!(sum, table.bytes);
            assert!(table.bytes <= table.bytes_max);
        }
    }
}
