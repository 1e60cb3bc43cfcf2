//! The hash that turns request keys and endpoint addresses into numbers.
//!
//! Both must come out alike on every machine and in every version, or two gateways in front of the same
//! endpoints would disagree about where a client belongs. That is why neither goes through
//! [`std::hash::Hash`], whose byte order and framing are not promised. XXH3 is fixed by its specification,
//! reads a short key in a few nanoseconds and spreads it over all 64 bits. It is not a keyed hash: a client
//! that chooses its own key can choose its endpoint, as with any consistent hashing on client data.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The key of a request for the hashing policies: XXH3, 64 bits, seed 0, over exactly these bytes.
///
/// The value for given bytes is a compatibility promise. Costs a few nanoseconds for keys of up to 240 bytes,
/// allocates nothing.
pub fn hash_key(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// An independent hash of the same bytes for every seed.
pub(crate) fn hash_seeded(bytes: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(bytes, seed)
}

#[cfg(test)]
mod tests;
