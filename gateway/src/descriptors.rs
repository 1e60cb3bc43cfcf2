//! File descriptors: as many as the process may have, and a few that clients cannot take.
//!
//! A process that is out of descriptors can neither be asked what is wrong nor be given a better
//! file. The kernel hands out the lowest free number, so a descriptor with a high number says that
//! few are left: what clients cause, their connections and those to origins, gives such a descriptor
//! back at once. What is left is for the admin listener, for reloads, logs and probes.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors kept in reserve: a reload reads its files one after the other, a scrape takes two or
/// three, and a few people may look at the admin listener at once.
const RESERVE: u64 = 32;

/// Where the limit is so low that this would be most of it, a quarter is kept.
const RESERVE_SHARE: u64 = 4;

/// The first descriptor in reserve; above every number until [`raise_limit`] was called.
static RESERVED_FROM: AtomicU64 = AtomicU64::new(u64::MAX);

/// Raises the limit of open descriptors as far as this process may, and keeps a few in reserve.
///
/// The soft limit, often 1,024, is there for programs that use `select(2)`. This one does not, and
/// each request may take two.
pub fn raise_limit() {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    if before.current != before.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, "the limit of open files stays at {:?}", before.current);
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        RESERVED_FROM.store(reserved_from(most), Ordering::Relaxed);
    }
}

fn reserved_from(most: u64) -> u64 {
    most - RESERVE.min(most / RESERVE_SHARE)
}

/// Whether `descriptor` is one of those that clients must not take.
#[must_use]
pub fn is_reserved(descriptor: RawFd) -> bool {
    u64::try_from(descriptor).is_ok_and(|it| it >= RESERVED_FROM.load(Ordering::Relaxed))
}

/// Whether so few are left that only what is in reserve can be opened, or nothing.
#[must_use]
pub fn are_scarce() -> bool {
    std::fs::File::open("/dev/null").map_or(true, |file| is_reserved(file.as_raw_fd()))
}

/// Whether `error` says that this process or host has run out of something, rather than anything of
/// the other end.
#[must_use]
pub fn is_exhaustion(error: &io::Error) -> bool {
    const EXHAUSTIONS: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| EXHAUSTIONS.contains(&errno))
}

/// Says in the log that descriptors have run out: once in ten seconds, since clients cause it as
/// often as they like.
pub fn report_exhaustion() {
    const EVERY_S: u64 = 10;
    static REPORTED_S: AtomicU64 = AtomicU64::new(0);
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let before_s = REPORTED_S.load(Ordering::Relaxed);
    let due = now_s.abs_diff(before_s) >= EVERY_S;
    if due && REPORTED_S.swap(now_s, Ordering::Relaxed) == before_s {
        let most = getrlimit(Resource::Nofile).current;
        tracing::error!(
            most,
            "out of file descriptors: connections are refused; raise the limit of open \
             files (LimitNOFILE= in the unit, ulimit -n in a shell) or have fewer clients"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_limit_leaves_most_to_clients() {
        assert_eq!([64, 256, 1_024, 1 << 20].map(reserved_from), [48, 224, 992, (1 << 20) - 32]);
    }

    #[test]
    fn what_the_other_end_does_is_no_exhaustion_of_ours() {
        let of = |errno: Errno| is_exhaustion(&errno.into());
        assert!(of(Errno::MFILE) && of(Errno::NFILE));
        assert!(
            !of(Errno::CONNREFUSED)
                && !of(Errno::ADDRNOTAVAIL)
                && !of(Errno::TIMEDOUT)
                && !of(Errno::HOSTUNREACH)
        );
    }
}
