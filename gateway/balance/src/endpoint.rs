//! Endpoints, what makes a list of them acceptable, and the order that does not depend on the list.
//!
//! Every policy refuses the same lists, so the check stands here once. The hashing policies also need an
//! order that two machines agree on whatever order their configuration files have: endpoints are ranked by
//! the octets of their addresses.

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::unix::ffi::OsStrExt as _;

use thiserror::Error;

use crate::address::Address;

/// The most endpoints one balancer takes. Tables hold indices in 16 bits, and Maglev's needs one value of
/// them for a slot that is still vacant.
pub const ENDPOINTS_MAX: usize = 65_535;

/// One server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where it listens; what identifies it to the hashing policies.
    pub address: Address,
    /// Its share of the traffic in relation to the other endpoints' weights, 1 to 65,535.
    pub weight: u16,
}

/// Why no balancer can be built from a list of endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The list is empty.
    #[error("there are no endpoints")]
    Empty,
    /// The list is longer than [`ENDPOINTS_MAX`].
    #[error("there are more than {ENDPOINTS_MAX} endpoints")]
    TooMany,
    /// A weight is 0.
    #[error("an endpoint has weight 0; weights are 1 to 65535")]
    ZeroWeight,
    /// An address stands in the list twice.
    #[error("the address {0} is given twice")]
    DuplicateAddress(Address),
    /// With a table of this size an endpoint's walk would not reach every slot.
    #[error("the Maglev table size {0} is not a prime number")]
    TableSizeNotPrime(u32),
    /// The table has fewer slots than there are endpoints.
    #[error("the Maglev table has fewer slots than there are endpoints")]
    TableTooSmall,
    /// The table would have more slots than [`MAGLEV_TABLE_SIZE_MAX`](crate::MAGLEV_TABLE_SIZE_MAX).
    #[error("the Maglev table size {0} is over {max}", max = crate::MAGLEV_TABLE_SIZE_MAX)]
    TableTooLarge(u32),
}

/// An endpoint in the order that all machines agree on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ranked {
    pub(crate) identity: Identity,
    pub(crate) weight: u16,
    /// Its place in the caller's list.
    pub(crate) index: u16,
}

/// The endpoints ordered by address, so that the order they came in leaves no trace.
///
/// # Errors
/// Whatever of [`BuildError`] concerns the list itself.
pub(crate) fn rank(endpoints: &[Endpoint]) -> Result<Vec<Ranked>, BuildError> {
    if endpoints.is_empty() {
        return Err(BuildError::Empty);
    }
    if endpoints.len() > ENDPOINTS_MAX {
        return Err(BuildError::TooMany);
    }
    if endpoints.iter().any(|endpoint| endpoint.weight == 0) {
        return Err(BuildError::ZeroWeight);
    }
    let mut ranked: Vec<Ranked> = (0..=u16::MAX).zip(endpoints).map(ranked).collect();
    ranked.sort_unstable();
    match ranked.windows(2).find(|pair| pair[0].identity == pair[1].identity) {
        Some(pair) => {
            Err(BuildError::DuplicateAddress(endpoints[usize::from(pair[0].index)].address.clone()))
        }
        None => Ok(ranked),
    }
}

/// [`rank`] for the policies that keep the caller's order: only the check.
pub(crate) fn validate(endpoints: &[Endpoint]) -> Result<(), BuildError> {
    rank(endpoints).map(drop)
}

fn ranked((index, endpoint): (u16, &Endpoint)) -> Ranked {
    Ranked { identity: Identity::of(&endpoint.address), weight: endpoint.weight, index }
}

/// An address as octets that mean the same on every machine: the family, the address, the port, and for IPv6
/// the scope and the flow label, all in network order; for a Unix socket the family 1 and the path. The hashing
/// policies hash exactly these octets, so their layout is part of the compatibility promise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity(Box<[u8]>);

impl Identity {
    pub(crate) fn of(address: &Address) -> Self {
        match address {
            Address::Inet(SocketAddr::V4(address)) => Self::of_v4(*address),
            Address::Inet(SocketAddr::V6(address)) => Self::of_v6(*address),
            Address::Unix(path) => Self([&[1], path.as_os_str().as_bytes()].concat().into()),
        }
    }

    pub(crate) fn octets(&self) -> &[u8] {
        &self.0
    }

    fn of_v4(address: SocketAddrV4) -> Self {
        let (ip, port) = (address.ip().octets(), address.port().to_be_bytes());
        Self([&[4], &ip[..], &port].concat().into())
    }

    fn of_v6(address: SocketAddrV6) -> Self {
        let (ip, port) = (address.ip().octets(), address.port().to_be_bytes());
        let (scope, flow) = (address.scope_id().to_be_bytes(), address.flowinfo().to_be_bytes());
        Self([&[6], &ip[..], &port, &scope, &flow].concat().into())
    }
}

#[cfg(test)]
pub(crate) mod tests;
