//! What an origin sends in answer to one request: interim heads, the final one, a body, and nothing
//! more.

use crate::body::{Body, Cut, Piece};
use crate::head::HeadLimits;
use crate::response::{Malformed, ResponseCheck, ResponseHead};

/// Interim heads that may come before the final one. Each is passed on, so without a bound an
/// origin could answer for ever.
const INTERIM_HEADS_MAX: u8 = 32;

/// Reads one response out of what comes on a connection.
///
/// ```
/// use sallyport_http1::{HeadLimits, ResponseEvent, ResponseReader};
///
/// let limits = HeadLimits { bytes: 1 << 16, fields: 100 };
/// let mut reader = ResponseReader::new(b"GET", limits);
/// let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
/// let ResponseEvent::Head(head) = reader.read(bytes)? else { panic!("the head is whole") };
/// let ResponseEvent::Body(piece) = reader.read(&bytes[head.bytes..])? else { panic!("there is a body") };
/// assert_eq!((piece.framing, piece.data), (0, 2));
/// assert!(reader.is_done() && reader.persists());
/// # Ok::<(), sallyport_http1::Malformed>(())
/// ```
#[derive(Clone, Debug)]
pub struct ResponseReader {
    limits: HeadLimits,
    to_head: bool,
    interim: u8,
    persists: bool,
    part: Part,
}

#[derive(Clone, Debug)]
enum Part {
    Head(ResponseCheck),
    Body(Body),
}

/// What comes next in a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseEvent {
    /// More bytes are needed; those that were given are to be given again, with more behind them.
    More,
    /// A head, interim or final, of as many bytes as it says.
    Head(ResponseHead),
    /// A part of the body; one without data means that more bytes are needed or the response is
    /// over.
    Body(Piece),
}

impl ResponseReader {
    /// Reads the response to a request with `method`.
    #[must_use]
    pub fn new(method: &[u8], limits: HeadLimits) -> Self {
        Self {
            limits,
            to_head: method == b"HEAD",
            interim: 0,
            persists: false,
            part: Part::Head(ResponseCheck::default()),
        }
    }

    /// Takes what comes next from `bytes`, which begin behind what was taken before.
    ///
    /// # Errors
    /// What is wrong with it. The connection is of no use any more.
    pub fn read(&mut self, bytes: &[u8]) -> Result<ResponseEvent, Malformed> {
        match &mut self.part {
            Part::Head(check) => {
                let Some(head) = check.advance(bytes, self.to_head, self.limits)? else {
                    return Ok(ResponseEvent::More);
                };
                self.begin(&head)?;
                Ok(ResponseEvent::Head(head))
            }
            Part::Body(body) => body.next_piece(bytes).map(ResponseEvent::Body).map_err(Malformed),
        }
    }

    /// As [`Body::gather`], once the final head was read.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn gather(&mut self, bytes: &mut [u8]) -> Result<Piece, Malformed> {
        match &mut self.part {
            Part::Head(_) => Ok(Piece::default()),
            Part::Body(body) => body.gather(bytes).map_err(Malformed),
        }
    }

    fn begin(&mut self, head: &ResponseHead) -> Result<(), Malformed> {
        self.part = if head.is_interim() {
            self.interim += 1;
            if self.interim > INTERIM_HEADS_MAX {
                return Err(Malformed("it has too many interim responses"));
            }
            Part::Head(ResponseCheck::default())
        } else {
            self.persists = head.persists;
            Part::Body(head.body)
        };
        Ok(())
    }

    /// The part of the body that is still to come; `None` before the final head.
    #[must_use]
    pub fn body(&self) -> Option<&Body> {
        match &self.part {
            Part::Head(_) => None,
            Part::Body(body) => Some(body),
        }
    }

    /// As [`Self::body`], for whoever moves the data by other means and says so with
    /// [`Body::next_piece`].
    pub fn body_mut(&mut self) -> Option<&mut Body> {
        match &mut self.part {
            Part::Head(_) => None,
            Part::Body(body) => Some(body),
        }
    }

    /// Whether the response is over without the connection's end.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.body().is_some_and(Body::is_done)
    }

    /// Whether the origin takes another request on the connection. What follows the response makes
    /// it useless all the same: nobody has asked for that.
    #[must_use]
    pub fn persists(&self) -> bool {
        self.persists && self.is_done()
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// The response has not.
    pub fn end(&mut self) -> Result<(), Cut> {
        self.persists = false;
        match &mut self.part {
            Part::Head(_) => Err(Cut),
            Part::Body(body) => body.end(),
        }
    }
}

#[cfg(test)]
mod tests;
