//! One pinned map, with the types of its keys and values.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::OpenError;
use super::sys;

/// Entries that are read with one system call.
const BATCH: usize = 4_096;

/// How a map is opened: what its file's mode must grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Lookups only.
    Read,
    /// Lookups, updates and deletions.
    Write,
}

/// A pinned map from `K` to `V`. Every operation is a system call of 0.2 to 0.5 us.
#[derive(Debug)]
pub struct Map<K, V> {
    fd: OwnedFd,
    entries_max: u32,
    id: u32,
    types: PhantomData<fn(K) -> V>,
}

/// A type that a map can hold keys of.
pub trait Key: FromBytes + IntoBytes + Immutable {}
impl<T: FromBytes + IntoBytes + Immutable> Key for T {}

/// A type that a map can hold values of.
pub trait Value: FromBytes + IntoBytes {}
impl<T: FromBytes + IntoBytes> Value for T {}

impl<K: Key, V: Value> Map<K, V> {
    /// Opens the map pinned at `path`.
    ///
    /// # Errors
    /// If there is none, it may not be opened, or its keys or values are of other sizes.
    pub fn open(path: &Path, access: Access) -> Result<Self, OpenError> {
        let fd =
            sys::open(path, access == Access::Read).map_err(|error| OpenError::of(path, error))?;
        let info = sys::info(fd.as_fd()).map_err(|error| OpenError::of(path, error))?;
        let (key_bytes, value_bytes) = (size_of::<K>() as u32, size_of::<V>() as u32);
        if (info.key_bytes, info.value_bytes) != (key_bytes, value_bytes) {
            return Err(OpenError::Layout { path: path.to_path_buf() });
        }
        Ok(Self { fd, entries_max: info.entries_max, id: info.id, types: PhantomData })
    }

    /// How many entries it can hold.
    pub fn entries_max(&self) -> u32 {
        self.entries_max
    }

    /// The kernel's number for it: another one under the same path is another map.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn lookup(&self, key: &K) -> io::Result<Option<V>> {
        let mut value = V::new_zeroed();
        Ok(sys::lookup(self.fd.as_fd(), key.as_bytes(), value.as_mut_bytes())?.then_some(value))
    }

    /// Sets the value of `key`, whether it has one or not.
    ///
    /// # Errors
    /// `PermissionDenied` if opened for reading; what the kernel says, `E2BIG` (full) among it.
    pub fn insert(&self, key: &K, mut value: V) -> io::Result<()> {
        sys::update(self.fd.as_fd(), key.as_bytes(), value.as_mut_bytes())
    }

    /// Sets the values of many keys, at a third of the cost of [`insert`](Map::insert) each. On an
    /// error some of them may be set.
    ///
    /// # Errors
    /// As [`Map::insert`], and `InvalidInput` if there are not as many values as keys.
    pub fn insert_all(&self, keys: &[K], values: &[V]) -> io::Result<()>
    where
        V: Immutable,
    {
        if keys.len() != values.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if keys.is_empty() {
            return Ok(());
        }
        sys::update_batch(self.fd.as_fd(), keys.as_bytes(), values.as_bytes(), keys.len())
    }

    /// Removes many keys; those that are not there are passed over.
    ///
    /// # Errors
    /// As [`Map::insert`].
    pub fn remove_all(&self, keys: &[K]) -> io::Result<()> {
        let mut left = keys;
        while !left.is_empty() {
            let done = sys::delete_batch(self.fd.as_fd(), left.as_bytes(), left.len())?;
            left = left.get(done..).unwrap_or_default();
            if let [first, rest @ ..] = left {
                self.remove(first)?;
                left = rest;
            }
        }
        Ok(())
    }

    /// Removes `key`; returns whether it was there.
    ///
    /// # Errors
    /// As [`Map::insert`].
    pub fn remove(&self, key: &K) -> io::Result<bool> {
        sys::delete(self.fd.as_fd(), key.as_bytes())
    }

    /// Every key. Entries that come or go meanwhile may be missed; the result is bounded by the
    /// size of the map.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn keys(&self) -> io::Result<Vec<K>> {
        let mut keys: Vec<K> = Vec::new();
        // A key that was removed meanwhile makes the walk begin anew, hence the bound.
        while keys.len() < self.entries_max as usize {
            let mut next = K::new_zeroed();
            let last = keys.last().map(IntoBytes::as_bytes);
            if !sys::next_key(self.fd.as_fd(), last, next.as_mut_bytes())? {
                break;
            }
            keys.push(next);
        }
        Ok(keys)
    }

    /// How many entries there are; one system call for some thousands.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn count(&self) -> io::Result<usize> {
        self.count_where(|_| true)
    }

    /// How many values are as `counts` asks. Entries that come or go meanwhile may be missed.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn count_where(&self, counts: impl Fn(&V) -> bool) -> io::Result<usize> {
        self.sum(|value| usize::from(counts(value)))
    }

    /// The sum of what `of` says of each value. Entries that come or go meanwhile may be missed.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn sum(&self, of: impl Fn(&V) -> usize) -> io::Result<usize> {
        let (key_bytes, value_bytes) = (size_of::<K>(), size_of::<V>());
        let mut cursor = sys::Cursor::begin(key_bytes);
        let (mut keys, mut values) = (vec![0; BATCH * key_bytes], vec![0; BATCH * value_bytes]);
        let (mut sum, mut seen) = (0, 0);
        // Entries that are made meanwhile could keep a walk going, hence the bound.
        while seen <= self.entries_max as usize {
            let fd = self.fd.as_fd();
            let (read, more) = sys::lookup_batch(fd, &mut cursor, &mut keys, &mut values, BATCH)?;
            let values = values.chunks_exact(value_bytes).take(read);
            let values = values.filter_map(|bytes| V::read_from_bytes(bytes).ok());
            sum += values.map(|value| of(&value)).sum::<usize>();
            seen += read;
            if !more {
                break;
            }
        }
        Ok(sum)
    }

    /// Every key that still has a value, with it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn entries(&self) -> io::Result<Vec<(K, V)>> {
        let mut entries = Vec::new();
        for key in self.keys()? {
            if let Some(value) = self.lookup(&key)? {
                entries.push((key, value));
            }
        }
        Ok(entries)
    }
}

