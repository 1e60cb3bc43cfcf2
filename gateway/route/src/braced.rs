//! Text with names in braces, such as `/shop/${1}` or `${client} asked for ${path}`, taken apart.
//!
//! What a name stands for is its reader's to know: groups of a regex ([`Replacement`](crate::Replacement)), or
//! whatever else a request has. Only the braced form is read. `$1x` would be the group `1x` to some and the
//! group 1 to others.

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<'t> {
    /// What stands for itself; `$$` is one dollar sign by now.
    Text(Box<str>),
    /// What stood between `${` and `}`, whatever it was.
    Name(&'t str),
}

/// Why a text cannot be taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BracedError<'t> {
    /// A `$` that begins neither a name nor `$$`, and what follows it.
    Dollar(&'t str),
    /// A `${` without its `}`.
    Open,
}

/// Takes `text` apart. No piece of text is empty, and no two of them follow each other.
///
/// # Errors
/// If a `$` begins neither a name nor `$$`.
pub fn pieces(text: &str) -> Result<Vec<Piece<'_>>, BracedError<'_>> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        literal.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            literal.push('$');
            rest = after;
            continue;
        }
        let inside = rest.strip_prefix('{').ok_or(BracedError::Dollar(rest))?;
        let (name, after) = inside.split_once('}').ok_or(BracedError::Open)?;
        end_text(&mut literal, &mut pieces);
        pieces.push(Piece::Name(name));
        rest = after;
    }
    literal.push_str(rest);
    end_text(&mut literal, &mut pieces);
    Ok(pieces)
}

fn end_text(literal: &mut String, pieces: &mut Vec<Piece<'_>>) {
    if !literal.is_empty() {
        pieces.push(Piece::Text(std::mem::take(literal).into()));
    }
}

#[cfg(test)]
mod tests {
    use super::{BracedError, Piece, pieces};

    #[test]
    fn texts_are_taken_apart() {
        let text = |text: &str| Piece::Text(text.into());
        for (whole, expected) in [
            ("", Ok(vec![])),
            ("a", Ok(vec![text("a")])),
            ("$$", Ok(vec![text("$")])),
            ("a$$${b}$$c", Ok(vec![text("a$"), Piece::Name("b"), text("$c")])),
            ("${a}${}", Ok(vec![Piece::Name("a"), Piece::Name("")])),
            ("${a", Err(BracedError::Open)),
            ("x$a}", Err(BracedError::Dollar("a}"))),
            ("$", Err(BracedError::Dollar(""))),
        ] {
            assert_eq!(pieces(whole), expected, "{whole}");
        }
    }
}
