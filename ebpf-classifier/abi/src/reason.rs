//! Why a packet was counted, and what it may have been dropped for.

use crate::rate::Rate;

macro_rules! reasons {
    ($($name:ident = $label:literal, $doc:literal;)*) => {
        /// What a packet is counted under. A packet has exactly one outcome, passed or dropped for a
        /// reason, and any number of reasons that were only noted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum Reason {
            $(#[doc = $doc] $name,)*
        }

        impl Reason {
            /// Every reason, in the order of the counters.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name in metrics and in the configuration.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                }
            }
        }
    };
}

reasons! {
    Passed = "passed", "Let through.";
    NotIp = "not_ip", "Neither IPv4 nor IPv6; passes.";
    Malformed = "malformed", "Truncated or contradicts itself, so that Linux discards it; passes, unread beyond that point.";
    UnknownZone = "unknown_zone", "From an interface and VLAN of no zone; passes unscreened.";
    Allowed = "allowed", "From a network marked `allow`; passes whatever else holds.";
    Exempt = "exempt", "From a trusted proxy or a network marked `exempt`: rates and scans do not count.";
    SynCookie = "syn_cookie", "A SYN above what the zone takes that was answered with a SYN cookie.";
    CookieProven = "cookie_proven", "A segment that returned a SYN cookie: its source is no stranger any more.";
    Network = "network", "From a network marked `drop`.";
    Verdict = "verdict", "From a source under a verdict.";
    Unparsable = "unparsable", "Linux would read further than the program does: a first fragment without its transport header, more extension headers or tags than are followed.";
    Land = "land", "From its own destination address.";
    SynFin = "syn_fin", "TCP with SYN and FIN.";
    NoFlags = "no_flags", "TCP without any flag.";
    FinNoAck = "fin_no_ack", "TCP with FIN but not ACK.";
    WinNuke = "winnuke", "TCP with URG to the NetBIOS session port, 139.";
    SynFragment = "syn_fragment", "A SYN in fragments.";
    TearDrop = "tear_drop", "A fragment that overlaps another of its datagram (RFC 5722).";
    SourceRoute = "source_route", "Loose or strict source route, more than ten IPv4 options, or an IPv6 routing header of type 0 (RFC 5095).";
    PingOfDeath = "ping_of_death", "A fragment that ends beyond the 65,535 bytes a datagram can have.";
    IcmpFragment = "icmp_fragment", "ICMP in fragments.";
    SynFloodSource = "syn_flood_source", "More SYNs a second than one source may send.";
    SynFloodZone = "syn_flood_zone", "More SYNs a second than a zone takes, from a source without a recent handshake.";
    UdpFloodSource = "udp_flood_source", "More UDP packets a second than one source may send.";
    UdpFloodZone = "udp_flood_zone", "More UDP packets a second than a zone takes.";
    IcmpFloodSource = "icmp_flood_source", "More ICMP packets a second than one source may send.";
    IcmpFloodZone = "icmp_flood_zone", "More ICMP packets a second than a zone takes.";
    IcmpErrorFloodSource = "icmp_error_flood_source", "More ICMP errors and neighbour discovery a second than one source may send.";
    IcmpErrorFloodZone = "icmp_error_flood_zone", "More ICMP errors and neighbour discovery a second than a zone takes.";
    AckFloodSource = "ack_flood_source", "More TCP segments of no known connection a second than one source may send.";
    AckFloodZone = "ack_flood_zone", "More TCP segments of no known connection a second than a zone takes.";
    RstFloodSource = "rst_flood_source", "More RSTs of no known connection a second than one source may send.";
    RstFloodZone = "rst_flood_zone", "More RSTs of no known connection a second than a zone takes.";
    SynAckFloodSource = "synack_flood_source", "More SYN-ACKs that nobody asked for a second than one source may send.";
    SynAckFloodZone = "synack_flood_zone", "More SYN-ACKs that nobody asked for a second than a zone takes.";
    FragmentFloodSource = "fragment_flood_source", "More fragments after the first a second than one source may send.";
    FragmentFloodZone = "fragment_flood_zone", "More fragments after the first a second than a zone takes.";
    OtherFloodSource = "other_flood_source", "More packets of other protocols, or that cannot be parsed, a second than one source may send.";
    OtherFloodZone = "other_flood_zone", "More packets of other protocols, or that cannot be parsed, a second than a zone takes.";
    PortScan = "port_scan", "Connections to more ports than one source should need.";
    AddressSweep = "address_sweep", "Packets to more addresses than one source should need.";
}

