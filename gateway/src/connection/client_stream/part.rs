//! What of a client's bytes belongs to the request at hand.

use sallyport_http1::Chunks;

/// What of a stream may be given.
#[derive(Debug)]
pub(super) enum Part {
    /// All that comes.
    Everything,
    /// What is left of a head, and of the body after it.
    Request { head: usize, body: Body },
}

/// What is left of a body.
#[derive(Debug)]
pub(super) enum Body {
    Sized(u64),
    Chunked(Chunks),
}

impl Body {
    /// Whether nothing is left.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Sized(left) => *left == 0,
            Self::Chunked(chunks) => chunks.is_done(),
        }
    }

    /// Whether it has ended with trailers.
    pub(super) fn has_trailers(&self) -> bool {
        matches!(self, Self::Chunked(chunks) if chunks.has_trailers())
    }

    /// How many of `bytes` belong to it.
    ///
    /// # Errors
    /// Its framing is malformed; the text says how.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        match self {
            Self::Sized(left) => {
                let part = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= part as u64;
                Ok(part)
            }
            Self::Chunked(chunks) => chunks.advance(bytes),
        }
    }
}
