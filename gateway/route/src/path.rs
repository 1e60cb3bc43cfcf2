//! The path of a request in one spelling.
//!
//! Owns the answer to "are these two paths the same?". A route that protects `/admin` is worth
//! nothing if `/%61dmin` or `/x/../admin` walks around it, so paths are brought to one form before
//! they are matched, and what goes upstream is what was matched. Where an origin might read a path
//! otherwise than we do, the path is refused instead of interpreted.
//!
//! It is apart from matching because configuration goes through it too. It deliberately leaves
//! alone what RFC 3986 gives no licence to change: `//` stays, `%2F` stays, case stays.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use thiserror::Error;

/// Why a path was refused. All of these are the client's fault and deserve a 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PathError {
    /// Not an absolute path.
    #[error("path does not begin with '/'")]
    Relative,
    /// A `%` without two hexadecimal digits.
    #[error("path has a malformed percent escape")]
    Escape,
    /// `%00`, which ends a string in some origins and not in others.
    #[error("path has an encoded NUL")]
    Nul,
    /// A control byte, a space or DEL, which no request line may carry (RFC 9112 section 3).
    #[error("path has a control character or a space (byte {0:#04x})")]
    Control(u8),
    /// A raw `\`, which some origins read as `/`.
    #[error("path has a backslash")]
    Backslash,
    /// A raw `#`, which ends a path.
    #[error("path has a fragment")]
    Fragment,
    /// A raw `?`, which ends a path; the query is not part of what is given here.
    #[error("path has a query")]
    Query,
    /// More `..` than there are segments to leave.
    #[error("path climbs above the root")]
    AboveRoot,
    /// A `.` or `..` beside an encoded separator, as in `%2F..%2F`: harmless here, a climb in an
    /// origin that decodes first.
    #[error("path hides a dot segment behind an encoded separator")]
    HiddenBySeparator,
    /// A `.` or `..` with a parameter, as in `..;x`: a climb in an origin that strips parameters.
    #[error("path hides a dot segment behind a parameter")]
    HiddenByParameter,
}

/// Brings a path, without its query, to the spelling that routes are matched against.
///
/// Escapes of unreserved characters are decoded and the hexadecimal digits of the others become
/// upper-case (RFC 3986 sections 6.2.2.1 and 6.2.2.2); bytes that may not stand in a path as they
/// are become escapes; dot segments are then removed (section 5.2.4). The result is ASCII, begins
/// with `/`, holds no dot segment, and comes back unchanged if given in again.
///
/// Borrows when nothing changes. One pass over the bytes in the common case, that of a path with
/// neither an escape nor a segment that begins with a dot; a second, allocating one otherwise.
///
/// # Errors
///
/// [`PathError`] for each thing that cannot be normalised safely.
///
/// ```
/// # use sallyport_route::{PathError, normalise_path};
/// assert_eq!(normalise_path(b"/a/./b/%2e%2e/%7ec%2f")?, "/a/~c%2F");
/// assert_eq!(normalise_path(b"/a/../../b"), Err(PathError::AboveRoot));
/// assert_eq!(normalise_path(b"/a%2f..%2fb"), Err(PathError::HiddenBySeparator));
/// # Ok::<(), PathError>(())
/// ```
pub fn normalise_path(path: &[u8]) -> Result<Cow<'_, str>, PathError> {
    if path.first() != Some(&b'/') {
        return Err(PathError::Relative);
    }
    if is_plain(path)
        && let Ok(path) = std::str::from_utf8(path)
    {
        return Ok(Cow::Borrowed(path));
    }
    let rewritten = rewrite(path)?;
    Ok(match std::str::from_utf8(path) {
        Ok(path) if path == rewritten => Cow::Borrowed(path),
        _ => Cow::Owned(rewritten),
    })
}

/// Whether a path is certainly normal already: nothing to decode, encode or refuse, and no segment
/// that begins with a dot.
fn is_plain(path: &[u8]) -> bool {
    let (mut seen, mut dots, mut previous) = (0, 0, 0);
    // Without a branch per byte: a slash, shifted, meets the dot that follows it.
    for &byte in path {
        let class = CLASSES[usize::from(byte)];
        seen |= class;
        dots |= (previous << 1) & class;
        previous = class;
    }
    seen & SPECIAL == 0 && dots & DOT == 0
}

