//! The few operations of `bpf(2)` on maps and links that already exist.
//!
//! Written here instead of taken from `aya`, which opens pins for reading and writing only: a
//! reader that may not write needs `BPF_F_RDONLY`.

use std::ffi::{CString, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use zerocopy::{FromBytes, Immutable, IntoBytes};

const MAP_LOOKUP_ELEM: libc::c_long = 1;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const MAP_DELETE_ELEM: libc::c_long = 3;
const MAP_GET_NEXT_KEY: libc::c_long = 4;
const MAP_LOOKUP_BATCH: libc::c_long = 24;
const MAP_UPDATE_BATCH: libc::c_long = 26;
const MAP_DELETE_BATCH: libc::c_long = 27;
#[cfg(feature = "loader")]
const OBJ_PIN: libc::c_long = 6;
const OBJ_GET: libc::c_long = 7;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;

const RDONLY: u32 = 1 << 3;

/// What a map is, as far as this crate asks.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct MapInfo {
    pub(super) kind: u32,
    pub(super) id: u32,
    pub(super) key_bytes: u32,
    pub(super) value_bytes: u32,
    pub(super) entries_max: u32,
}

/// What a link to an interface is.
#[cfg(feature = "loader")]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct LinkInfo {
    kind: u32,
    id: u32,
    pub(super) program: u32,
    padding: u32,
    pub(super) ifindex: u32,
    tail: u32,
}

#[repr(C)]
struct Element {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    element_flags: u64,
    flags: u64,
}

#[repr(C)]
struct Object {
    path: u64,
    fd: u32,
    flags: u32,
}

#[repr(C)]
struct Info {
    fd: u32,
    bytes: u32,
    info: u64,
}

/// Opens the object pinned at `path`.
pub(super) fn open(path: &Path, read_only: bool) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let flags = if read_only { RDONLY } else { 0 };
    let mut attributes = Object { path: path.as_ptr() as u64, fd: 0, flags };
    let fd = call(OBJ_GET, &mut attributes)?;
    // SAFETY: the kernel has just returned this descriptor, and nobody else has it.
    #[expect(unsafe_code, reason = "bpf(2) returns descriptors as numbers")]
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Pins the object behind `fd` at `path`.
#[cfg(feature = "loader")]
pub(super) fn pin(fd: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = Object { path: path.as_ptr() as u64, fd: raw(fd), flags: 0 };
    call(OBJ_PIN, &mut attributes).map(drop)
}

pub(super) fn info(map: BorrowedFd<'_>) -> io::Result<MapInfo> {
    described(map)
}

#[cfg(feature = "loader")]
pub(super) fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    described(link)
}

/// What the kernel says of the object behind `fd`, as much as `T` has room for.
fn described<T: Default + FromBytes + IntoBytes>(fd: BorrowedFd<'_>) -> io::Result<T> {
    let mut info = T::default();
    let mut attributes = Info {
        fd: raw(fd),
        bytes: size_of::<T>() as u32,
        info: std::ptr::from_mut(&mut info) as u64,
    };
    call(OBJ_GET_INFO_BY_FD, &mut attributes)?;
    Ok(info)
}

/// Reads the value of `key`. The caller has checked that the map's keys and values have the sizes
/// of `key` and `value`.
pub(super) fn lookup(map: BorrowedFd<'_>, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
    let mut attributes = element(map, key, value.as_mut_ptr() as u64);
    found(call(MAP_LOOKUP_ELEM, &mut attributes))
}

pub(super) fn update(map: BorrowedFd<'_>, key: &[u8], value: &[u8]) -> io::Result<()> {
    let mut attributes = element(map, key, value.as_ptr() as u64);
    call(MAP_UPDATE_ELEM, &mut attributes).map(drop)
}

/// Sets the values of `count` keys, which stand behind each other as their values do. Stops at the
/// first that cannot be set.
pub(super) fn update_batch(
    map: BorrowedFd<'_>,
    keys: &[u8],
    values: &[u8],
    count: usize,
) -> io::Result<()> {
    let mut attributes = batch(map, keys, count)?;
    attributes.values = values.as_ptr() as u64;
    call(MAP_UPDATE_BATCH, &mut attributes).map(drop)
}

/// Where a walk over a map in batches has come to. The kernel wants room for four bytes or a key.
#[derive(Debug)]
pub(super) struct Cursor {
    at: Vec<u8>,
    is_begun: bool,
}

impl Cursor {
    pub(super) fn begin(key_bytes: usize) -> Self {
        Self { at: vec![0; key_bytes.max(4)], is_begun: false }
    }
}

/// Reads up to `count` entries from where `cursor` is; returns how many, and whether there may be more.
pub(super) fn lookup_batch(
    map: BorrowedFd<'_>,
    cursor: &mut Cursor,
    keys: &mut [u8],
    values: &mut [u8],
    count: usize,
) -> io::Result<(usize, bool)> {
    let mut attributes = batch(map, keys, count)?;
    attributes.values = values.as_mut_ptr() as u64;
    attributes.out_batch = cursor.at.as_mut_ptr() as u64;
    if cursor.is_begun {
        attributes.in_batch = attributes.out_batch;
    }
    let more = found(call(MAP_LOOKUP_BATCH, &mut attributes))?;
    cursor.is_begun = true;
    Ok((attributes.count as usize, more))
}

/// Removes `count` keys. Stops at the first that cannot be removed, one that is not there among
/// them; returns how many were.
pub(super) fn delete_batch(map: BorrowedFd<'_>, keys: &[u8], count: usize) -> io::Result<usize> {
    let mut attributes = batch(map, keys, count)?;
    match call(MAP_DELETE_BATCH, &mut attributes) {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _ => Ok(attributes.count as usize),
    }
}

fn batch(map: BorrowedFd<'_>, keys: &[u8], count: usize) -> io::Result<Batch> {
    let count = u32::try_from(count).map_err(|_| io::ErrorKind::InvalidInput)?;
    Ok(Batch { keys: keys.as_ptr() as u64, count, map_fd: raw(map), ..Batch::default() })
}

pub(super) fn delete(map: BorrowedFd<'_>, key: &[u8]) -> io::Result<bool> {
    let mut attributes = element(map, key, 0);
    found(call(MAP_DELETE_ELEM, &mut attributes))
}

/// Writes the key after `key` to `next`; the first one where there is no `key`.
pub(super) fn next_key(
    map: BorrowedFd<'_>,
    key: Option<&[u8]>,
    next: &mut [u8],
) -> io::Result<bool> {
    let mut attributes = element(map, key.unwrap_or_default(), next.as_mut_ptr() as u64);
    if key.is_none() {
        attributes.key = 0;
    }
    found(call(MAP_GET_NEXT_KEY, &mut attributes))
}

fn element(map: BorrowedFd<'_>, key: &[u8], value: u64) -> Element {
    Element { map_fd: raw(map), padding: 0, key: key.as_ptr() as u64, value, flags: 0 }
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    // Descriptors are not negative.
    fd.as_raw_fd() as u32
}

fn found(result: io::Result<i32>) -> io::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

fn call<T>(command: libc::c_long, attributes: &mut T) -> io::Result<i32> {
    let pointer = std::ptr::from_mut(attributes).cast::<c_void>();
    // SAFETY: `attributes` is a structure of this module for `command`, its size is passed along,
    // and the buffers it points to outlive the call and have the sizes that the map was checked to
    // have.
    #[expect(unsafe_code, reason = "there is no safe interface to bpf(2)")]
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, pointer, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}
