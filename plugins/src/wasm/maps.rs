//! Maps of fields as bytes: a count, the lengths of all keys and values, then all keys and values
//! with a zero byte behind each. Numbers are of 32 bits, little-endian.

/// Pairs of one map: far more than a message may have fields.
const PAIRS_MAX: usize = 4096;

/// The bytes that a map takes: `count` pairs with `bytes` bytes of keys and values in all.
pub(super) fn size(count: usize, bytes: usize) -> usize {
    4 + count * 10 + bytes
}

/// Writes a map pair by pair into memory that was measured with [`size`].
pub(super) struct Writer<'a> {
    out: &'a mut [u8],
    lengths_at: usize,
    bytes_at: usize,
}

impl<'a> Writer<'a> {
    /// For a map of `count` pairs.
    pub(super) fn new(out: &'a mut [u8], count: usize) -> Self {
        let mut writer = Self { out, lengths_at: 0, bytes_at: 4 + count * 8 };
        writer.number(count);
        writer
    }

    /// Writes one pair. What finds no room is left out.
    pub(super) fn pair(&mut self, key: &[u8], value: &[u8]) {
        self.number(key.len());
        self.number(value.len());
        self.text(key);
        self.text(value);
    }

    fn number(&mut self, number: usize) {
        let bytes = u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
        put(self.out, &mut self.lengths_at, &bytes);
    }

    fn text(&mut self, text: &[u8]) {
        put(self.out, &mut self.bytes_at, text);
        put(self.out, &mut self.bytes_at, &[0]);
    }
}

fn put(out: &mut [u8], at: &mut usize, bytes: &[u8]) {
    if let Some(room) = out.get_mut(*at..*at + bytes.len()) {
        room.copy_from_slice(bytes);
    }
    *at += bytes.len();
}

/// A map of these pairs.
pub(super) fn write(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    let bytes = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
    let mut out = vec![0; size(pairs.len(), bytes)];
    let mut writer = Writer::new(&mut out, pairs.len());
    for (key, value) in pairs {
        writer.pair(key, value);
    }
    out
}

/// The pairs of a map; `None` where the bytes are none.
pub(super) fn read(bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    // No bytes, or a single zero, are a map without pairs too.
    if bytes.len() < 4 {
        return (bytes.iter().all(|byte| *byte == 0)).then(Vec::new);
    }
    let count = number(bytes, 0)?;
    if count > PAIRS_MAX {
        return None;
    }
    let mut at = 4 + count * 8;
    let mut text = |length: usize| {
        let text = bytes.get(at..at.checked_add(length)?)?;
        at += length + 1;
        Some(text)
    };
    let mut pairs = Vec::with_capacity(count);
    for index in 0..count {
        let lengths = 4 + index * 8;
        pairs.push((text(number(bytes, lengths)?)?, text(number(bytes, lengths + 4)?)?));
    }
    Some(pairs)
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_le_bytes(bytes) as usize)
}

#[cfg(test)]
mod tests {
    use super::{read, write};

    #[test]
    fn maps_are_written_as_the_specification_shows() {
        let bytes = write(&[(b"a", b"1"), (b"b", b"22")]);
        let expected =
            b"\x02\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\x02\0\0\0a\x001\0b\x0022\0".as_slice();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn maps_are_read_as_they_were_written() {
        let pairs: [(&[u8], &[u8]); 3] = [(b"a", b""), (b"", b"\xff"), (b"long-name", b"a b c")];
        for count in 0..=pairs.len() {
            assert_eq!(read(&write(&pairs[..count])).unwrap(), pairs[..count]);
        }
        assert_eq!(read(b"").unwrap(), []);
        assert_eq!(read(b"\0").unwrap(), []);
    }

    #[test]
    fn what_is_no_map_is_refused() {
        let whole = write(&[(b"a", b"1"), (b"b", b"22")]);
        // The last zero byte may be missing: nothing reads it.
        for end in 1..whole.len() - 1 {
            assert_eq!(read(&whole[..end]), None, "{end}");
        }
        assert_eq!(read(b"\xff\xff\xff\xff"), None);
        assert_eq!(read(b"\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xffa"), None);
    }
}
