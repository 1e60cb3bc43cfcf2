//! Why the program cannot be held in the kernel, each in one line that says what to do.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use super::holder::Foreigner;
use super::link::Attachment;
use crate::apply::ApplyError;
use crate::pinned::OpenError;

/// The oldest kernel whose helpers and links the program can use.
pub(super) const KERNEL_MIN: (u8, u8) = (5, 15);

/// Why the program cannot be held in the kernel.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Nothing was embedded when this binary was built.
    #[error("this binary was built without its program: build it with `make classifier`")]
    NoProgram,
    /// An interface of the configuration is not there.
    #[error("interface {name} does not exist: `ip link` shows those that do")]
    NoInterface {
        /// Its name.
        name: Box<str>,
    },
    /// Frames of an interface have no Ethernet header.
    #[error(
        "interface {name} has no Ethernet headers, which the program reads: name the interface that the \
         tunnel's packets come in by instead"
    )]
    NoEthernet {
        /// Its name.
        name: Box<str>,
    },
    /// Interfaces cannot be looked at.
    #[error("interface {name} cannot be looked up: {error}")]
    Interface {
        /// Its name.
        name: Box<str>,
        /// What the kernel says.
        error: io::Error,
    },
    /// The folder of pins is elsewhere.
    #[error("{} is not on a BPF file system: `mount -t bpf bpf /sys/fs/bpf`", .path.display())]
    NotBpf {
        /// The folder.
        path: PathBuf,
    },
    /// The folder of pins, or something in it, cannot be used.
    #[error("{}: {error}", .path.display())]
    Folder {
        /// The path.
        path: PathBuf,
        /// What the kernel says.
        error: io::Error,
    },
    /// Another process is at work.
    #[error("another sallyport-classifier is at work on {}", .path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// What is pinned was made by another version.
    #[error("{error}: end that version without --keep, or remove what is in {}", .path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// What was found.
        error: OpenError,
    },
    /// What is pinned has another size.
    #[error(
        "the pinned map `{map}` was made for limits.{map} = {found}, now it is {wanted}: set it back, \
         or end the classifier without --keep and remove what is in {}",
        .path.display()
    )]
    Size {
        /// The folder.
        path: PathBuf,
        /// The map and its limit.
        map: &'static str,
        /// The limit it was made for.
        found: u32,
        /// The limit that holds now.
        wanted: u32,
    },
    /// What is pinned was made for another prefix of IPv6 sources.
    #[error(
        "the pinned maps were made for ipv6_prefix = {found}, now it is {wanted}: set it back, or end \
         the classifier without --keep and remove what is in {}",
        .path.display()
    )]
    Prefix {
        /// The folder.
        path: PathBuf,
        /// The prefix they were made for.
        found: u32,
        /// The prefix that holds now.
        wanted: u32,
    },
    /// The kernel lacks what is needed.
    #[error(
        "Linux {found} is too old: the classifier needs {}.{} or newer, with XDP and BTF",
        KERNEL_MIN.0, KERNEL_MIN.1
    )]
    TooOld {
        /// Its version.
        found: String,
    },
    /// The user may not.
    #[error(
        "the kernel does not let this user {what}: run as root, or with CAP_BPF, CAP_NET_ADMIN and \
         CAP_PERFMON"
    )]
    Denied {
        /// What was tried.
        what: String,
    },
    /// The program was not taken.
    #[error("the kernel does not take the program: {reason}")]
    Load {
        /// What it says.
        reason: String,
    },
    /// The program cannot be attached.
    #[error("interface {interface} does not take the program in {mode} mode: {reason}")]
    Attach {
        /// The interface.
        interface: Box<str>,
        /// The mode.
        mode: Attachment,
        /// What the kernel says.
        reason: String,
    },
    /// Another program is in its place.
    #[error("{0}")]
    Taken(Foreigner),
    /// A map cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A configuration cannot be put in force.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl KernelError {
    pub(super) fn folder(path: &Path, error: io::Error) -> Self {
        Self::Folder { path: path.to_path_buf(), error }
    }
}

/// What the kernel said, found among the causes of an error.
pub(super) fn os_error(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(code) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(code);
        }
        cause = error.source();
    }
    None
}

/// Whether the user lacked a capability.
pub(super) fn is_denied(error: &(dyn Error + 'static)) -> bool {
    matches!(os_error(error), Some(libc::EPERM | libc::EACCES))
}

/// An error and its causes in one line.
pub(super) fn in_one_line(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    // A verifier's log has thousands of lines; the first says what was asked.
    text.lines().next().unwrap_or_default().to_owned()
}
