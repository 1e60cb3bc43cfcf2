//! What the gateway writes.

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A source that is not to be let in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, Immutable))]
#[repr(C)]
pub struct Verdict {
    /// Until when (ktime, ns).
    pub expires_ns: u64,
    /// A [`VerdictReason`].
    pub reason: u32,
    /// 0.
    pub reserved: u32,
}

/// Why a source is not to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum VerdictReason {
    /// Somebody said so.
    Operator = 0,
    /// Too many 4xx responses.
    ClientError = 1,
    /// Too many requests that broke the protocol.
    Refused = 2,
    /// Too many requests over a limit.
    Limit = 3,
    /// A plugin said so.
    Plugin = 4,
}

impl VerdictReason {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::Operator, Self::ClientError, Self::Refused, Self::Limit, Self::Plugin];

    /// Its name in logs, metrics and on the command line.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::ClientError => "4xx",
            Self::Refused => "refused",
            Self::Limit => "limit",
            Self::Plugin => "plugin",
        }
    }

    /// The reason behind a map's number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u32 == number)
    }
}
