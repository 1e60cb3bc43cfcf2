//! The framing of a chunked body, followed byte by byte (RFC 9112, 7.1).
//!
//! Pingora takes chunks apart itself, with a parser that reads a size line without digits as the last chunk
//! and lets bare LF and control characters pass in extensions and trailers (httparse's `parse_chunk_size`).
//! What it is given has passed here, so that a body has one end, and everybody sees the same one.

use crate::body::Piece;

/// Digits of a chunk's size. With 15 it stays below 2^60, whoever counts.
const DIGITS_MAX: u8 = 15;
/// Bytes of the extensions of one chunk, which nobody reads; without a bound they are a body that no
/// limit counts.
const EXTENSION_BYTES_MAX: u16 = 1 << 10;
/// Bytes of all trailers.
const TRAILER_BYTES_MAX: u16 = 8 << 10;

/// A chunked body, followed to its end.
///
/// Costs a comparison or two for each byte of framing, and nothing for the bytes of data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chunks {
    state: State,
    /// Whether trailers came behind the last chunk.
    has_trailers: bool,
}

/// Where in the body the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the digits of a size, of which `digits` have been read.
    Size {
        digits: u8,
        size: u64,
    },
    /// After the digits, in whitespace that only an extension may follow.
    BeforeExtension {
        size: u64,
        bytes: u16,
    },
    /// In the extensions.
    Extension {
        size: u64,
        bytes: u16,
    },
    /// After the CR of the size line.
    SizeEnd {
        size: u64,
    },
    /// In the data of a chunk, of which `left` bytes are still to come.
    Data {
        left: u64,
    },
    /// At the CR after the data, and after it.
    DataCr,
    DataLf,
    /// At the beginning of a line of trailers.
    Trailer {
        bytes: u16,
    },
    /// In the name of a trailer.
    TrailerName {
        bytes: u16,
    },
    /// In its value.
    TrailerValue {
        bytes: u16,
    },
    /// After the CR that ends it.
    TrailerEnd {
        bytes: u16,
    },
    /// After the CR of the empty line.
    LastLf,
    /// After the body.
    Done,
}

impl Default for State {
    fn default() -> Self {
        Self::Size { digits: 0, size: 0 }
    }
}

impl Chunks {
    /// Whether the body is over.
    #[must_use]
    pub fn is_done(self) -> bool {
        self.state == State::Done
    }

    /// Whether trailers came at its end.
    #[must_use]
    pub fn has_trailers(self) -> bool {
        self.has_trailers
    }

    fn step(&mut self, byte: u8) -> Result<(), &'static str> {
        self.state = self.state.next(byte)?;
        self.has_trailers |= matches!(self.state, State::TrailerName { .. });
        Ok(())
    }

    /// Follows `bytes`; how many of them belong to the body.
    ///
    /// # Errors
    /// What is wrong, at the first byte that is.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let mut at = 0;
        while at < bytes.len() && !self.is_done() {
            if let State::Data { left } = &mut self.state {
                let part = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - at);
                *left -= part as u64;
                at += part;
                if *left == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            self.step(bytes[at])?;
            at += 1;
        }
        Ok(at)
    }
}

impl Chunks {
    /// Takes the next piece from `bytes`: framing, and then as much of one chunk's data as is there. One without
    /// data means that more bytes are needed or the body is done.
    ///
    /// # Errors
    /// As [`Self::advance`].
    pub fn next_piece(&mut self, bytes: &[u8]) -> Result<Piece, &'static str> {
        let (mut framing, mut trailers) = (0, 0);
        while framing < bytes.len() && !self.is_done() {
            if let State::Data { left } = self.state {
                let data = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - framing);
                let left = left - data as u64;
                self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                return Ok(Piece { framing, trailers: 0, data });
            }
            trailers += usize::from(self.state.is_in_trailers());
            self.step(bytes[framing])?;
            framing += 1;
        }
        Ok(Piece { framing, trailers, data: 0 })
    }
}

impl State {
    /// Whether the next byte is one of the trailers, the empty line behind them included.
    fn is_in_trailers(self) -> bool {
        matches!(
            self,
            Self::Trailer { .. }
                | Self::TrailerName { .. }
                | Self::TrailerValue { .. }
                | Self::TrailerEnd { .. }
                | Self::LastLf
        )
    }

