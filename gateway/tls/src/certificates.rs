//! Which certificate answers for a name.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use crate::name::DnsPattern;
use crate::pair::Pair;
use crate::server_names::Closeness;

/// The longest name that DNS knows, with a dot at its end.
const NAME_BYTES_MAX: usize = 254;

/// The certificates of a listener, by name: an exact name before a wildcard, and the first
/// certificate for every other name unless those are refused.
///
/// Several certificates may have the same name if their keys are of different kinds; which of them
/// answers is decided by the signatures that the client knows.
#[derive(Debug)]
pub struct Certificates {
    exact: HashMap<Box<str>, Group>,
    wildcard: HashMap<Box<str>, Group>,
    /// The certificates of the first one's first name.
    default: Option<Group>,
}

/// Certificates of one name, each with its position in the list that they were made from.
#[derive(Clone, Debug, Default)]
struct Group(Vec<Member>);

#[derive(Clone, Debug)]
struct Member {
    index: usize,
    algorithm: SignatureAlgorithm,
    certified: Arc<CertifiedKey>,
}

/// Two certificates with the same name and the same kind of key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is for {name}, for which there is another certificate with the same kind of key")]
pub struct DuplicateName {
    /// The name.
    pub name: DnsPattern,
    /// The position of the first certificate for it.
    pub first: usize,
    /// The position of the second.
    pub second: usize,
}

/// The names that two of `certificates` have whose keys are of the same kind; each certificate is
/// given by its names and the kind of its key.
#[must_use]
pub fn duplicate_names(
    certificates: &[(Vec<DnsPattern>, SignatureAlgorithm)],
) -> Vec<DuplicateName> {
    let mut seen: HashMap<&DnsPattern, Vec<(SignatureAlgorithm, usize)>> = HashMap::new();
    let mut duplicates = Vec::new();
    for (second, (names, algorithm)) in certificates.iter().enumerate() {
        for name in names {
            let members = seen.entry(name).or_default();
            match members.iter().find(|(kind, _)| kind == algorithm) {
                Some((_, first)) if *first == second => {}
                Some((_, first)) => {
                    duplicates.push(DuplicateName { name: name.clone(), first: *first, second });
                }
                None => members.push((*algorithm, second)),
            }
        }
    }
    duplicates
}

impl Certificates {
    /// Certificates of which the first is the default, unless `refuses_others`. Where two have a
    /// name and a kind of key in common ([`duplicate_names`]), the first has it.
    #[must_use]
    pub fn new(pairs: &[Arc<Pair>], refuses_others: bool) -> Self {
        let mut this = Self { exact: HashMap::new(), wildcard: HashMap::new(), default: None };
        for (index, pair) in pairs.iter().enumerate() {
            for name in &pair.names {
                let group = match name {
                    DnsPattern::Exact(host) => this.exact.entry(host.clone()),
                    DnsPattern::Wildcard(domain) => this.wildcard.entry(domain.clone()),
                };
                group.or_default().add(Member::new(index, pair));
            }
        }
        if let Some(first) = pairs.first().filter(|_| !refuses_others) {
            let named = first.names.first().and_then(|name| match name {
                DnsPattern::Exact(host) => this.exact.get(host),
                DnsPattern::Wildcard(domain) => this.wildcard.get(domain),
            });
            let named = named.cloned();
            this.default = Some(named.unwrap_or_else(|| Group(vec![Member::new(0, first)])));
        }
        this
    }

    /// Whether there is a certificate to answer a client that asks for `name`, or for none.
    #[must_use]
    pub fn serves(&self, name: Option<&str>) -> bool {
        self.group(name).is_some()
    }

    /// The position of the certificate that answers a client that asks for `name`, or for none,
    /// and knows every kind of signature.
    #[must_use]
    pub fn position(&self, name: Option<&str>) -> Option<usize> {
        self.group(name)?.0.first().map(|member| member.index)
    }

    /// How closely a certificate is for `name`; `None` where only the first one would answer.
    #[must_use]
    pub fn closeness(&self, name: &str) -> Option<Closeness> {
        let is_exact = self.exact.contains_key(name);
        self.named(name).map(|_| if is_exact { Closeness::Exact } else { Closeness::Wildcard })
    }

    fn group(&self, name: Option<&str>) -> Option<&Group> {
        name.and_then(|name| self.named(name)).or(self.default.as_ref())
    }

    fn named(&self, name: &str) -> Option<&Group> {
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.len() > NAME_BYTES_MAX {
            return None;
        }
        let lower;
        let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            lower = name.to_ascii_lowercase();
            &lower
        } else {
            name
        };
        let below = || {
            let (_, domain) = name.split_once('.')?;
            self.wildcard.get(domain)
        };
        self.exact.get(name).or_else(below)
    }
}

impl Member {
    fn new(index: usize, pair: &Pair) -> Self {
        Self { index, algorithm: pair.algorithm(), certified: pair.certified.clone() }
    }
}

impl Group {
    /// Adds `member` unless there is one of its kind, those of ECDSA keys first: their signatures
    /// cost a tenth of RSA's.
    fn add(&mut self, member: Member) {
        if self.0.iter().any(|other| other.algorithm == member.algorithm) {
            return;
        }
        self.0.push(member);
        self.0.sort_by_key(|member| match member.algorithm {
            SignatureAlgorithm::ECDSA => 0,
            SignatureAlgorithm::ED25519 => 1,
            _ => 2,
        });
    }

    fn choose(&self, offered: &[SignatureScheme]) -> Option<&Arc<CertifiedKey>> {
        let can_sign = |member: &&Member| member.certified.key.choose_scheme(offered).is_some();
        // With none that fits, rustls says with the first what is missing.
        let member = self.0.iter().find(can_sign).or(self.0.first())?;
        Some(&member.certified)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.group(hello.server_name())?.choose(hello.signature_schemes()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::self_signed;

    fn pair(names: &[&str]) -> Arc<Pair> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Arc::new(self_signed(&names, SystemTime::now(), &crate::provider()).expect("it is made"))
    }

    #[test]
    fn an_exact_name_wins_over_a_wildcard_and_that_over_the_default() {
        let pairs = [pair(&["localhost"]), pair(&["*.example.com"]), pair(&["shop.example.com"])];
        let certificates = Certificates::new(&pairs, false);
        for (name, position) in [
            (Some("shop.example.com"), 2),
            (Some("SHOP.example.com."), 2),
            (Some("api.example.com"), 1),
            (Some("example.com"), 0),
            (Some("a.b.example.com"), 0),
            (Some("localhost"), 0),
            (Some("example.org"), 0),
            (Some(""), 0),
            (Some("."), 0),
            (None, 0),
        ] {
            assert_eq!(certificates.position(name), Some(position), "{name:?}");
        }
        let strict = Certificates::new(&pairs, true);
        assert!(strict.serves(Some("api.example.com")));
        assert!(!strict.serves(Some("example.org")) && !strict.serves(None));
    }

    #[test]
    fn a_name_may_have_one_certificate_of_each_kind() {
        use SignatureAlgorithm::{ECDSA, RSA};
        let of = |names: &[&str], kind| {
            let names = names.iter().map(|name| DnsPattern::parse(name).expect("a name"));
            (names.collect::<Vec<_>>(), kind)
        };
        let all = [
            of(&["a.test", "b.test"], ECDSA),
            of(&["b.test"], RSA),
            of(&["c.test", "*.test"], ECDSA),
            of(&["b.test"], ECDSA),
        ];
        let name = DnsPattern::Exact("b.test".into());
        assert_eq!(duplicate_names(&all), [DuplicateName { name, first: 0, second: 3 }]);
    }
}
