//! The fields of a head that was checked: where each stands, and how its name was written.
//!
//! Values that are slices of the head are the link between a map of fields, which has names in
//! lower case, and the names as they came: the name of a field stands before its value.

use std::ops::Range;

use memchr::memchr;

/// Where a field stands in its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: Range<usize>,
    /// Its value, without the whitespace around it.
    pub value: Range<usize>,
}

/// The fields of `head`, which was checked and whose first line ends before `start`.
///
/// ```
/// let head = b"HTTP/1.1 200 OK\r\nX-One:  1 \r\n\r\n";
/// let fields: Vec<_> = sallyport_http1::fields(head, 17).collect();
/// assert_eq!(&head[fields[0].name.clone()], b"X-One");
/// assert_eq!(&head[fields[0].value.clone()], b"1");
/// ```
pub fn fields(head: &[u8], start: usize) -> Fields<'_> {
    Fields { head, at: start }
}

/// An iterator over the fields of a head.
#[derive(Clone, Debug)]
pub struct Fields<'h> {
    head: &'h [u8],
    at: usize,
}

impl Iterator for Fields<'_> {
    type Item = Field;

    fn next(&mut self) -> Option<Field> {
        let start = self.at;
        let rest = self.head.get(start..)?;
        // Ends at the empty line, whose only colon would be behind the head.
        if rest.first().is_none_or(|byte| *byte == b'\r') {
            return None;
        }
        // Names are short: to look at each byte costs less than to look at many at once.
        let colon = rest.iter().position(|byte| *byte == b':')?;
        let end = colon + memchr(b'\r', &rest[colon..])?;
        self.at = start + end + 2;
        let value = &rest[colon + 1..end];
        let leading = value.iter().take_while(|byte| is_space(**byte)).count();
        let trailing = value[leading..].iter().rev().take_while(|byte| is_space(**byte)).count();
        let value = start + colon + 1 + leading..start + end - trailing;
        Some(Field { name: start..start + colon, value })
    }
}

/// The name of the field whose value is the slice `value` of `head`, as it was written, if it is
/// `name`.
///
/// A value that is no slice of the head has none there: it was made since. An empty value has no
/// place; it is found by its name.
#[must_use]
pub fn written_name<'h>(
    head: &'h [u8],
    start: usize,
    name: &str,
    value: &[u8],
) -> Option<&'h [u8]> {
    let written = if value.is_empty() {
        let mut fields = fields(head, start);
        let empty = fields.find(|field| {
            field.value.is_empty() && head[field.name.clone()].eq_ignore_ascii_case(name.as_bytes())
        });
        &head[empty?.name]
    } else {
        // The distance of two addresses, of which nothing is read.
        let at = (value.as_ptr() as usize).checked_sub(head.as_ptr() as usize)?;
        let before = head.get(start..at)?;
        let colon = before.len() - before.iter().rev().take_while(|byte| is_space(**byte)).count();
        let line = before[..colon].strip_suffix(b":")?;
        let (rest, written) = line.split_at_checked(line.len().checked_sub(name.len())?)?;
        if !matches!(rest.last(), None | Some(b'\n')) {
            return None;
        }
        written
    };
    written.eq_ignore_ascii_case(name.as_bytes()).then_some(written)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] =
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Two:\t x: y \t\r\nX-eMpty:  \r\nx-two:z\r\n\r\nA: b\r\n";
    const START: usize = 16;

    fn text(range: Range<usize>) -> &'static str {
        std::str::from_utf8(&HEAD[range]).unwrap()
    }

    #[test]
    fn fields_are_names_and_values_without_the_space_around_them() {
        let fields: Vec<_> =
            fields(HEAD, START).map(|it| (text(it.name), text(it.value))).collect();
        let expected = [("Host", "a"), ("X-Two", "x: y"), ("X-eMpty", ""), ("x-two", "z")];
        assert_eq!(fields, expected);
    }

    #[test]
    fn a_value_leads_to_its_name() {
        for field in fields(HEAD, START) {
            let (name, value) = (text(field.name.clone()), &HEAD[field.value]);
            let lower = name.to_ascii_lowercase();
            assert_eq!(written_name(HEAD, START, &lower, value), Some(name.as_bytes()));
            assert_eq!(written_name(HEAD, START, "x-other", value), None, "a value that was moved");
        }
        let (elsewhere, before) = ("z".to_owned(), &HEAD[4..5]);
        for value in [elsewhere.as_bytes(), before] {
            assert_eq!(written_name(HEAD, START, "x-two", value), None);
        }
        assert_eq!(written_name(HEAD, START, "x-none", b""), None);
    }

    #[test]
    fn a_head_without_fields_has_none() {
        assert_eq!(fields(b"HTTP/1.1 200 OK\r\n\r\n", 17).next(), None);
        assert_eq!(fields(b"", 0).next(), None);
    }
}
