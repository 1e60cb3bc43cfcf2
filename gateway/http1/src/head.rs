//! The grammar of an HTTP/1 request head, over its bytes as they came.
//!
//! A gateway and an origin that read one message differently are how requests are smuggled, so every byte of
//! a head is checked here, before Pingora parses it: Pingora's parser forgives bare LF, repairs request lines
//! and hides what it dropped. What passes has one reading, and Pingora has no reason left to refuse it with an
//! answer of its own. What needs more than the head itself (routes, the body's limit) is decided later.

pub(crate) mod bytes;
mod target;
#[cfg(test)]
mod tests;

use std::ops::Range;

use memchr::memchr;

use self::bytes::{is_name, is_value, split_field};
use self::target::Target;
pub use self::target::{TARGET_BYTES_MAX, Version, escaped_query, is_refused, is_same_authority};

/// Pingora gives up a head that is longer, so the configured limit ends here too.
const BYTES_MAX: usize = 1_048_575;

/// `HTTP/1.1`.
const VERSION_BYTES: usize = 8;

/// The most that a body can announce: what a signed counter of 64 bits holds, since that is what most
/// origins count with.
pub const CONTENT_LENGTH_MAX: u64 = i64::MAX as u64;

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It breaks the grammar; the text says where.
    Malformed(&'static str),
    /// It has too many fields or bytes.
    TooLarge,
    /// Its request-target is too long.
    TargetTooLong,
    /// Its version is not one of HTTP/1.0 and HTTP/1.1.
    Version,
    /// It asks for a tunnel by CONNECT.
    Connect,
    /// It did not arrive in time.
    Late,
}

/// How large a head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes, its request line included.
    pub bytes: u64,
    /// Header fields.
    pub fields: u64,
}

/// How the body after a head is framed (RFC 9112, 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    #[default]
    None,
    /// As many bytes as `Content-Length` says.
    Sized(u64),
    /// Chunks (RFC 9112, 7.1).
    Chunked,
}

/// A head that passed.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// Its length, to the end of the empty line.
    pub bytes: usize,
    /// What follows it.
    pub framing: Framing,
    /// The request line, and what it has to become before it is parsed, if it is not in normal form.
    pub request_line: Option<(Range<usize>, Vec<u8>)>,
    /// Where the method stands.
    pub method: Range<usize>,
    /// Where the target stands, as it came.
    pub target: Range<usize>,
    /// Its version.
    pub version: Version,
    /// Where its fields begin.
    pub fields: usize,
}

impl Head {
    /// The target in normal form; `bytes` are those of the head.
    #[must_use]
    pub fn normal_target<'h>(&'h self, bytes: &'h [u8]) -> &'h [u8] {
        let Some((_, line)) = &self.request_line else { return &bytes[self.target.clone()] };
        line.split(|byte| *byte == b' ').nth(1).unwrap_or_default()
    }
}

/// Checks a head line by line as it arrives, each byte once.
#[derive(Debug, Default)]
pub struct HeadCheck {
    /// Where the first line begins that is not checked yet.
    line: usize,
    /// Before this no line ends that is not checked: whoever sends a long line byte by byte does not have it
    /// searched from its beginning for each of them.
    searched: usize,
    fields: u64,
    request: Option<Request>,
    host: Option<Range<usize>>,
    length: Option<u64>,
    chunked: bool,
}

#[derive(Debug)]
struct Request {
    /// Its bytes, without the line's end.
    line: Range<usize>,
    method: Range<usize>,
    version: Version,
    target: Target,
}

impl HeadCheck {
    /// Looks at what has come since; `None` while the head is incomplete. `bytes` begins with the request
    /// line, and holds at least what it held before.
    ///
    /// # Errors
    /// As soon as it is certain that the head is refused.
    pub fn advance(&mut self, bytes: &[u8], limits: HeadLimits) -> Result<Option<Head>, Refusal> {
        let most = usize::try_from(limits.bytes).unwrap_or(BYTES_MAX).min(BYTES_MAX);
        while let Some(length) = memchr(b'\n', &bytes[self.searched..]) {
            let start = self.line;
            self.line = self.searched + length + 1;
            self.searched = self.line;
            if self.line > most {
                break;
            }
            let Some(line) = bytes[start..self.line].strip_suffix(b"\r\n") else {
                return Err(Refusal::Malformed("a line ends with a bare LF"));
            };
            match &self.request {
                None => self.request = Some(Request::read(line, start)?),
                Some(_) if line.is_empty() => return self.complete(bytes).map(Some),
                Some(_) => self.field(line, start, limits)?,
            }
        }
        if bytes.len() >= most {
            return Err(match &self.request {
                None => Refusal::TargetTooLong,
                Some(_) => Refusal::TooLarge,
            });
        }
        let new = &bytes[self.searched..];
        let new = new.strip_suffix(b"\r").unwrap_or(new);
        if self.request.is_none() && !bytes::may_begin_request(new) {
            return Err(Refusal::Malformed("what was sent is no HTTP request"));
        }
        self.searched += new.len();
        Ok(None)
    }

