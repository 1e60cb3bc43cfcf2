//! What a path that matched a regex is replaced with: the syntax of `regex::Captures::expand`, which
//! takes a group that does not exist for an empty one. Here it is a problem of the configuration.

use regex::Regex;
use sallyport_config::{Node, Sink};

/// What is wrong with a replacement.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReplacementError {
    #[error("does not begin with `/`")]
    Relative,
    #[error("has a query or a fragment")]
    NotPath,
    #[error("has a character that no path can have")]
    Character,
    #[error("`$` begins no group")]
    Dollar,
    #[error("there is no group {0:?} in the regex")]
    NoGroup(String),
}

/// Reads one; its groups are looked for if there is a `regex` to have them.
pub(super) fn read(node: Node<'_>, sink: &mut Sink, regex: Option<&Regex>) -> Option<String> {
    const FIX: &str = "write a path such as /x/$1 or /x/${name}-y; $$ is a dollar sign";
    node.parsed(sink, FIX, |text| check(text, regex).map(|()| text.to_owned()))
}

fn check(with: &str, regex: Option<&Regex>) -> Result<(), ReplacementError> {
    if !with.starts_with('/') {
        return Err(ReplacementError::Relative);
    }
    if with.contains(['?', '#']) {
        return Err(ReplacementError::NotPath);
    }
    let mut rest = with;
    while let Some(at) = rest.find('$') {
        literal(&rest[..at])?;
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
            continue;
        }
        let (group, after) = group(rest).ok_or(ReplacementError::Dollar)?;
        if regex.is_some_and(|regex| !has_group(regex, group)) {
            return Err(ReplacementError::NoGroup(group.to_owned()));
        }
        rest = after;
    }
    literal(rest)
}

fn literal(text: &str) -> Result<(), ReplacementError> {
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
    text.bytes().all(fits).then_some(()).ok_or(ReplacementError::Character)
}

/// The name after a `$` and what follows it. Without braces a name is as long as it can be, so that
/// `$1a` is the group `1a`.
fn group(text: &str) -> Option<(&str, &str)> {
    if let Some(braced) = text.strip_prefix('{') {
        return braced.split_once('}');
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn has_group(regex: &Regex, group: &str) -> bool {
    match group.parse::<usize>() {
        Ok(number) => number < regex.captures_len(),
        Err(_) => regex.capture_names().flatten().any(|name| name == group),
    }
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::{ReplacementError, check};

    #[test]
    fn groups_must_exist() {
        let regex = Regex::new("/(?P<a>.)/(.)").unwrap();
        let no_group = |name: &str| Err(ReplacementError::NoGroup(name.into()));
        for (with, expected) in [
            ("/x/$1/${2}x/$a/$0", Ok(())),
            ("/costs-$$5", Ok(())),
            ("/$3", no_group("3")),
            ("/$1x", no_group("1x")),
            ("/${b}", no_group("b")),
            ("/$", Err(ReplacementError::Dollar)),
            ("/$/", Err(ReplacementError::Dollar)),
            ("/${a", Err(ReplacementError::Dollar)),
            ("x/$1", Err(ReplacementError::Relative)),
            ("$1", Err(ReplacementError::Relative)),
            ("/x?a=$1", Err(ReplacementError::NotPath)),
            ("/a b", Err(ReplacementError::Character)),
        ] {
            assert_eq!(check(with, Some(&regex)), expected, "{with}");
        }
    }
}