    fn next(self, byte: u8) -> Result<Self, &'static str> {
        const SIZE: &str = "the size of a chunk is malformed";
        const TRAILER: &str = "a trailer of the body is malformed";
        Ok(match (self, byte) {
            (Self::Size { digits, size }, byte) if byte.is_ascii_hexdigit() => {
                if digits == DIGITS_MAX {
                    return Err(SIZE);
                }
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                Self::Size { digits: digits + 1, size: size << 4 | u64::from(digit) }
            }
            (Self::Size { digits: 0, .. }, _) => return Err(SIZE),
            (Self::Size { size, .. } | Self::Extension { size, .. }, b'\r') => {
                Self::SizeEnd { size }
            }
            (Self::Size { size, .. }, b';') => Self::Extension { size, bytes: 0 },
            (Self::Size { size, .. }, b' ' | b'\t') => Self::BeforeExtension { size, bytes: 0 },
            (Self::BeforeExtension { size, bytes }, b';') => Self::Extension { size, bytes },
            (Self::BeforeExtension { size, bytes }, b' ' | b'\t')
                if bytes < EXTENSION_BYTES_MAX =>
            {
                Self::BeforeExtension { size, bytes: bytes + 1 }
            }
            (Self::Extension { size, bytes }, byte)
                if is_text(byte) && bytes < EXTENSION_BYTES_MAX =>
            {
                Self::Extension { size, bytes: bytes + 1 }
            }
            (Self::SizeEnd { size: 0 }, b'\n') => Self::Trailer { bytes: 0 },
            (Self::SizeEnd { size }, b'\n') => Self::Data { left: size },
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::default(),
            (Self::DataCr | Self::DataLf, _) => return Err("a chunk is longer than its size"),
            (Self::Trailer { .. }, b'\r') => Self::LastLf,
            (Self::Trailer { bytes } | Self::TrailerName { bytes }, byte)
                if is_token(byte) && bytes < TRAILER_BYTES_MAX =>
            {
                Self::TrailerName { bytes: bytes + 1 }
            }
            (Self::TrailerName { bytes }, b':') => Self::TrailerValue { bytes },
            (Self::TrailerValue { bytes }, b'\r') => Self::TrailerEnd { bytes },
            (Self::TrailerValue { bytes }, byte) if is_text(byte) && bytes < TRAILER_BYTES_MAX => {
                Self::TrailerValue { bytes: bytes + 1 }
            }
            (Self::TrailerEnd { bytes }, b'\n') => Self::Trailer { bytes },
            (Self::LastLf, b'\n') => Self::Done,
            (
                Self::Trailer { .. }
                | Self::TrailerName { .. }
                | Self::TrailerValue { .. }
                | Self::TrailerEnd { .. }
                | Self::LastLf,
                _,
            ) => return Err(TRAILER),
            _ => return Err(SIZE),
        })
    }
}

/// Whether `byte` may stand in an extension or the value of a trailer: no control but a tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::Chunks;

    /// How much of `bytes` is the body, in one piece and byte by byte.
    fn end(bytes: &[u8]) -> Result<Option<usize>, &'static str> {
        let mut whole = Chunks::default();
        let taken = whole.advance(bytes);
        let mut pieces = Chunks::default();
        let mut sum = Ok(0);
        for byte in bytes {
            sum = sum.and_then(|sum| Ok(sum + pieces.advance(std::slice::from_ref(byte))?));
        }
        assert_eq!(taken, sum, "{}", bytes.escape_ascii());
        Ok(whole.is_done().then_some(taken?))
    }

    #[test]
    fn rfc9112_7_1_a_body_ends_after_its_last_chunk_and_trailers() {
        for (body, over) in [
            (&b"0\r\n\r\n"[..], true),
            (b"5\r\nhello\r\n0\r\n\r\n", true),
            (b"00A;x=\"y z\"\r\n0123456789\r\n000\r\n\r\n", true),
            (b"1 \t;x\r\na\r\n0\r\nA: b\r\nC:\r\n\r\n", true),
            (b"5\r\nhello\r\n0\r\n", false),
            (b"5\r\nhell", false),
        ] {
            let name = body.escape_ascii().to_string();
            assert_eq!(end(body), Ok(over.then_some(body.len())), "{name}");
            let mut chunks = Chunks::default();
            chunks.advance(body).unwrap();
            assert_eq!(chunks.has_trailers(), name.contains("A: b"), "{name}");
            if over {
                assert_eq!(end(&[body, b"GET /"].concat()), Ok(Some(body.len())), "{name}");
            }
        }
    }

    #[test]
    fn rfc9112_7_1_what_two_parsers_read_in_two_ways_is_refused() {
        let long = [b"1;".to_vec(), vec![b'x'; 2000], b"\r\n".to_vec()].concat();
        let trailers = [b"0\r\n".to_vec(), b"A: b\r\n".repeat(3000)].concat();
        for body in [
            &b"\r\n"[..],
            b" \r\n",
            b";x\r\n",
            b" 5\r\n",
            b"5 \r\n",
            b"5 5\r\n",
            b"+5\r\n",
            b"0x5\r\n",
            b"5\n",
            b"5;\n",
            b"5;a\0\r\n",
            b"5;a\x7f\r\n",
            b"5\r\r\n",
            b"5\r\nhelloX",
            b"5\r\nhello\n",
            b"5\r\nhello\r\r",
            b"1000000000000000\r\n",
            b"0\r\nA b\r\n\r\n",
            b"0\r\n A: b\r\n\r\n",
            b"0\r\nA: b\n\r\n",
            b"0\r\n:b\r\n",
            b"0\r\nA: b\r\n c\r\n",
            b"0\r\n\n",
            b"0\r\n\r\r",
            &long,
            &trailers,
        ] {
            assert!(end(body).is_err(), "{}", body.escape_ascii());
        }
    }
}
