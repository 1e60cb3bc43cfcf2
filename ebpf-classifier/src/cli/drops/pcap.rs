//! The file format of tcpdump, with times in nanoseconds.

/// The format's first word where times are in nanoseconds.
const MAGIC: u32 = 0xa1b2_3c4d;

/// The link type of frames that begin with an Ethernet header.
const ETHERNET: u32 = 1;

/// The most that a record may say it has.
const BYTES_MAX: u32 = 1 << 18;

/// What a file begins with.
pub(super) fn header() -> Vec<u8> {
    let mut bytes = MAGIC.to_ne_bytes().to_vec();
    // Version 2.4, with two words that nobody uses.
    bytes.extend(2_u16.to_ne_bytes());
    bytes.extend(4_u16.to_ne_bytes());
    for word in [0, 0, BYTES_MAX, ETHERNET] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes
}

/// A packet of `bytes` bytes, of which `data` was kept.
pub(super) fn record(time_ns: u64, bytes: u32, data: &[u8]) -> Vec<u8> {
    let (seconds, ns) = (time_ns / 1_000_000_000, time_ns % 1_000_000_000);
    let mut record = Vec::with_capacity(16 + data.len());
    for word in [seconds as u32, ns as u32, data.len() as u32, bytes] {
        record.extend(word.to_ne_bytes());
    }
    record.extend(data);
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_header_of_24_bytes_and_records_of_16_and_their_data() {
        assert_eq!(header().len(), 24);
        assert_eq!(header()[..4], MAGIC.to_ne_bytes());
        let record = record(3_000_000_007, 1_500, b"abc");
        let word = |at: usize| u32::from_ne_bytes(record[at..at + 4].try_into().unwrap());
        assert_eq!([word(0), word(4), word(8), word(12)], [3, 7, 3, 1_500]);
        assert_eq!(&record[16..], b"abc");
    }
}
