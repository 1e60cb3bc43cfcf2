//! Names that a certificate is for.

use std::fmt;

/// A DNS name of a certificate: one host, or every host directly below a domain.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DnsPattern {
    /// This host, in lower case.
    Exact(Box<str>),
    /// The hosts one label below this domain, in lower case.
    Wildcard(Box<str>),
}

impl DnsPattern {
    /// Reads `text`, such as `shop.example.com` or `*.example.com`; `None` if it is no name that a
    /// client could ask for.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        match text.strip_prefix("*.") {
            Some(domain) => is_host(domain).then(|| Self::Wildcard(domain.into())),
            None => is_host(&text).then(|| Self::Exact(text.into())),
        }
    }

    /// Whether this is a wildcard for a public suffix, or for more: `*.com`, `*.co.uk`.
    ///
    /// One label is a suffix whether it is registered or not; clients refuse such wildcards too.
    /// Suffixes that companies give out names below, such as `github.io`, are their owners' to
    /// have certificates for.
    #[must_use]
    pub fn is_above_public_suffix(&self) -> bool {
        let Self::Wildcard(domain) = self else { return false };
        if !domain.contains('.') {
            return true;
        }
        psl::suffix(domain.as_bytes()).is_some_and(|suffix| {
            suffix.typ() == Some(psl::Type::Icann) && suffix.as_bytes() == domain.as_bytes()
        })
    }

    /// A host that the name is for.
    #[must_use]
    pub fn example(&self) -> String {
        match self {
            Self::Exact(host) => host.to_string(),
            Self::Wildcard(domain) => format!("any.{domain}"),
        }
    }
}

impl fmt::Display for DnsPattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => out.write_str(host),
            Self::Wildcard(domain) => write!(out, "*.{domain}"),
        }
    }
}

/// Whether `text` is a host name as clients send it: no longer than DNS allows, and no address.
fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(is_inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253
        && text.split('.').all(is_label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::DnsPattern;

    #[test]
    fn names_are_brought_to_one_spelling_or_refused() {
        for (text, name) in [
            ("Shop.Example.com", "shop.example.com"),
            ("shop.example.com.", "shop.example.com"),
            ("*.Example.com", "*.example.com"),
            ("_dmarc.example.com", "_dmarc.example.com"),
            ("localhost", "localhost"),
            ("xn--mller-kva.example", "xn--mller-kva.example"),
        ] {
            assert_eq!(DnsPattern::parse(text).expect(text).to_string(), name);
        }
        let long = format!("{}.com", "a".repeat(64));
        for text in [
            "",
            ".",
            "*",
            "*.",
            "a..b",
            "w*.example.com",
            "*.*.com",
            "10.0.0.1",
            "a b",
            "-a.com",
            "müller.example",
            "[::1]",
            &long,
        ] {
            assert_eq!(DnsPattern::parse(text), None, "{text}");
        }
    }

    #[test]
    fn wildcards_above_the_public_suffix_are_known() {
        for (text, is_above) in [
            ("*.com", true),
            ("*.co.uk", true),
            ("*.internal", true),
            ("*.localhost", true),
            ("*.example.com", false),
            ("*.example.co.uk", false),
            ("*.shop.internal", false),
            ("*.github.io", false),
            ("com", false),
        ] {
            let name = DnsPattern::parse(text).expect(text);
            assert_eq!(name.is_above_public_suffix(), is_above, "{text}");
        }
    }
}
