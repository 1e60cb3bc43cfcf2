//! What the loader writes: zones with their screens, networks, names.

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::rate::Rate;
use crate::reason::Screens;

/// Where a packet came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, Immutable))]
#[repr(C)]
pub struct ZoneKey {
    /// The interface.
    pub ifindex: u32,
    /// The outer VLAN; 0 for none, and for all that have no entry of their own.
    pub vlan: u32,
}

/// A zone with its screens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, Immutable))]
#[repr(C)]
pub struct Zone {
    /// Its id; 0 means that there is none.
    pub id: u16,
    /// [`Zone::UNPARSABLE_TCP`] and [`Zone::COOKIES`].
    pub flags: u16,
    /// The screens that are looked at.
    pub watched: Screens,
    /// Those among them that drop.
    pub dropping: Screens,
    /// What one source may send and the zone takes in a [window](crate::WINDOW_NS), by [`Rate`]; 0
    /// means no limit.
    pub limits: [Limits; Rate::COUNT],
    /// Bits of a [sketch](crate::Sketch) of ports that a source may set; 0 means no limit.
    pub port_bits: u32,
    /// As `port_bits`, for addresses.
    pub address_bits: u32,
}

impl Zone {
    /// Of what cannot be parsed, only TCP to ports with flow entries, and what may be that, is dropped.
    pub const UNPARSABLE_TCP: u16 = 1;
    /// A stranger's SYN above what the zone takes is answered with a SYN cookie.
    pub const COOKIES: u16 = 2;

    /// Whether one of the flags above is set.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// The limits of one kind of packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, Immutable))]
#[repr(C)]
pub struct Limits {
    /// From one source.
    pub source: u32,
    /// Into one zone.
    pub zone: u32,
}

/// What a prefix is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, Immutable))]
#[repr(C)]
pub struct Network {
    /// Its id; 0 means that the prefix is of no network.
    pub id: u16,
    /// A [`NetworkAction`], and [`Network::COUNTED`].
    pub action: u16,
}

/// What happens to a network's packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u16)]
pub enum NetworkAction {
    /// They are classified and screened.
    #[default]
    Classify = 0,
    /// They pass, whatever else holds.
    Allow = 1,
    /// They do not pass.
    Drop = 2,
    /// They are classified and screened, but rates and scans do not count for them.
    Exempt = 3,
}

impl Network {
    /// Set in `action` where the network's packets are counted in `network_counters`.
    pub const COUNTED: u16 = 1 << 8;

    /// Whether its packets are counted.
    #[inline(always)]
    #[must_use]
    pub const fn is_counted(self) -> bool {
        self.action & Self::COUNTED != 0
    }

    /// The action; what is not one classifies.
    #[inline(always)]
    #[must_use]
    pub fn action(self) -> NetworkAction {
        match self.action & !Self::COUNTED {
            1 => NetworkAction::Allow,
            2 => NetworkAction::Drop,
            3 => NetworkAction::Exempt,
            _ => NetworkAction::Classify,
        }
    }
}

/// A network as it was found under one generation, in one word: what is looked up once is kept with
/// the source and the flow for as long as the configuration does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The generation under which it was found.
    pub generation: u32,
    /// What was found.
    pub network: Network,
}

impl Standing {
    /// From its word.
    #[inline(always)]
    #[must_use]
    pub fn from_word(word: u64) -> Self {
        let network = Network { id: (word >> 16) as u16, action: word as u16 };
        Self { generation: (word >> 32) as u32, network }
    }

    /// As a word.
    #[inline(always)]
    #[must_use]
    pub fn word(self) -> u64 {
        (self.generation as u64) << 32 | (self.network.id as u64) << 16 | self.network.action as u64
    }
}

/// What has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum NameKind {
    /// A network.
    Network = 1,
    /// A zone.
    Zone = 2,
}

/// An id that has a name. A name keeps its id for as long as the maps live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, Immutable))]
#[repr(C)]
pub struct NameKey {
    /// A [`NameKind`].
    pub kind: u16,
    /// The id.
    pub id: u16,
}

/// The longest name of a zone or network, in bytes.
pub const NAME_BYTES: usize = 32;

/// A name, filled up with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, Immutable))]
#[repr(C)]
pub struct Name(pub [u8; NAME_BYTES]);

impl Name {
    /// A name; `None` if it is too long.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; NAME_BYTES];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self(bytes))
    }

    /// The name as text; `None` if it is not UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES);
        core::str::from_utf8(self.0.get(..end)?).ok()
    }
}
