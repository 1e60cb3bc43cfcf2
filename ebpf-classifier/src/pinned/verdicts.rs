//! Verdicts: on sources, which are looked up by their key, and on any other prefix.
//!
//! Both maps refuse what they have no room for: a verdict that was given holds until it expires. The
//! program looks only where a mark says that there may be something: one for verdicts on prefixes, and
//! one of some thousands for those on sources, by the source's hash. Who writes a verdict sets its marks
//! before and after; only the loader clears them, and looks again then. A mark is a word of its own, so
//! that nobody who sets one writes over another.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use classifier_abi::{
    Address, Meta, Prefix, SenderHash, VERDICT_KINDS, VERDICT_SLOTS, Verdict, map as name,
};

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
        self.mark(kind, prefix)?;
        match kind {
            ON_SOURCES => self.sources.insert(&prefix.address(), verdict),
            _ => self.prefixes.insert(prefix, verdict),
        }?;
        self.mark(kind, prefix)
    }

    fn mark(&self, kind: u32, prefix: &Prefix) -> io::Result<()> {
        if kind == ON_SOURCES {
            let mark = SenderHash::of(&prefix.address(), self.meta()?.seed).verdict_mark();
            self.marks.insert(&mark, 1)?;
        }
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
        if self.is_marked(ON_SOURCES)? {
            remove_expired(&self.sources, now_ns)?;
            self.clear_source_marks()?;
            self.clear_mark(ON_SOURCES, || self.sources.keys().map(|keys| keys.is_empty()))?;
        }
        if self.is_marked(ON_PREFIXES)? {
            remove_expired(&self.prefixes, now_ns)?;
            self.clear_mark(ON_PREFIXES, || self.prefixes.keys().map(|keys| keys.is_empty()))?;
        }
        Ok(())
    }

    fn is_marked(&self, mark: u32) -> io::Result<bool> {
        Ok(self.marks.lookup(&mark)?.unwrap_or_default() != 0)
    }

    /// Clears a mark if `is_empty`, and sets it again if that is not so any more: a verdict that is
    /// written in between is under a mark that was set before or after.
    fn clear_mark(&self, mark: u32, is_empty: impl Fn() -> io::Result<bool>) -> io::Result<()> {
        if is_empty()? {
            self.marks.insert(&mark, 0)?;
            if !is_empty()? {
                self.marks.insert(&mark, 1)?;
            }
        }
        Ok(())
    }

    /// Clears the marks of sources without a verdict. As [`clear_mark`](Self::clear_mark), all at once.
    fn clear_source_marks(&self) -> io::Result<()> {
        let seed = self.meta()?.seed;
        let in_use = || -> io::Result<HashSet<u32>> {
            let keys = self.sources.keys()?;
            Ok(keys.iter().map(|key| SenderHash::of(key, seed).verdict_mark()).collect())
        };
        let before = in_use()?;
        for mark in
            (VERDICT_KINDS..VERDICT_KINDS + VERDICT_SLOTS).filter(|one| !before.contains(one))
        {
            if self.is_marked(mark)? {
                self.marks.insert(&mark, 0)?;
            }
        }
        for mark in in_use()?.difference(&before) {
            self.marks.insert(mark, 1)?;
        }
        Ok(())
    }

    fn kind(&self, prefix: &Prefix) -> io::Result<u32> {
        let source = if prefix.address().is_v4() { 128 } else { self.ipv6_prefix()? };
        Ok(if prefix.bits == source { ON_SOURCES } else { ON_PREFIXES })
    }

    fn ipv6_prefix(&self) -> io::Result<u32> {
        self.meta().map(|meta| meta.ipv6_prefix)
    }

    fn meta(&self) -> io::Result<Meta> {
        self.meta.lookup(&0)?.ok_or_else(|| io::ErrorKind::NotFound.into())
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

fn remove_expired<K: super::Key>(map: &Map<K, Verdict>, now_ns: u64) -> io::Result<()> {
    for (key, verdict) in map.entries()? {
        // One that is renewed meanwhile would be lost: it is looked at again.
        if verdict.expires_ns <= now_ns
            && map.lookup(&key)?.is_some_and(|again| again.expires_ns <= now_ns)
        {
            map.remove(&key)?;
        }
    }
    Ok(())
}
