//! The grammar of an HTTP/1 response head, over its bytes as they came, and how the body after it
//! is framed.
//!
//! An origin is not trusted more than a client: a head that two readers could take for two messages
//! is refused, bare LF, folded lines and control characters among them. What the fields mean, other
//! than for the framing, is decided by whoever has them.

use std::ops::Range;

use memchr::memchr;

use crate::body::Body;
use crate::head::bytes::{is_value, split_field};
use crate::head::{HeadLimits, Version, content_length};

/// Why a response is refused; the text is for the operator's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Its length, to the end of the empty line.
    pub bytes: usize,
    /// Where its fields begin.
    pub fields: usize,
    /// Its version.
    pub version: Version,
    /// Its status, of three digits.
    pub status: u16,
    /// Where its reason phrase stands.
    pub reason: Range<usize>,
    /// The body that follows.
    pub body: Body,
    /// Whether `Content-Length` must not be passed on, because `Transfer-Encoding` takes its place
    /// (RFC 9112, 6.3).
    pub overrides_length: bool,
    /// Whether the origin takes another request on this connection once the body is over.
    pub persists: bool,
}

impl ResponseHead {
    /// Whether another head follows (RFC 9110, 15.2).
    #[must_use]
    pub fn is_interim(&self) -> bool {
        matches!(self.status, 100 | 102..=199)
    }
}

/// Checks the head of a response line by line as it arrives, each byte once.
#[derive(Clone, Debug, Default)]
pub struct ResponseCheck {
    /// Where the first line begins that is not checked yet.
    line: usize,
    /// Before this no line ends that is not checked.
    searched: usize,
    fields: u64,
    status: Option<StatusLine>,
    length: Length,
    coding: Coding,
    closes: bool,
    keeps_alive: bool,
}

#[derive(Clone, Debug)]
struct StatusLine {
    version: Version,
    status: u16,
    reason: Range<usize>,
    end: usize,
}

/// What `Content-Length` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Length {
    #[default]
    Unsaid,
    Is(u64),
    Malformed,
    Differs,
}

/// What `Transfer-Encoding` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Coding {
    #[default]
    Unsaid,
    Chunked,
    Other,
}

impl ResponseCheck {
    /// Looks at what has come since; `None` while the head is incomplete. `bytes` begins with the
    /// status line, and holds at least what it held before. `to_head` says whether the request's
    /// method is HEAD.
    ///
    /// # Errors
    /// As soon as it is certain that the head is refused.
    pub fn advance(
        &mut self,
        bytes: &[u8],
        to_head: bool,
        limits: HeadLimits,
    ) -> Result<Option<ResponseHead>, Malformed> {
        const TOO_LARGE: Malformed = Malformed("its head is too large");
        let most = usize::try_from(limits.bytes).unwrap_or(usize::MAX);
        while let Some(length) = memchr(b'\n', &bytes[self.searched..]) {
            let start = self.line;
            self.line = self.searched + length + 1;
            self.searched = self.line;
            if self.line > most {
                return Err(TOO_LARGE);
            }
            let Some(line) = bytes[start..self.line].strip_suffix(b"\r\n") else {
                return Err(Malformed("a line of its head ends with a bare LF"));
            };
            match &self.status {
                None => self.status = Some(StatusLine::read(line, self.line)?),
                Some(_) if line.is_empty() => return self.complete(to_head).map(Some),
                Some(_) => self.field(line, limits)?,
            }
        }
        if bytes.len() >= most {
            return Err(TOO_LARGE);
        }
        self.searched = bytes.len();
        Ok(None)
    }