/// A pinned array with a value for each CPU.
#[derive(Debug)]
pub struct PerCpuArray<V> {
    fd: OwnedFd,
    entries: u32,
    cpus: usize,
    values: PhantomData<fn() -> V>,
}

impl<V: Value> PerCpuArray<V> {
    /// Opens the array pinned at `path` for reading.
    ///
    /// # Errors
    /// As [`Map::open`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let fail = |error| OpenError::of(path, error);
        let fd = sys::open(path, true).map_err(fail)?;
        let info = sys::info(fd.as_fd()).map_err(fail)?;
        // The kernel rounds each CPU's value up to 8 bytes; a size that needs none is all we use.
        let value_bytes = size_of::<V>();
        if info.key_bytes != 4
            || info.value_bytes as usize != value_bytes
            || !value_bytes.is_multiple_of(8)
        {
            return Err(OpenError::Layout { path: path.to_path_buf() });
        }
        let cpus = possible_cpus().map_err(fail)?;
        Ok(Self { fd, entries: info.entries_max, cpus, values: PhantomData })
    }

    /// How many indices there are.
    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// The values at `index`, one for each CPU.
    ///
    /// # Errors
    /// What the kernel says, also for an index out of range.
    pub fn lookup(&self, index: u32) -> io::Result<Vec<V>> {
        let mut bytes = vec![0; size_of::<V>() * self.cpus];
        if !sys::lookup(self.fd.as_fd(), index.as_bytes(), &mut bytes)? {
            return Err(io::ErrorKind::NotFound.into());
        }
        let values = bytes.chunks_exact(size_of::<V>());
        Ok(values.filter_map(|bytes| V::read_from_bytes(bytes).ok()).collect())
    }
}

/// A pinned map from a number to a value for each CPU.
#[derive(Debug)]
pub struct PerCpuHash<V> {
    map: Map<u32, V>,
    cpus: usize,
}

impl<V: Value> PerCpuHash<V> {
    /// Opens the map pinned at `path`.
    ///
    /// # Errors
    /// As [`Map::open`].
    pub fn open(path: &Path, access: Access) -> Result<Self, OpenError> {
        let map = Map::open(path, access)?;
        if !size_of::<V>().is_multiple_of(8) {
            return Err(OpenError::Layout { path: path.to_path_buf() });
        }
        let cpus = possible_cpus().map_err(|error| OpenError::of(path, error))?;
        Ok(Self { map, cpus })
    }

    /// The values of `key`, one for each CPU; none where it is not there.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn lookup(&self, key: u32) -> io::Result<Vec<V>> {
        let mut bytes = vec![0; size_of::<V>() * self.cpus];
        if !sys::lookup(self.map.fd.as_fd(), key.as_bytes(), &mut bytes)? {
            return Ok(Vec::new());
        }
        let values = bytes.chunks_exact(size_of::<V>());
        Ok(values.filter_map(|bytes| V::read_from_bytes(bytes).ok()).collect())
    }

    /// How many entries it can hold.
    pub fn entries_max(&self) -> u32 {
        self.map.entries_max()
    }

    /// Makes an entry of zeros for `key`, unless it has one.
    ///
    /// # Errors
    /// As [`Map::insert`].
    pub fn begin(&self, key: u32) -> io::Result<()> {
        if !self.lookup(key)?.is_empty() {
            return Ok(());
        }
        let zeros = vec![0; size_of::<V>() * self.cpus];
        sys::update(self.map.fd.as_fd(), key.as_bytes(), &zeros)
    }

    /// Removes `key`; returns whether it was there.
    ///
    /// # Errors
    /// As [`Map::insert`].
    pub fn remove(&self, key: u32) -> io::Result<bool> {
        self.map.remove(&key)
    }

    /// Every key.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn keys(&self) -> io::Result<Vec<u32>> {
        // Another value than the map's is never read through this.
        self.map.keys()
    }
}

/// The number of CPUs that there may ever be, which is what per-CPU values are made for.
fn possible_cpus() -> io::Result<usize> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible")?;
    let last = text.trim().rsplit([',', '-']).next().and_then(|last| last.parse::<usize>().ok());
    last.map(|last| last + 1).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
