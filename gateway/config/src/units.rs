//! Durations and sizes as people write them: `250ms`, `15s`, `64KiB`.

use std::time::Duration;

/// Reads `15s`, `250ms`, `5m`, `1h` or `100us`: a whole or decimal number and a unit, no more.
///
/// Returns `None` for anything else, a bare number among it: a number without a unit is a guess.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let unit_seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * unit_seconds).ok()
}

/// The units of [`bytes`].
pub(crate) const SIZES: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Reads `512B`, `64KiB`, `1MiB`, `2GiB` or `10kB`: binary units to base 2, decimal ones to base 10.
#[must_use]
pub fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let (_, unit_bytes) = SIZES.iter().find(|(name, _)| *name == unit)?;
    let bytes = number * *unit_bytes as f64;
    // Above 2^53 a double no longer counts single bytes; nothing here is that large.
    (bytes <= 9.0e15).then_some(bytes as u64)
}

/// Writes a size as [`bytes`] reads it: in the largest binary unit of which it is a whole number.
#[must_use]
pub fn shown(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let whole = |(_, shift): &&(&str, u32)| bytes > 0 && bytes.trailing_zeros() >= *shift;
    match units.iter().find(whole) {
        Some((unit, shift)) => format!("{}{unit}", bytes >> shift),
        None => format!("{bytes}B"),
    }
}

/// The units of [`bits`].
pub(crate) const RATES: [(&str, u64); 4] =
    [("bps", 1), ("kbps", 1_000), ("Mbps", 1_000_000), ("Gbps", 1_000_000_000)];

/// Reads `100Mbps` or `1.5Gbps`: bits of a second, with units to base 10 as links have them.
#[must_use]
pub fn bits(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let (_, unit_bits) = RATES.iter().find(|(name, _)| *name == unit)?;
    let bits = number * *unit_bits as f64;
    (bits <= 9.0e15).then_some(bits as u64)
}

/// Writes a rate as [`bits`] reads it: in the largest unit of which it is a whole number.
#[must_use]
pub fn shown_rate(bits: u64) -> String {
    let whole = |(_, unit): &&(&str, u64)| bits > 0 && bits.is_multiple_of(*unit);
    let (name, unit) = RATES.iter().rev().find(whole).unwrap_or(&RATES[0]);
    format!("{}{name}", bits / unit)
}

fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let number = text[..end].parse().ok()?;
    Some((number, text[end..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::{bits, bytes, duration, shown, shown_rate};
    use std::time::Duration;

    #[test]
    fn reads_durations() {
        for (text, expected) in [
            ("15s", Some(Duration::from_secs(15))),
            ("250ms", Some(Duration::from_millis(250))),
            ("1.5m", Some(Duration::from_secs(90))),
            ("1h", Some(Duration::from_secs(3600))),
            ("100 us", Some(Duration::from_micros(100))),
            ("0s", Some(Duration::ZERO)),
            ("15", None),
            ("-1s", None),
            ("s", None),
            ("15sec", None),
            ("", None),
        ] {
            assert_eq!(duration(text), expected, "{text}");
        }
    }

    #[test]
    fn reads_rates() {
        for (text, expected) in [
            ("100Mbps", Some(100_000_000)),
            ("1.5Gbps", Some(1_500_000_000)),
            ("9600 bps", Some(9_600)),
            ("100", None),
            ("100MB", None),
            ("100mbps", None),
            ("99999999999Gbps", None),
        ] {
            assert_eq!(bits(text), expected, "{text}");
        }
        for (rate, text) in [(100_000_000, "100Mbps"), (1_500_000, "1500kbps"), (0, "0bps")] {
            assert_eq!((shown_rate(rate), bits(text)), (text.to_owned(), Some(rate)));
        }
    }

    #[test]
    fn reads_sizes() {
        for (text, expected) in [
            ("64KiB", Some(65_536)),
            ("1.5MiB", Some(1_572_864)),
            ("10kB", Some(10_000)),
            ("7B", Some(7)),
            ("7", None),
            ("KiB", None),
            ("99999999TiB", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
        for (size, text) in [(65_536, "64KiB"), (1 << 30, "1GiB"), (1_000, "1000B"), (0, "0B")] {
            assert_eq!((shown(size), bytes(text)), (text.to_owned(), Some(size)));
        }
    }
}
