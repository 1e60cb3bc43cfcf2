//! Regular expressions made of Envoy's matchers.

use crate::fields::Fields;

/// `text` as a regular expression that matches just it.
pub(super) fn escaped(text: &str) -> String {
    regex::escape(text)
}

/// The expression of a `RegexMatcher`. Envoy's matches the whole text, as ours does.
pub(super) fn of(matcher: &Fields<'_>) -> Option<String> {
    matcher.ignore("google_re2", "one engine of linear time matches all of them");
    let pattern = matcher.text("regex").unwrap_or_default();
    match regex::Regex::new(&pattern) {
        Ok(_) => Some(pattern),
        Err(error) => {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().to_owned();
            matcher.reject(format!("{pattern:?} is no regular expression here: {reason}"))
        }
    }
}

/// A `RegexMatchAndSubstitute` as an expression for the whole text and what takes its place. Envoy
/// replaces every match within the text; that is the same where there can be one only, at the
/// start.
pub(super) fn substitution(fields: &Fields<'_>) -> Option<(String, String)> {
    let pattern = fields.message("pattern").and_then(|matcher| of(&matcher));
    let substitution = fields.text("substitution").unwrap_or_default();
    let pattern = pattern?;
    if !pattern.starts_with('^') {
        return fields.reject(
            "replaces every match within the path; only one from the start can be said, write the \
             pattern with `^` in front and for the whole path",
        );
    }
    let with = groups(&substitution);
    Some(match pattern.ends_with('$') && !pattern.ends_with("\\$") {
        true => (pattern, with),
        false => (format!("(?:{pattern})(?P<rest>.*)"), format!("{with}${{rest}}")),
    })
}

/// `\1` of RE2 as `${1}`.
fn groups(substitution: &str) -> String {
    let mut with = String::with_capacity(substitution.len());
    let mut characters = substitution.chars();
    while let Some(character) = characters.next() {
        match character {
            '$' => with.push_str("$$"),
            '\\' => match characters.next() {
                Some(digit) if digit.is_ascii_digit() => {
                    with.push_str(&format!("${{{digit}}}"));
                }
                Some(other) => with.push(other),
                None => with.push('\\'),
            },
            other => with.push(other),
        }
    }
    with
}
