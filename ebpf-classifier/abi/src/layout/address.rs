//! Addresses and prefixes of them.

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// An address as it is compared: IPv6, or IPv4 mapped into it (RFC 4291, 2.5.5.2), in network order.
///
/// Two words instead of sixteen bytes: it is compared, copied and hashed as two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, Immutable))]
#[repr(C)]
pub struct Address {
    pub(crate) high: u64,
    pub(crate) low: u64,
}

impl Address {
    /// An IPv4 address.
    #[inline(always)]
    #[must_use]
    pub const fn v4(octets: [u8; 4]) -> Self {
        let mapped = u64::from_ne_bytes([0, 0, 0xff, 0xff, 0, 0, 0, 0]);
        // Shifted into the last four bytes as they lie in memory.
        let address = u32::from_ne_bytes(octets) as u64;
        let shift = if cfg!(target_endian = "little") { 32 } else { 0 };
        Self { high: 0, low: mapped | address << shift }
    }

    /// An IPv6 address.
    #[inline(always)]
    #[must_use]
    pub const fn v6(high: [u8; 8], low: [u8; 8]) -> Self {
        Self { high: u64::from_ne_bytes(high), low: u64::from_ne_bytes(low) }
    }

    /// Its sixteen bytes.
    #[inline(always)]
    #[must_use]
    pub const fn octets(self) -> [u8; 16] {
        let [a, b, c, d, e, f, g, h] = self.high.to_ne_bytes();
        let [i, j, k, l, m, n, o, p] = self.low.to_ne_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }

    /// Whether it is an IPv4 address.
    #[inline(always)]
    #[must_use]
    pub const fn is_v4(self) -> bool {
        let mapped = u64::from_ne_bytes([0, 0, 0xff, 0xff, 0, 0, 0, 0]);
        let first = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        self.high == 0 && self.low & first == mapped
    }

    /// An address whose first `bits` are 1 and all others 0.
    #[must_use]
    pub const fn mask(bits: u32) -> Self {
        let bits = if bits > 128 { 128 } else { bits };
        let all = if bits == 0 { 0 } else { u128::MAX << (128 - bits) };
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = all.to_be_bytes();
        Self::v6([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p])
    }

    /// Without the bits that `mask` does not have.
    #[inline(always)]
    #[must_use]
    pub const fn masked(self, mask: &Self) -> Self {
        Self { high: self.high & mask.high, low: self.low & mask.low }
    }

    /// Its four 32-bit words, each as it lies in memory.
    #[inline(always)]
    #[must_use]
    pub const fn words(self) -> [u32; 4] {
        let (first, second) = if cfg!(target_endian = "little") { (0, 32) } else { (32, 0) };
        [
            (self.high >> first) as u32,
            (self.high >> second) as u32,
            (self.low >> first) as u32,
            (self.low >> second) as u32,
        ]
    }
}

#[cfg(not(target_arch = "bpf"))]
impl From<core::net::IpAddr> for Address {
    fn from(address: core::net::IpAddr) -> Self {
        match address {
            core::net::IpAddr::V4(address) => Self::v4(address.octets()),
            core::net::IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address.octets();
                Self::v6([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p])
            }
        }
    }
}

#[cfg(not(target_arch = "bpf"))]
impl From<Address> for core::net::IpAddr {
    fn from(address: Address) -> Self {
        Self::V6(address.octets().into()).to_canonical()
    }
}

/// A prefix of addresses, as an LPM trie has its keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, Immutable))]
#[repr(C)]
pub struct Prefix {
    /// How many bits count, of 128; an IPv4 prefix has 96 more than it is written with.
    pub bits: u32,
    /// The address: not an [`Address`], whose alignment would put padding in front of it.
    pub octets: [u8; 16],
}

/// By address, a prefix before those inside it.
#[cfg(not(target_arch = "bpf"))]
impl Ord for Prefix {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        let address = |prefix: &Self| u128::from_be_bytes(prefix.octets);
        (address(self), self.bits).cmp(&(address(other), other.bits))
    }
}

#[cfg(not(target_arch = "bpf"))]
impl PartialOrd for Prefix {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Prefix {
    /// The first `bits` of `address`.
    #[inline(always)]
    #[must_use]
    pub const fn new(address: Address, bits: u32) -> Self {
        Self { bits, octets: address.octets() }
    }

    /// Its address.
    #[must_use]
    pub const fn address(&self) -> Address {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = self.octets;
        Address::v6([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p])
    }

    /// Whether all of `other` is in it.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        let mask = Address::mask(self.bits);
        self.bits <= other.bits && other.address().masked(&mask) == self.address().masked(&mask)
    }
}
