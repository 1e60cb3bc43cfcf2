//! From a host to the virtual host that claims it.
//!
//! Owns precedence among domains. One hash map per shape, probed once per label boundary, so that a
//! lookup costs what the host is long and not how many domains there are.

use thiserror::Error;

use super::Domain;
use crate::hash::Map;

/// All domains of a listener, each with the number of the virtual host that claims it.
#[derive(Debug, Clone, Default)]
pub struct HostTable {
    exact: Map<Box<str>, u32>,
    suffixes: Family,
    prefixes: Family,
    any: Option<u32>,
}

/// Names of one wildcard shape, and the most labels any of them has: the bound on probes for a
/// host whose sender chose to give it a hundred labels.
#[derive(Debug, Clone, Default)]
struct Family {
    names: Map<Box<str>, u32>,
    labels_max: usize,
}

/// Two virtual hosts claim the same domain; the earlier and the later number are given.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("domain {domain} is claimed twice")]
pub struct DuplicateDomain {
    /// What both claim.
    pub domain: Domain,
    /// The number it was first given with.
    pub first: u32,
    /// The number it was given with again.
    pub second: u32,
}

impl HostTable {
    /// Builds the table from domains and the number each leads to.
    ///
    /// Linear in the number of domains.
    ///
    /// # Errors
    ///
    /// [`DuplicateDomain`] for the first domain given twice, even with the same number.
    pub fn new(
        domains: impl IntoIterator<Item = (Domain, u32)>,
    ) -> Result<HostTable, DuplicateDomain> {
        let mut table = HostTable::default();
        for (domain, second) in domains {
            if let Some(first) = table.insert(domain.clone(), second) {
                return Err(DuplicateDomain { domain, first, second });
            }
        }
        Ok(table)
    }

    /// The number of the virtual host that claims `host`, which must be normalised as by
    /// [`normalise_host`](crate::normalise_host).
    ///
    /// An exact domain wins over the longest `*.suffix`, that over the longest `prefix.*`, and that
    /// over `*`. A wildcard stands for one label or more, never for none: `*.example.com` does not
    /// match `example.com`.
    ///
    /// Does not allocate. One probe for the exact domain, then at most one for each label of the
    /// longest wildcard.
    pub fn lookup(&self, host: &str) -> Option<u32> {
        if let Some(&found) = self.exact.get(host) {
            return Some(found);
        }
        self.longest_suffix(host).or_else(|| self.longest_prefix(host)).or(self.any)
    }

    fn insert(&mut self, domain: Domain, number: u32) -> Option<u32> {
        match domain {
            Domain::Exact(name) => insert_new(&mut self.exact, name, number),
            Domain::Suffix(name) => self.suffixes.insert(name, number),
            Domain::Prefix(name) => self.prefixes.insert(name, number),
            Domain::Any => {
                let before = self.any;
                self.any.get_or_insert(number);
                before
            }
        }
    }

    /// Probes from the shortest suffix on and keeps the last hit, because the bound on labels is
    /// counted from that end.
    fn longest_suffix(&self, host: &str) -> Option<u32> {
        memchr::memrchr_iter(b'.', host.as_bytes())
            .take(self.suffixes.labels_max)
            .filter_map(|dot| self.suffixes.names.get(&host[dot + 1..]))
            .last()
            .copied()
    }

    fn longest_prefix(&self, host: &str) -> Option<u32> {
        memchr::memchr_iter(b'.', host.as_bytes())
            .take(self.prefixes.labels_max)
            .filter_map(|dot| self.prefixes.names.get(&host[..dot]))
            .last()
            .copied()
    }
}

impl Family {
    fn insert(&mut self, name: Box<str>, number: u32) -> Option<u32> {
        self.labels_max = self.labels_max.max(name.split('.').count());
        insert_new(&mut self.names, name, number)
    }
}

/// Inserts unless the name is there, and then returns what it leads to.
fn insert_new(names: &mut Map<Box<str>, u32>, name: Box<str>, number: u32) -> Option<u32> {
    if let Some(&first) = names.get(&name) {
        return Some(first);
    }
    names.insert(name, number);
    None
}
