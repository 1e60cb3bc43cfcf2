//! How much of bodies passes in a second, and between whom that is shared.

use sallyport_balance::Rate;

use super::admission::{TenantBy, TenantWeights};

/// The bandwidth of an upstream or a route, in each direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bandwidth {
    /// Bytes of a second.
    pub bytes_per_s: u64,
    /// Bytes that pass at once after a time in which fewer passed.
    pub burst_bytes: u64,
    /// What tells classes apart.
    pub by: ClassBy,
    /// Shares by class; 1 for those that are not here.
    pub weights: TenantWeights,
}

/// What tells classes apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClassBy {
    /// What the queue of the request's upstream tells tenants apart by.
    Tenant,
    /// Something of its own.
    Own(TenantBy),
}

impl Bandwidth {
    /// The default of `burst_bytes`: what passes in 50 ms, and no less than one piece of a body.
    #[must_use]
    pub fn burst_of(bytes_per_s: u64) -> u64 {
        (bytes_per_s / 20).max(64 << 10)
    }

    /// The rate.
    #[must_use]
    pub fn rate(&self) -> Rate {
        Rate { bytes_per_s: self.bytes_per_s, burst_bytes: self.burst_bytes }
    }
}
