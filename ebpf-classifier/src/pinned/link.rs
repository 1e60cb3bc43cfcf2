//! One pinned link: what holds a program on an interface.
//!
//! Held open beside its pin, so that the program stays where the pin is removed, and so that the kernel
//! can be asked at any time where it still is.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::sys;

/// A link of a program to an interface.
#[derive(Debug)]
pub struct Link(OwnedFd);

/// What a link is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// The kernel's number for the program behind it.
    pub program: u32,
    /// The interface; `None` once the interface is gone or the link was detached.
    pub ifindex: Option<u32>,
}

impl Link {
    /// Opens the link pinned at `path`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(path: &Path) -> io::Result<Self> {
        sys::open(path, false).map(Self)
    }

    /// Pins it at `path`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn pin(&self, path: &Path) -> io::Result<()> {
        sys::pin(self.0.as_fd(), path)
    }

    /// What it is now.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn state(&self) -> io::Result<LinkState> {
        let info = sys::link_info(self.0.as_fd())?;
        Ok(LinkState {
            program: info.program,
            ifindex: Some(info.ifindex).filter(|ifindex| *ifindex != 0),
        })
    }
}
