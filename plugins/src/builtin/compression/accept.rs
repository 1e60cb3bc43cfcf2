//! Which coding a client wants: RFC 9110, 12.5.3.

use http::{HeaderMap, header};

use super::coder::Coding;

/// The coding among `ours` that the client likes best; of those it likes equally, the first. `None`
/// where it likes the response as it is better, or says nothing.
pub(super) fn choose(headers: &HeaderMap, ours: impl Iterator<Item = Coding>) -> Option<Coding> {
    let wanted = Wanted::of(headers);
    let mut best = None;
    // A coding that is liked as well as the response as it is wins over it.
    let mut best_weight = wanted.weight("identity", false).unwrap_or(0).saturating_sub(1);
    for coding in ours {
        let weight = wanted.weight(coding.name(), true).unwrap_or(0);
        if weight > best_weight {
            (best, best_weight) = (Some(coding), weight);
        }
    }
    best
}

/// Codings and their weights in thousandths, as the client lists them.
struct Wanted<'h>(Vec<(&'h str, u16)>);

/// Entries that are looked at: there are a dozen codings in the world.
const ENTRIES_MAX: usize = 32;

impl<'h> Wanted<'h> {
    fn of(headers: &'h HeaderMap) -> Self {
        let fields = headers.get_all(header::ACCEPT_ENCODING).iter();
        let fields = fields.filter_map(|field| field.to_str().ok());
        let entries = fields.flat_map(|field| field.split(','));
        Self(entries.take(ENTRIES_MAX).filter_map(entry).collect())
    }

    /// The weight of a coding; `None` where it is not mentioned.
    fn weight(&self, name: &str, by_star: bool) -> Option<u16> {
        let named = |name: &str| {
            let mut entries = self.0.iter();
            entries.find(|entry| entry.0.eq_ignore_ascii_case(name)).map(|entry| entry.1)
        };
        named(name).or_else(|| if by_star { named("*") } else { None })
    }
}

fn entry(text: &str) -> Option<(&str, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    // RFC 9110, 8.4.1.3: the old name.
    let name = if name.eq_ignore_ascii_case("x-gzip") { "gzip" } else { name };
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    match weight {
        None => Some((name, 1000)),
        Some(weight) => thousandths(weight).map(|weight| (name, weight)),
    }
}

/// RFC 9110, 12.4.2: `0` or `1` with up to three decimals.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = decimals.bytes().all(|byte| byte.is_ascii_digit());
    if decimals.len() > 3 || !digits || !matches!(whole, "0" | "1") {
        return None;
    }
    let weight: u16 = format!("{whole}{decimals:0<3}").parse().ok()?;
    (weight <= 1000).then_some(weight)
}