    /// One field (RFC 9112, 5; RFC 9110, 5.5 and 5.6.2).
    fn field(&mut self, line: &[u8], start: usize, limits: HeadLimits) -> Result<(), Refusal> {
        self.fields += 1;
        if self.fields > limits.fields {
            return Err(Refusal::TooLarge);
        }
        if matches!(line[0], b' ' | b'\t') {
            return Err(Refusal::Malformed("a header field is folded over lines"));
        }
        let (name, value) = split_field(line).map_err(Refusal::Malformed)?;
        if !is_value(value) {
            return Err(Refusal::Malformed("a header field has a control character"));
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                let value = trimmed(value, start + name.len() + 1);
                if self.host.replace(value).is_some() {
                    return Err(Refusal::Malformed("Host is repeated"));
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = content_length(value.trim_ascii())?;
                if self.length.replace(length).is_some() {
                    return Err(Refusal::Malformed("Content-Length is repeated"));
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if std::mem::replace(&mut self.chunked, true) {
                    return Err(Refusal::Malformed("Transfer-Encoding is repeated"));
                }
                if !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    let text = "the only transfer coding accepted is chunked";
                    return Err(Refusal::Malformed(text));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What only shows when all lines have been seen.
    fn complete(&self, bytes: &[u8]) -> Result<Head, Refusal> {
        let Some(request) = &self.request else {
            return Err(Refusal::Malformed("the request line is empty"));
        };
        let framing = match (self.length, self.chunked) {
            (None, false) => Framing::None,
            (Some(length), false) => Framing::Sized(length),
            (None, true) if request.version == Version::Http10 => {
                return Err(Refusal::Malformed("Transfer-Encoding is not part of HTTP/1.0"));
            }
            (None, true) => Framing::Chunked,
            (Some(_), true) => {
                let text = "Content-Length and Transfer-Encoding are sent together";
                return Err(Refusal::Malformed(text));
            }
        };
        let host = self.host.as_ref().map(|host| &bytes[host.clone()]);
        if host.is_none() && request.version == Version::Http11 {
            return Err(Refusal::Malformed("Host is missing"));
        }
        if host.is_some_and(|host| host.contains(&b'@')) {
            return Err(Refusal::Malformed("the host is malformed"));
        }
        let normal = request.normal(bytes, host)?;
        Ok(Head {
            bytes: self.line,
            framing,
            request_line: normal.map(|normal| (request.line.clone(), normal)),
            method: request.method.clone(),
            target: request.method.end + 1..request.line.end - VERSION_BYTES - 1,
            version: request.version,
            fields: request.line.end + 2,
        })
    }

    /// The head that takes the place of a refused one: with its request line where that is sound and short, so
    /// that an access log has the method and target.
    pub fn stand_in(&self, bytes: &[u8]) -> Vec<u8> {
        /// Longer ones are not worth a line of the log.
        const SHOWN_BYTES_MAX: usize = 2 << 10;
        let mut line = b"GET /".to_vec();
        if let Some(request) = &self.request
            && let Some(target) = request.target.shown(&bytes[request.line.clone()])
            && target.len() <= SHOWN_BYTES_MAX
        {
            line.clear();
            line.extend_from_slice(&bytes[request.method.clone()]);
            line.push(b' ');
            line.extend_from_slice(target);
        } else if bytes.starts_with(b"HEAD ") {
            // The answer to HEAD has no body, whatever else is wrong.
            line = b"HEAD /".to_vec();
        }
        line.extend_from_slice(b" HTTP/1.1\r\nHost:\r\n\r\n");
        line
    }
}

impl Request {
    /// The request line (RFC 9112, 3): three parts with a space between them.
    fn read(line: &[u8], start: usize) -> Result<Self, Refusal> {
        let malformed = || Refusal::Malformed("the request line is malformed");
        let method = memchr(b' ', line).ok_or_else(malformed)?;
        if !is_name(&line[..method]) {
            return Err(Refusal::Malformed("the method is malformed"));
        }
        let rest = &line[method + 1..];
        let target = memchr(b' ', rest).ok_or_else(malformed)?;
        let version = Version::read(&rest[target + 1..])?;
        let range = method + 1..method + 1 + target;
        let target = Target::read(&line[..method], &line[range.clone()], range.start)?;
        Ok(Self { line: start..start + line.len(), method: start..start + method, version, target })
    }

    /// The request line as it is to be parsed, where that is not as it came.
    fn normal(&self, head: &[u8], host: Option<&[u8]>) -> Result<Option<Vec<u8>>, Refusal> {
        let line = &head[self.line.clone()];
        let method = &head[self.method.clone()];
        self.target.normal(line, method, host, self.version)
    }
}

/// RFC 9110, 8.6: digits only.
pub fn content_length(digits: &[u8]) -> Result<u64, Refusal> {
    let refused = Refusal::Malformed("Content-Length is not a number");
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(refused);
    }
    let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    number.filter(|number| *number <= CONTENT_LENGTH_MAX).ok_or(refused)
}

/// Where `value` stands without the whitespace around it; it begins at `start`.
fn trimmed(value: &[u8], start: usize) -> Range<usize> {
    let leading = value.len() - value.trim_ascii_start().len();
    let start = start + leading;
    start..start + value.trim_ascii().len()
}
