//! The kernel's notices of interfaces: that one came, went or changed.
//!
//! A notice is only a reason to look. Whoever waits for one looks from time to time anyway: that a link
//! was detached makes none.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SocketType};

/// `RTMGRP_LINK`.
const LINKS: u32 = 1;

/// How long notices are collected: an interface that is made comes with several.
const SETTLING: Duration = Duration::from_millis(20);

/// Notices of this network namespace.
#[derive(Debug)]
pub struct Notices {
    /// `None` where the kernel gives none.
    socket: Option<OwnedFd>,
}

impl Notices {
    /// Begins to listen.
    #[must_use]
    pub fn open() -> Self {
        let socket = open();
        if let Err(error) = &socket {
            tracing::warn!(%error, "no notices of interfaces: they are looked at four times a second");
        }
        Self { socket: socket.ok() }
    }

    /// Waits for a notice, at most for `longest`.
    pub fn wait(&self, longest: Duration) {
        let Some(socket) = &self.socket else { return std::thread::sleep(longest) };
        // 0 would be no timeout at all.
        let longest = longest.max(Duration::from_millis(1));
        if let Err(error) = set_socket_timeout(socket, Timeout::Recv, Some(longest)) {
            tracing::debug!(%error, "no timeout for notices");
            return std::thread::sleep(longest);
        }
        let mut notice = [0; 8 << 10];
        let received = rustix::net::recv(socket, notice.as_mut_slice(), RecvFlags::empty());
        // Any other error is that there were too many to hold: the more reason to look.
        if let Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) = received {
            return;
        }
        std::thread::sleep(SETTLING);
        while rustix::net::recv(socket, notice.as_mut_slice(), RecvFlags::DONTWAIT).is_ok() {}
    }
}

fn open() -> rustix::io::Result<OwnedFd> {
    let socket = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, LINKS))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn without_a_notice_the_wait_ends() {
        let began = Instant::now();
        let notices = Notices::open();
        notices.wait(Duration::from_millis(30));
        assert!(notices.socket.is_none() || began.elapsed() >= Duration::from_millis(20));
    }
}
