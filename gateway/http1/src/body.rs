//! Where a body ends, read from its framing (RFC 9112, 6.3), and how one is framed on the way out.
//!
//! A body is read and written by two machines, because its framing ends with each hop: chunks are
//! taken apart and made anew. Extensions end here too; trailers are for the caller to pass on.

use crate::Chunks;

/// How much of a body is still to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// As many bytes.
    Sized(u64),
    /// Chunks (RFC 9112, 7.1).
    Chunked(Chunks),
    /// All that comes until the connection ends; only a response is framed so.
    UntilClose,
}

/// What the next bytes of a body are: first framing, which is nobody's, then data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Bytes of framing.
    pub framing: usize,
    /// How many of them, the last ones, are trailers with the empty line behind them.
    pub trailers: usize,
    /// Bytes of data that follow them.
    pub data: usize,
}

impl Piece {
    /// How many bytes it is in all.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.framing + self.data
    }
}

/// A connection ended before the body did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut;

impl Body {
    /// A body of no bytes.
    pub const EMPTY: Self = Self::Sized(0);

    /// Whether nothing of it is left to be read. A body until the end of the connection is never
    /// done before.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match self {
            Self::Sized(left) => *left == 0,
            Self::Chunked(chunks) => chunks.is_done(),
            Self::UntilClose => false,
        }
    }

    /// Whether trailers came behind its last chunk.
    #[must_use]
    pub fn has_trailers(&self) -> bool {
        matches!(self, Self::Chunked(chunks) if chunks.has_trailers())
    }

    /// Takes the next piece from `bytes`; one without data means that more bytes are needed or the
    /// body is done. Bytes behind the body are left.
    ///
    /// # Errors
    /// Its framing is malformed; the text says how.
    pub fn next_piece(&mut self, bytes: &[u8]) -> Result<Piece, &'static str> {
        match self {
            Self::Sized(left) => {
                let data = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= data as u64;
                Ok(Piece { data, ..Piece::default() })
            }
            Self::Chunked(chunks) => chunks.next_piece(bytes),
            Self::UntilClose => Ok(Piece { data: bytes.len(), ..Piece::default() }),
        }
    }

    /// Moves the data in `bytes` to their front and returns how many bytes were taken and how many
    /// of them are data. All data of one read become one piece, whatever chunks they came in. Of
    /// what was taken, trailers stay where they are: at the end.
    ///
    /// # Errors
    /// As [`Self::next_piece`].
    pub fn gather(&mut self, bytes: &mut [u8]) -> Result<Piece, &'static str> {
        let (mut taken, mut data) = (0, 0);
        loop {
            let piece = self.next_piece(&bytes[taken..])?;
            let start = taken + piece.framing;
            taken += piece.bytes();
            if start != data {
                bytes.copy_within(start..taken, data);
            }
            data += piece.data;
            if piece.data == 0 || taken == bytes.len() || self.is_done() {
                return Ok(Piece { framing: taken - data, trailers: piece.trailers, data });
            }
        }
    }

    /// So many of the [bytes left](Self::bytes_left) went another way.
    pub fn pass(&mut self, bytes: u64) {
        if let Self::Sized(left) = self {
            *left = left.saturating_sub(bytes);
        }
    }

    /// How much may be read of the connection without reading what follows the body; `None` if that
    /// cannot be known.
    #[must_use]
    pub fn bytes_left(&self) -> Option<u64> {
        match self {
            Self::Sized(left) => Some(*left),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// The body has not.
    pub fn end(&mut self) -> Result<(), Cut> {
        match self {
            Self::UntilClose => {
                *self = Self::EMPTY;
                Ok(())
            }
            body if body.is_done() => Ok(()),
            _ => Err(Cut),
        }
    }
}

/// What a chunked body without trailers ends with. Trailers go before its last empty line.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// How a body is framed on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyWriter {
    /// As many bytes are still to be written.
    Sized(u64),
    /// Each piece becomes a chunk.
    Chunked,
    /// The end of the connection ends it.
    UntilClose,
    /// It has ended.
    Done,
}

/// What is written around a piece of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What comes before it.
    pub before: SizeLine,
    /// How much of it is written: what is longer than the announced length is left out.
    pub data: usize,
    /// What comes after it.
    pub after: &'static [u8],
}

impl BodyWriter {
    /// Frames the next `bytes` of data.
    pub fn frame(&mut self, bytes: usize) -> Frame {
        match self {
            Self::Sized(left) => {
                let data = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes);
                *left -= data as u64;
                Frame { before: SizeLine::default(), data, after: b"" }
            }
            // A chunk without data would be the last one.
            Self::Chunked if bytes > 0 => {
                Frame { before: SizeLine::of(bytes), data: bytes, after: b"\r\n" }
            }
            Self::UntilClose => Frame { before: SizeLine::default(), data: bytes, after: b"" },
            Self::Chunked | Self::Done => {
                Frame { before: SizeLine::default(), data: 0, after: b"" }
            }
        }
    }

    /// How many bytes were announced and not written yet; none where none were.
    #[must_use]
    pub fn bytes_left(&self) -> usize {
        match self {
            Self::Sized(left) => usize::try_from(*left).unwrap_or(usize::MAX),
            Self::Chunked | Self::UntilClose | Self::Done => 0,
        }
    }

    /// Whether a receiver knows by now that the body is over.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Sized(0) | Self::Done)
    }

    /// Whether only the end of the connection tells a receiver that the body is over.
    #[must_use]
    pub fn ends_connection(&self) -> bool {
        matches!(self, Self::UntilClose)
    }

    /// Ends the body and returns what is written last; where that is [`LAST_CHUNK`], trailers may
    /// be written into it.
    ///
    /// # Errors
    /// It is shorter than was announced.
    pub fn finish(&mut self) -> Result<&'static [u8], Cut> {
        match std::mem::replace(self, Self::Done) {
            Self::Sized(0) | Self::UntilClose | Self::Done => Ok(b""),
            Self::Sized(_) => Err(Cut),
            Self::Chunked => Ok(LAST_CHUNK),
        }
    }
}

/// The line with a chunk's size, or nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SizeLine {
    /// At its end, the line.
    text: [u8; Self::BYTES_MAX],
    length: u8,
}

impl SizeLine {
    /// Sixteen digits and the line's end.
    const BYTES_MAX: usize = 18;

    fn of(mut size: usize) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        let mut text = [0; Self::BYTES_MAX];
        let mut start = Self::BYTES_MAX - 2;
        text[start..].copy_from_slice(b"\r\n");
        loop {
            start -= 1;
            text[start] = DIGITS[size & 15];
            size >>= 4;
            if size == 0 {
                return Self { text, length: (Self::BYTES_MAX - start) as u8 };
            }
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[Self::BYTES_MAX - usize::from(self.length)..]
    }
}

#[cfg(test)]
mod tests;