    fn field(&mut self, line: &[u8], limits: HeadLimits) -> Result<(), Malformed> {
        self.fields += 1;
        if self.fields > limits.fields {
            return Err(Malformed("its head has too many fields"));
        }
        if matches!(line[0], b' ' | b'\t') {
            return Err(Malformed("a header field is folded over lines"));
        }
        let (name, value) = split_field(line).map_err(Malformed)?;
        if !is_value(value) {
            return Err(Malformed("a header field has a control character"));
        }
        match name.len() {
            10 if name.eq_ignore_ascii_case(b"connection") => self.connection(value),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.length.say(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.coding.say(value),
            _ => {}
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            self.closes |= option.eq_ignore_ascii_case(b"close");
            self.keeps_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn complete(&self, to_head: bool) -> Result<ResponseHead, Malformed> {
        let Some(line) = &self.status else {
            return Err(Malformed("its status line is empty"));
        };
        let body = self.body(line.status, to_head)?;
        // RFC 9112, 6.1: HTTP/1.0 knows no transfer codings, so who sends one there may mean
        // anything by it.
        let by_version = match line.version {
            Version::Http10 => self.keeps_alive && self.coding == Coding::Unsaid,
            Version::Http11 => true,
        };
        let persists = by_version && !self.closes && body != Body::UntilClose && line.status != 101;
        Ok(ResponseHead {
            bytes: self.line,
            fields: line.end,
            version: line.version,
            status: line.status,
            reason: line.reason.clone(),
            body,
            overrides_length: self.coding != Coding::Unsaid && self.length != Length::Unsaid,
            persists,
        })
    }

    /// RFC 9112, 6.3.
    fn body(&self, status: u16, to_head: bool) -> Result<Body, Malformed> {
        let length = match (self.coding, self.length) {
            (Coding::Unsaid, Length::Malformed) => {
                return Err(Malformed("its Content-Length is not a number"));
            }
            (Coding::Unsaid, Length::Differs) => {
                return Err(Malformed("its Content-Lengths differ"));
            }
            (Coding::Unsaid, Length::Is(length)) => Some(length),
            _ => None,
        };
        match (status, self.coding, length) {
            (101, ..) => Ok(Body::UntilClose),
            (100..=199 | 204, ..) => Ok(Body::EMPTY),
            (_, Coding::Other, _) => Err(Malformed("its Transfer-Encoding is not chunked, once")),
            (304, ..) => Ok(Body::EMPTY),
            _ if to_head => Ok(Body::EMPTY),
            (_, Coding::Chunked, _) => Ok(Body::Chunked(crate::Chunks::default())),
            (_, Coding::Unsaid, Some(length)) => Ok(Body::Sized(length)),
            (_, Coding::Unsaid, None) => Ok(Body::UntilClose),
        }
    }
}

impl StatusLine {
    /// RFC 9112, 4. The space before an empty reason phrase may be missing, as it is from many
    /// origins.
    fn read(line: &[u8], end: usize) -> Result<Self, Malformed> {
        const MALFORMED: Malformed = Malformed("its status line is malformed");
        let (version, rest) = match line.split_at_checked(9).ok_or(MALFORMED)? {
            (b"HTTP/1.1 ", rest) => (Version::Http11, rest),
            (b"HTTP/1.0 ", rest) => (Version::Http10, rest),
            _ => return Err(MALFORMED),
        };
        let (digits, reason) = rest.split_at_checked(3).ok_or(MALFORMED)?;
        if !digits.iter().all(u8::is_ascii_digit) || digits[0] == b'0' {
            return Err(MALFORMED);
        }
        let status = digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
        let start = match reason {
            [] => line.len(),
            [b' ', reason @ ..] if is_value(reason) => line.len() - reason.len(),
            _ => return Err(MALFORMED),
        };
        Ok(Self { version, status, reason: start..line.len(), end })
    }
}

impl Length {
    /// RFC 9110, 8.6: equal copies are one, in one line and in several.
    fn say(&mut self, value: &[u8]) {
        let members = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        for member in members {
            *self = match (*self, content_length(member)) {
                (Self::Unsaid, Ok(length)) => Self::Is(length),
                (Self::Is(length), Ok(other)) if length == other => Self::Is(length),
                (Self::Is(_) | Self::Differs, Ok(_)) => Self::Differs,
                _ => Self::Malformed,
            };
        }
    }
}

impl Coding {
    fn say(&mut self, value: &[u8]) {
        let chunked = value.trim_ascii().eq_ignore_ascii_case(b"chunked");
        *self = match *self {
            Self::Unsaid if chunked => Self::Chunked,
            _ => Self::Other,
        };
    }
}

#[cfg(test)]
mod tests;
