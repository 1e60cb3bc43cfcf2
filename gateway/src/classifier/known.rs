//! What is known of one connection: looked up once, when its first request was read.

use std::net::SocketAddr;
use std::time::Duration;

use sallyport_classifier::pinned::abi::{
    Address, Flow, FlowKey, NameKind, Network, Protocol, Reason, Screens, Source, Standing,
    per_second,
};
use sallyport_classifier::pinned::ktime_ns;
use sallyport_route::Hints;
use sallyport_stats::{ClassifierStats, HintStats};

use super::View;

/// A connection's hints, and where its requests are counted.
#[derive(Debug)]
pub struct Known {
    hints: Hints,
    stats: HintStats,
}

impl Known {
    /// The hints.
    #[must_use]
    pub fn hints(&self) -> &Hints {
        &self.hints
    }

    /// Where its requests are counted.
    #[must_use]
    pub fn stats(&self) -> &HintStats {
        &self.stats
    }

    /// Asks the maps: the flow, else the source, and the network where what is noted of it is of an older
    /// generation.
    pub(super) fn look_up(
        view: &View,
        peer: SocketAddr,
        local: SocketAddr,
        stats: &ClassifierStats,
    ) -> std::io::Result<Self> {
        let address = Address::from(peer.ip().to_canonical());
        let destination = Address::from(local.ip().to_canonical());
        let key = FlowKey::tcp(address, peer.port(), destination, local.port());
        let now_ns = ktime_ns();
        // The flow tells all, or its SYN while it has no entry yet; the source is asked only where its connection has none, on a port that
        // the classifier does not follow.
        let (seen, protocol) = match view.maps.connection(&key, &view.meta)? {
            Some(flow) => {
                let syn_ns = flow.syn_ns.load();
                stats.waited(Duration::from_nanos(now_ns.saturating_sub(syn_ns)));
                (Some(Seen::with(&flow)), flow.protocol())
            }
            None => (
                view.maps
                    .sources
                    .lookup(&view.meta.source(address))?
                    .map(|source| Seen::of(&source, now_ns)),
                None,
            ),
        };
        let network = network(view, address, seen.as_ref().map(|seen| seen.standing))?;
        let hints = Hints {
            ja4: None,
            client: None,
            network: network.and_then(|network| view.name(NameKind::Network, network.id)),
            zone: view.name(NameKind::Zone, seen.as_ref().map_or(0, |seen| seen.zone)),
            protocol: protocol.map(Protocol::label),
            screens: seen
                .as_ref()
                .map_or_else(Box::default, |seen| seen.screens.iter().map(Reason::label).collect()),
            syn_rate: seen.map_or(0, |seen| per_second(seen.syn_level)),
        };
        let stats = stats.requests(hints.network.as_ref(), hints.zone.as_ref(), hints.protocol);
        Ok(Self { hints, stats })
    }
}

/// What the maps hold of a client, whichever map it is from.
struct Seen {
    standing: Standing,
    zone: u16,
    screens: Screens,
    syn_level: u32,
}

impl Seen {
    fn with(flow: &Flow) -> Self {
        Self {
            standing: Standing::from_word(flow.standing.load()),
            zone: flow.zone(),
            screens: flow.screens(),
            syn_level: flow.syn_level(),
        }
    }

    fn of(source: &Source, now_ns: u64) -> Self {
        Self {
            standing: source.standing(),
            zone: source.zone.load() as u16,
            screens: source.screens(now_ns),
            syn_level: source.syn_level(now_ns),
        }
    }
}

/// The source's network: as the connection's SYN noted it, unless that is of an older generation than
/// the one last read. `meta` is not asked for every connection: a system call is most of what hints
/// cost, and the generation is read four times a second anyway.
fn network(
    view: &View,
    address: Address,
    standing: Option<Standing>,
) -> std::io::Result<Option<Network>> {
    // Generations wrap around.
    let is_current =
        |standing: &Standing| standing.generation.wrapping_sub(view.generation) <= u32::MAX / 2;
    match standing.filter(is_current) {
        Some(standing) => Ok(Some(standing.network).filter(|network| network.id != 0)),
        None => view.maps.network(address, view.generation),
    }
}
