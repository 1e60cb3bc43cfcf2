//! What a service manager and this process do for each other, beyond saying that it is ready.
//!
//! Sockets that the manager opened (socket activation) or kept for a process that died (its store
//! of descriptors) are used in the place of new ones, so that no connection is refused while nobody
//! serves. Every listening socket is given to the store for that. The watchdog is fed only while
//! each worker answers, so that it bites where a worker hangs, whatever the other threads do.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use listenfd::ListenFd;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, sendmsg_addr, socket_with,
};
use sallyport_config::process::{NotifyState, notify};
use tokio::runtime::Handle;

use crate::upgrade::Handed;

/// The longest name of a descriptor (`sd_pid_notify_with_fds(3)`).
const NAME_BYTES_MAX: usize = 255;

/// The sockets that the manager hands to this process, each with its name; others than those that
/// listen are left alone. To be called before there are threads, since it takes the variables that
/// tell of them out of the environment.
///
/// # Errors
/// If one of them cannot be used.
pub fn activated() -> io::Result<Vec<(String, OwnedFd)>> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut all = ListenFd::from_env();
    let mut taken = Vec::new();
    for index in 0..all.len() {
        let name = names.next().unwrap_or_default().to_owned();
        let socket = match all.take_tcp_listener(index) {
            Ok(socket) => socket.map(OwnedFd::from),
            Err(_) => all.take_unix_listener(index)?.map(OwnedFd::from),
        };
        taken.extend(socket.map(|socket| (name, socket)));
    }
    Ok(taken)
}

/// The sockets in the manager's store, by name, with the addresses that they are bound to.
#[derive(Debug, Default)]
pub struct Store(BTreeMap<String, Vec<String>>);

impl Store {
    /// One that has sockets called `names` already.
    #[must_use]
    pub fn holding(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().map(|name| (name, Vec::new())).collect())
    }

    /// Has the store hold `sockets` and none that it was given before. Does nothing where there is
    /// no manager.
    pub fn keep(&mut self, sockets: &[Handed]) {
        let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for Handed { name, .. } in sockets {
            if let Some(stored) = stored_name(&name.listener) {
                wanted.entry(stored.to_owned()).or_default().push(name.bound.clone());
            }
        }
        for (name, _) in self.0.iter().filter(|(name, there)| wanted.get(*name) != Some(there)) {
            tell(&format!("FDSTOREREMOVE=1\nFDNAME={name}\n"), None);
        }
        for Handed { name, socket } in sockets {
            let Some(stored) = stored_name(&name.listener) else { continue };
            if wanted.get(stored) != self.0.get(stored) {
                tell(&format!("FDSTORE=1\nFDNAME={stored}\n"), Some(socket));
            }
        }
        self.0 = wanted;
    }
}

/// The name of a listener as a descriptor may be called, if it may be.
fn stored_name(listener: &str) -> Option<&str> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b':';
    let is_name = !listener.is_empty() && listener.len() <= NAME_BYTES_MAX;
    (is_name && listener.bytes().all(is_plain)).then_some(listener)
}

/// A manager that is gone, or keeps nothing, is no reason not to serve.
fn tell(message: &str, descriptor: Option<&OwnedFd>) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(path.as_bytes(), message, descriptor) {
        tracing::debug!(%error, "the service manager was not told of a socket");
    }
}

/// Sends one message to the socket at `path`, where `@` begins a name that is in no file system.
/// Apart from the crate `sd-notify`, whose way of sending descriptors takes one more crate.
fn send(path: &[u8], message: &str, descriptor: Option<&OwnedFd>) -> io::Result<()> {
    let address = match path.strip_prefix(b"@") {
        Some(name) => SocketAddrUnix::new_abstract_name(name)?,
        None => SocketAddrUnix::new(path)?,
    };
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<_> = descriptor.iter().map(|descriptor| descriptor.as_fd()).collect();
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    let message = [IoSlice::new(message.as_bytes())];
    sendmsg_addr(&socket, &address, &message, &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// How often the manager wants to hear from this process, if it watches it. A process that has
/// replaced another is not the one that the manager started, and is watched all the same.
#[must_use]
pub fn watchdog_period(is_heir: bool) -> Option<Duration> {
    if !is_heir {
        return sd_notify::watchdog_enabled();
    }
    let period = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    Some(Duration::from_micros(period)).filter(|period| !period.is_zero())
}

/// Feeds the manager's watchdog for as long as each of `workers` answers within `period`.
pub async fn feed_watchdog(workers: Vec<Handle>, period: Duration) {
    // The manager asks for half of its time; a turn that comes late by as much is in time still.
    let every = period / 4;
    let mut pulse = Pulse::of(workers.len());
    for (worker, beats) in workers.iter().zip(&pulse.beats) {
        let beats = beats.clone();
        worker.spawn(async move {
            loop {
                beats.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(every / 2).await;
            }
        });
    }
    loop {
        if pulse.is_felt() {
            notify(NotifyState::Watchdog);
        }
        tokio::time::sleep(every).await;
    }
}

/// What shows that workers answer.
#[derive(Debug)]
struct Pulse {
    /// Each counted by a worker of its own.
    beats: Vec<Arc<AtomicU64>>,
    seen: Vec<u64>,
}

impl Pulse {
    fn of(workers: usize) -> Self {
        let beats = (0..workers).map(|_| Arc::default()).collect();
        Self { beats, seen: vec![0; workers] }
    }

    /// Whether every worker has counted since this was true the last time.
    fn is_felt(&mut self) -> bool {
        let now: Vec<u64> = self.beats.iter().map(|it| it.load(Ordering::Relaxed)).collect();
        let is_felt = now.iter().zip(&self.seen).all(|(now, seen)| now > seen);
        if is_felt {
            self.seen = now;
        }
        is_felt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_worker_that_hangs_silences_the_pulse() {
        let mut pulse = Pulse::of(2);
        assert!(!pulse.is_felt());
        let beat =
            |worker: usize, pulse: &Pulse| pulse.beats[worker].fetch_add(1, Ordering::Relaxed);
        beat(0, &pulse);
        assert!(!pulse.is_felt(), "the other has not begun");
        beat(1, &pulse);
        assert!(pulse.is_felt() && !pulse.is_felt());
        for _ in 0..3 {
            beat(0, &pulse);
            assert!(!pulse.is_felt());
        }
        beat(1, &pulse);
        assert!(pulse.is_felt());
    }

    #[test]
    fn names_that_a_descriptor_may_not_have_are_left_out() {
        for name in ["", "a:b", "a b", "é", &"x".repeat(256)] {
            assert_eq!(stored_name(name), None, "{name}");
        }
        assert_eq!(stored_name("web-1_x"), Some("web-1_x"));
    }
}
