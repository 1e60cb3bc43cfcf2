//! Which bytes may stand where in a head. Tables and folds, since every request pays for each of its bytes.

/// RFC 9110, 5.6.2.
const TOKEN: u8 = 1;
/// RFC 3986, 3.3 and 3.4: what may stand in a path or a query, a percent sign included.
const TARGET: u8 = 1 << 1;
/// What clients send in a path as it is although RFC 3986 asks them to escape it; it goes on escaped.
const PATH_ESCAPED: u8 = 1 << 2;
/// The same in a query: fewer, since origins are used to seeing `[`, `{` and `|` there, as browsers send them.
const QUERY_ESCAPED: u8 = 1 << 3;
/// What stands in a query as it is although it does not in a path.
const QUERY: u8 = 1 << 4;

const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = class(byte as u8);
        byte += 1;
    }
    classes
};

const fn class(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => TOKEN | TARGET,
        b'!' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'_' | b'~' => {
            TOKEN | TARGET
        }
        b'(' | b')' | b',' | b'/' | b':' | b';' | b'=' | b'?' | b'@' => TARGET,
        // Neither reserved nor unreserved, and yet sent by browsers in one part or the other.
        b'^' | b'`' | b'|' => TOKEN | PATH_ESCAPED | QUERY,
        b'[' | b']' | b'{' | b'}' => PATH_ESCAPED | QUERY,
        b'"' | b'<' | b'>' | 0x80..=0xff => PATH_ESCAPED | QUERY_ESCAPED,
        // The rules of paths refuse it there, and have to see it.
        b'\\' => TARGET,
        // A fragment is none of the server's business (RFC 9112, 3.2).
        b'#' => TOKEN,
        0..=b' ' | 0x7f => 0,
    }
}

/// Whether `bytes` is a token.
pub(crate) fn is_name(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| CLASSES[usize::from(*byte)] & TOKEN != 0)
}

/// The name and the value of a field's line (RFC 9112, 5), in one pass over the name.
///
/// # Errors
/// There is no name, or it is no token.
pub(crate) fn split_field(line: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let is_token = |byte: &&u8| CLASSES[usize::from(**byte)] & TOKEN != 0;
    let name = line.iter().take_while(is_token).count();
    match line.get(name) {
        Some(b':') if name > 0 => Ok((&line[..name], &line[name + 1..])),
        _ if !line.contains(&b':') => Err("a header field has no colon"),
        _ => Err("the name of a header field is malformed"),
    }
}

/// Whether `bytes` may be the value of a field (RFC 9110, 5.5): no control but a tab. Without a branch for
/// each byte, so that many are looked at in one step.
pub(crate) fn is_value(bytes: &[u8]) -> bool {
    !bytes
        .iter()
        .fold(false, |control, &byte| control | ((byte < b' ') & (byte != b'\t')) | (byte == 0x7f))
}

/// What a target is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// As RFC 3986 has it.
    Plain,
    /// With bytes that have to be escaped.
    Loose,
    /// With bytes that no target has.
    Refused,
}

/// How `target`, a path and a query, is spelt.
pub(super) fn spelling(target: &[u8]) -> Spelling {
    let (path, query) = split(target);
    let path = spelling_by(path, TARGET, PATH_ESCAPED);
    match spelling_by(query, TARGET | QUERY, QUERY_ESCAPED) {
        Spelling::Plain => path,
        Spelling::Loose if path == Spelling::Refused => path,
        query => query,
    }
}

fn spelling_by(part: &[u8], plain: u8, escaped: u8) -> Spelling {
    let mut loose = false;
    for byte in part {
        match CLASSES[usize::from(*byte)] {
            class if class & plain != 0 => {}
            class if class & escaped != 0 => loose = true,
            _ => return Spelling::Refused,
        }
    }
    if loose { Spelling::Loose } else { Spelling::Plain }
}

/// The path, and the query with its question mark.
fn split(target: &[u8]) -> (&[u8], &[u8]) {
    target.split_at(memchr::memchr(b'?', target).unwrap_or(target.len()))
}

/// Appends `target` with what has to be escaped.
pub(super) fn escape(target: &[u8], into: &mut Vec<u8>) {
    let (path, query) = split(target);
    escape_by(path, PATH_ESCAPED, into);
    escape_by(query, QUERY_ESCAPED, into);
}

/// Whether a query has to be escaped in any place.
pub(super) fn is_plain_query(query: &[u8]) -> bool {
    query.iter().all(|byte| CLASSES[usize::from(*byte)] & QUERY_ESCAPED == 0)
}

/// Appends `query` with what has to be escaped.
pub(super) fn escape_query(query: &[u8], into: &mut Vec<u8>) {
    escape_by(query, QUERY_ESCAPED, into);
}

fn escape_by(part: &[u8], escaped: u8, into: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in part {
        if CLASSES[usize::from(byte)] & escaped == 0 {
            into.push(byte);
        } else {
            let (high, low) = (DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]);
            into.extend_from_slice(&[b'%', high, low]);
        }
    }
}

/// Whether what is no whole line yet may become a request line: no control stands in it. The first record of
/// TLS has one in its first byte.
pub(super) fn may_begin_request(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte >= b' ' && *byte != 0x7f)
}