fn rewrite(path: &[u8]) -> Result<String, PathError> {
    let mut out = String::with_capacity(path.len() + 16);
    let mut segments = path[1..].split(|&byte| byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let start = out.len();
        out.push('/');
        write_segment(segment, &mut out)?;
        let dots = out[start + 1..].len();
        match &out[start + 1..] {
            "." | ".." => {
                out.truncate(start);
                if dots == 2 {
                    leave_segment(&mut out)?;
                }
                if segments.peek().is_none() {
                    out.push('/');
                }
            }
            written => refuse_hidden_dots(written)?,
        }
    }
    Ok(out)
}

fn leave_segment(out: &mut String) -> Result<(), PathError> {
    let parent = out.rfind('/').ok_or(PathError::AboveRoot)?;
    out.truncate(parent);
    Ok(())
}

fn write_segment(segment: &[u8], out: &mut String) -> Result<(), PathError> {
    let mut rest = segment;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match byte {
            b'%' => {
                let decoded = decode_escape(rest)?;
                rest = &rest[2..];
                if is_unreserved(decoded) {
                    out.push(char::from(decoded));
                } else {
                    write_escape(decoded, out);
                }
            }
            byte if CLASSES[usize::from(*byte)] & SPECIAL == 0 => out.push(char::from(*byte)),
            byte => {
                refuse_raw(*byte)?;
                write_escape(*byte, out);
            }
        }
    }
    Ok(())
}

fn decode_escape(digits: &[u8]) -> Result<u8, PathError> {
    let [high, low, ..] = digits else { return Err(PathError::Escape) };
    let value = |digit: &u8| char::from(*digit).to_digit(16).ok_or(PathError::Escape);
    match (value(high)? << 4 | value(low)?) as u8 {
        0 => Err(PathError::Nul),
        byte => Ok(byte),
    }
}

fn write_escape(byte: u8, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

fn refuse_raw(byte: u8) -> Result<(), PathError> {
    match byte {
        0..=b' ' | 0x7f => Err(PathError::Control(byte)),
        b'\\' => Err(PathError::Backslash),
        b'#' => Err(PathError::Fragment),
        b'?' => Err(PathError::Query),
        _ => Ok(()),
    }
}

/// Looks at a segment as an origin might that decodes `%2F`, `%5C` and `%3B` before it splits.
fn refuse_hidden_dots(segment: &str) -> Result<(), PathError> {
    if !segment.contains('.') {
        return Ok(());
    }
    let mut rest = segment;
    let mut separated = false;
    loop {
        let cut = memchr::memchr_iter(b'%', rest.as_bytes())
            .find(|&at| matches!(&rest[at..at + 3], "%2F" | "%5C"));
        let piece = &rest[..cut.unwrap_or(rest.len())];
        separated |= cut.is_some();
        refuse_hidden_piece(piece, separated)?;
        match cut {
            Some(at) => rest = &rest[at + 3..],
            None => return Ok(()),
        }
    }
}

fn refuse_hidden_piece(piece: &str, separated: bool) -> Result<(), PathError> {
    let Some(after) = piece.strip_prefix("..").or_else(|| piece.strip_prefix('.')) else {
        return Ok(());
    };
    if after.starts_with(';') || after.starts_with("%3B") {
        return Err(PathError::HiddenByParameter);
    }
    if separated && after.is_empty() {
        return Err(PathError::HiddenBySeparator);
    }
    Ok(())
}

/// RFC 3986 section 2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What else stands in a path as it is (RFC 3986 section 3.3).
const fn is_delimiter(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@'
    )
}

/// Anything that does not stand as it is: a percent sign, what is encoded, what is refused.
const SPECIAL: u8 = 1 << 7;
const SLASH: u8 = 1;
const DOT: u8 = SLASH << 1;

/// What each byte of a path means for it.
const CLASSES: [u8; 256] = {
    let mut classes = [SPECIAL; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'/' => SLASH,
            b'.' => DOT,
            byte if is_unreserved(byte) || is_delimiter(byte) => 0,
            _ => SPECIAL,
        };
        byte += 1;
    }
    classes
};