impl Reason {
    /// The first reason that a profile can turn on.
    const FIRST_SCREEN: Self = Self::Unparsable;

    /// The reasons that a profile can turn on, in the order in which they decide.
    pub const SCREENS: [Self; Self::ALL.len() - Self::FIRST_SCREEN as usize] =
        match Self::ALL.last_chunk() {
            Some(screens) => *screens,
            None => unreachable!(),
        };

    /// The index of its counter; each reason has one for packets that went on and one for packets
    /// dropped for it.
    #[must_use]
    #[inline(always)]
    pub fn counter(self, dropped: bool) -> u32 {
        self as u32 * 2 + dropped as u32
    }

    /// The number of counters.
    pub const COUNTERS: u32 = Self::ALL.len() as u32 * 2;

    /// Its bit among the screens; `None` for what no profile can turn on.
    #[must_use]
    pub fn screen(self) -> Option<Screens> {
        (self >= Self::FIRST_SCREEN).then(|| Screens::of(self))
    }
}

/// A set of screens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)
)]
#[repr(transparent)]
pub struct Screens(pub u32);

impl Screens {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// The set of one; `reason` must be a screen.
    #[must_use]
    #[inline(always)]
    pub const fn of(reason: Reason) -> Self {
        Self(1 << (reason as u32 - Reason::FIRST_SCREEN as u32))
    }

    /// The screens of the two limits of `rate`: the source's and the zone's.
    #[must_use]
    #[inline(always)]
    pub const fn floods(rate: Rate) -> (Self, Self) {
        let of_source = Self::of(Reason::SynFloodSource).0 << (rate as u32 * 2);
        (Self(of_source), Self(of_source << 1))
    }

    /// Those in either.
    #[must_use]
    #[inline(always)]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those in both.
    #[must_use]
    #[inline(always)]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// This set if `condition` holds, else none.
    #[must_use]
    #[inline(always)]
    pub const fn when(self, condition: bool) -> Self {
        if condition { self } else { Self::NONE }
    }

    /// The first of them, the one that decides.
    #[must_use]
    #[inline(always)]
    pub const fn first(self) -> Self {
        Self(self.0 & self.0.wrapping_neg())
    }

    /// The counter of the one screen in it. Arithmetic alone: for every branch that depends on which
    /// screen it is, the kernel's verifier would follow the rest of the program once more.
    #[must_use]
    #[inline(always)]
    pub const fn counter(self, dropped: bool) -> u32 {
        let index = self.0.wrapping_sub(1).count_ones();
        (Reason::FIRST_SCREEN as u32 + index) * 2 + dropped as u32
    }

    /// Those that are not in `other`.
    #[must_use]
    #[inline(always)]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is none.
    #[must_use]
    #[inline(always)]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The screens in it.
    pub fn iter(self) -> impl Iterator<Item = Reason> {
        Reason::SCREENS.into_iter().filter(move |reason| !self.and(Self::of(*reason)).is_empty())
    }
}

// One bit each, and the two screens of a rate stand where `Screens::floods` looks for them.
const _: () = {
    assert!(Reason::SCREENS.len() <= 32);
    let (of_source, of_zone) = Screens::floods(Rate::Other);
    assert!(of_source.0 == Screens::of(Reason::OtherFloodSource).0);
    assert!(of_zone.0 == Screens::of(Reason::OtherFloodZone).0);
};
