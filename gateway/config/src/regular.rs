//! Reading files that somebody else chose the name of: only regular ones, and no more than so much.
//!
//! A named pipe without a writer blocks whoever opens it, a device has no end, and neither is a
//! configuration. Links are followed; what they lead to must be a regular file.

use std::fmt;
use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Which file on which filesystem: the same after a write in place, another one after a rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// The identity of what `metadata` describes.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// Why a file was not read.
#[derive(Debug)]
pub enum Unreadable {
    /// It is no regular file but this, as a message names it.
    NotRegular(&'static str),
    /// It holds more than this many bytes.
    TooLarge(u64),
    /// The system says no.
    Io(io::Error),
}

impl fmt::Display for Unreadable {
    /// What is wrong, as the predicate of a sentence about the file.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRegular(kind) => write!(out, "is {kind}"),
            Self::TooLarge(most) => write!(out, "is over {} MiB", most >> 20),
            Self::Io(error) => match error.kind() {
                ErrorKind::NotFound => out.write_str("does not exist"),
                ErrorKind::PermissionDenied => out.write_str("may not be read by this user"),
                _ => write!(out, "cannot be read ({error})"),
            },
        }
    }
}

impl std::error::Error for Unreadable {}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Unreadable {
    /// What is wrong, as a reason in brackets: `it is a named pipe`.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Io(error) => error.to_string(),
            other => format!("it {other}"),
        }
    }

    /// How to mend it.
    #[must_use]
    pub fn fix(&self) -> &'static str {
        match self {
            Self::NotRegular(_) => "name a file",
            Self::TooLarge(_) => "split it",
            Self::Io(error) => match error.kind() {
                ErrorKind::NotFound => "check the name",
                ErrorKind::PermissionDenied => "give the user that runs this read permission",
                _ => "check the file and its folder",
            },
        }
    }
}

/// Reads the regular file at `path`, or the one that it links to, whole.
///
/// # Errors
/// If it is no regular file, holds more than `bytes_max` bytes, or cannot be read. What is no regular
/// file is not opened, so that this never waits for another process.
pub fn read(path: &Path, bytes_max: u64) -> Result<(Vec<u8>, Identity), Unreadable> {
    refuse_others(std::fs::metadata(path)?.file_type())?;
    // Another file may have taken its place since: without O_NONBLOCK a pipe would be waited for.
    let without_waiting = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file: File = OpenOptions::new().read(true).custom_flags(without_waiting).open(path)?;
    let metadata = file.metadata()?;
    refuse_others(metadata.file_type())?;
    let mut bytes = Vec::with_capacity(metadata.len().min(bytes_max) as usize + 1);
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(Unreadable::TooLarge(bytes_max));
    }
    Ok((bytes, Identity::of(&metadata)))
}

fn refuse_others(kind: FileType) -> Result<(), Unreadable> {
    let name = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_block_device() || kind.is_char_device() {
        "a device"
    } else {
        "no regular file"
    };
    Err(Unreadable::NotRegular(name))
}
