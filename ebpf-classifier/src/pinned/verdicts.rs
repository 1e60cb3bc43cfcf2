//! Verdicts: on sources, which are looked up by their key, and on any other prefix.
//!
//! Both maps refuse what they have no room for: a verdict that was given holds until it expires. The
//! program looks only where a mark says that there may be something. Who writes a verdict sets the mark
//! before and after; only the loader clears it, and looks again then.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use classifier_abi::{Address, Meta, Prefix, Verdict, map as name};

use super::OpenError;
use super::map::{Access, Map};

/// The verdicts of one classifier.
#[derive(Debug)]
pub struct Verdicts {
    sources: Map<Address, Verdict>,
    prefixes: Map<Prefix, Verdict>,
    marks: Map<u32, u64>,
    meta: Map<u32, Meta>,
}

/// Where a verdict is kept, by the number of its mark.
const ON_SOURCES: u32 = 0;
const ON_PREFIXES: u32 = 1;

impl Verdicts {
    /// Opens the maps pinned in the folder `path`.
    ///
    /// # Errors
    /// If one cannot be opened.
    pub fn open(path: &Path, access: Access) -> Result<Self, OpenError> {
        Ok(Self {
            sources: Map::open(&path.join(name::VERDICTS), access)?,
            prefixes: Map::open(&path.join(name::VERDICT_PREFIXES), access)?,
            marks: Map::open(&path.join(name::VERDICT_MARKS), access)?,
            meta: Map::open(&path.join(name::META), Access::Read)?,
        })
    }

    /// The prefix that stands for `address` where it is a source of packets.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn source(&self, address: IpAddr) -> io::Result<Prefix> {
        let bits = self.ipv6_prefix()?;
        Ok(source_prefix(address, bits))
    }

    /// Sets a verdict.
    ///
    /// # Errors
    /// What the kernel says; `E2BIG` or `ENOSPC` where there is no room.
    pub fn insert(&self, prefix: &Prefix, verdict: Verdict) -> io::Result<()> {
        let kind = self.kind(prefix)?;
        self.marks.insert(&kind, 1)?;
        match kind {
            ON_SOURCES => self.sources.insert(&prefix.address(), verdict),
            _ => self.prefixes.insert(prefix, verdict),
        }?;
        self.marks.insert(&kind, 1)
    }

    /// Removes a verdict; returns whether it was there.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove(&self, prefix: &Prefix) -> io::Result<bool> {
        match self.kind(prefix)? {
            ON_SOURCES => self.sources.remove(&prefix.address()),
            _ => self.prefixes.remove(prefix),
        }
    }

    /// The verdict on exactly this prefix.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn lookup(&self, prefix: &Prefix) -> io::Result<Option<Verdict>> {
        if self.kind(prefix)? == ON_SOURCES {
            return self.sources.lookup(&prefix.address());
        }
        // A trie finds the longest prefix that holds what is asked for.
        let exact = self.prefixes.keys()?.contains(prefix);
        if exact { self.prefixes.lookup(prefix) } else { Ok(None) }
    }

    /// Every verdict.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn entries(&self) -> io::Result<Vec<(Prefix, Verdict)>> {
        let bits = self.ipv6_prefix()?;
        let sources = self.sources.entries()?.into_iter();
        let sources = sources.map(|(address, verdict)| {
            let bits = if address.is_v4() { 128 } else { bits };
            (Prefix::new(address, bits), verdict)
        });
        Ok(sources.chain(self.prefixes.entries()?).collect())
    }

    /// How many there are, and how many there can be: on sources, on other prefixes.
    #[must_use]
    pub fn fill(&self) -> [(io::Result<usize>, u32); 2] {
        [
            (self.sources.count(), self.sources.entries_max()),
            (self.prefixes.count(), self.prefixes.entries_max()),
        ]
    }

    /// Removes what has expired, and clears the marks where nothing is left.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn sweep(&self, now_ns: u64) -> io::Result<()> {
        sweep(&self.sources, &self.marks, ON_SOURCES, now_ns)?;
        sweep(&self.prefixes, &self.marks, ON_PREFIXES, now_ns)
    }

    fn kind(&self, prefix: &Prefix) -> io::Result<u32> {
        let source = if prefix.address().is_v4() { 128 } else { self.ipv6_prefix()? };
        Ok(if prefix.bits == source { ON_SOURCES } else { ON_PREFIXES })
    }

    fn ipv6_prefix(&self) -> io::Result<u32> {
        let meta = self.meta.lookup(&0)?;
        meta.map(|meta| meta.ipv6_prefix).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// The prefix of `bits` bits of an IPv6 address; an IPv4 address is whole.
#[must_use]
pub fn source_prefix(address: IpAddr, bits: u32) -> Prefix {
    let address = Address::from(address.to_canonical());
    if address.is_v4() {
        return Prefix::new(address, 128);
    }
    Prefix::new(address.masked(&Address::mask(bits)), bits)
}

fn sweep<K: super::Key>(
    map: &Map<K, Verdict>,
    marks: &Map<u32, u64>,
    kind: u32,
    now_ns: u64,
) -> io::Result<()> {
    if marks.lookup(&kind)?.unwrap_or_default() == 0 {
        return Ok(());
    }
    let mut left = false;
    for (key, verdict) in map.entries()? {
        // One that is renewed meanwhile would be lost: it is looked at again.
        let expired = verdict.expires_ns <= now_ns
            && map.lookup(&key)?.is_some_and(|again| again.expires_ns <= now_ns);
        if expired {
            map.remove(&key)?;
        }
        left |= !expired;
    }
    if !left {
        marks.insert(&kind, 0)?;
        if !map.keys()?.is_empty() {
            marks.insert(&kind, 1)?;
        }
    }
    Ok(())
}
