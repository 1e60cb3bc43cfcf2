//! Whether the kernel takes the answers to SYN cookies that it did not send itself.

/// Where the kernel says what it does about SYN cookies. IPv6 goes by the same.
const SETTING: &str = "/proc/sys/net/ipv4/tcp_syncookies";

/// The value under which every listener takes them at any time. Under 1 it does for two minutes after
/// its own queue overflowed, which under XDP it does not.
const ALWAYS: &str = "2";

/// Whether every listener of this network namespace takes them.
#[must_use]
pub fn are_taken() -> bool {
    std::fs::read_to_string(SETTING).is_ok_and(|value| value.trim() == ALWAYS)
}

/// What to tell an operator whose zones ask for cookies that cannot be had.
pub const HINT: &str = "SYNs over `per_zone_per_s` of strangers are dropped, not answered with SYN \
    cookies: set net.ipv4.tcp_syncookies = 2 and restart the classifier (Linux 6.0 or newer)";
