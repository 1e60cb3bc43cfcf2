//! Regular expressions for numbers in a range, since JSON Schema has no bounds for text.

use std::fmt::Write;

/// A number with a fraction or without, from `least` to `most` times a unit of `unit`.
///
/// Where a bound is no whole number of units, what lies within a unit of it passes: a validator that
/// knows the unit decides there, and this is for editors.
#[must_use]
pub(crate) fn numbers(least: u64, most: u64, unit: u64) -> String {
    let (from, to) = (least.div_ceil(unit), most / unit);
    let mut choices = Vec::new();
    let fraction = "(?:[.][0-9]*)?";
    if from < to {
        choices.push(format!("{}{fraction}", between(from, to - 1)));
    }
    if from <= to {
        // Beyond the last whole unit there may be a part of one.
        let end = if most.is_multiple_of(unit) { "(?:[.]0*)?" } else { fraction };
        choices.push(format!("{}{end}", between(to, to)));
    }
    if !least.is_multiple_of(unit) && most >= unit || from > to {
        // A part of the unit in which the range begins.
        let part = least / unit;
        choices.push(format!("{}[.][0-9]*[1-9][0-9]*", between(part, part)));
    }
    if least == 0 && most > 0 {
        // Above zero, and not a bare point.
        choices = vec![format!("(?!0*[.]?0*[^0-9.])(?:{}|[.][0-9]+)", choices.join("|"))];
    }
    format!("(?:{})", choices.join("|"))
}

/// The whole numbers from `from` to `to`, with zeros before them or without.
fn between(from: u64, to: u64) -> String {
    let mut choices = Vec::new();
    let mut start = from;
    while start <= to {
        let digits = start.to_string();
        let last = 10_u64.saturating_pow(digits.len() as u32) - 1;
        same_length(&digits, &last.min(to).to_string(), &mut choices);
        start = match last.checked_add(1) {
            Some(next) => next,
            None => break,
        };
    }
    format!("0*(?:{})", choices.join("|"))
}

/// Adds what stands for the numbers from `from` to `to`, which have as many digits.
fn same_length(from: &str, to: &str, choices: &mut Vec<String>) {
    let shared = from.bytes().zip(to.bytes()).take_while(|(a, b)| a == b).count();
    let (prefix, low, high) = (&from[..shared], &from[shared..], &to[shared..]);
    let rest = low.len().saturating_sub(1);
    let any = |count: usize| match count {
        0 => String::new(),
        1 => "[0-9]".to_owned(),
        _ => format!("[0-9]{{{count}}}"),
    };
    let Some((first, last)) = low.chars().next().zip(high.chars().next()) else {
        choices.push(prefix.to_owned());
        return;
    };
    let open = |text: &str, digit: char| text[1..].chars().all(|found| found == digit);
    let (mut first_whole, mut last_whole) = (first, last);
    if !open(low, '0') {
        let mut inner = Vec::new();
        same_length(&low[1..], &"9".repeat(rest), &mut inner);
        choices.extend(inner.into_iter().map(|inner| format!("{prefix}{first}{inner}")));
        first_whole = char::from(first as u8 + 1);
    }
    let mut above = Vec::new();
    if !open(high, '9') {
        same_length(&"0".repeat(rest), &high[1..], &mut above);
        last_whole = char::from(last as u8 - 1);
    }
    if first_whole <= last_whole {
        let mut choice = prefix.to_owned();
        match first_whole == last_whole {
            true => choice.push(first_whole),
            false => drop(write!(choice, "[{first_whole}-{last_whole}]")),
        }
        choices.push(choice + &any(rest));
    }
    choices.extend(above.into_iter().map(|inner| format!("{prefix}{last}{inner}")));
}

#[cfg(test)]
mod tests;
