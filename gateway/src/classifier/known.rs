//! What is known of one connection: looked up once, when its first request was read.

use std::net::SocketAddr;
use std::time::Duration;

use sallyport_classifier::pinned::abi::{
    Address, FlowKey, NameKind, Network, Protocol, Reason, Standing, per_second,
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

    /// Asks the maps: the generation, the source, the flow, and the network where what is noted of it
    /// is of another generation.
    pub(super) fn look_up(
        view: &View,
        peer: SocketAddr,
        local: SocketAddr,
        stats: &ClassifierStats,
    ) -> std::io::Result<Self> {
        let address = Address::from(peer.ip().to_canonical());
        let destination = Address::from(local.ip().to_canonical());
        let key = FlowKey::tcp(address, peer.port(), destination, local.port());
        let flow = view.maps.flows.lookup(&key)?;
        let source = view.maps.sources.lookup(&address)?;
        let now_ns = ktime_ns();
        let syn_ns = flow.as_ref().map_or(0, |flow| flow.syn_ns.load());
        if syn_ns != 0 {
            stats.waited(Duration::from_nanos(now_ns.saturating_sub(syn_ns)));
        }
        let standing = source.as_ref().map(|source| source.standing());
        let network = network(view, address, standing)?;
        let zone = match (&flow, &source) {
            (Some(flow), _) => flow.zone(),
            (None, Some(source)) => source.zone.load() as u16,
            (None, None) => 0,
        };
        let hints = Hints {
            network: network.and_then(|network| view.name(NameKind::Network, network.id)),
            zone: view.name(NameKind::Zone, zone),
            protocol: flow.and_then(|flow| flow.protocol()).map(Protocol::label),
            screens: source.as_ref().map_or_else(Box::default, |source| {
                source.screens(now_ns).iter().map(Reason::label).collect()
            }),
            syn_rate: source.map_or(0, |source| per_second(source.syn.level(now_ns))),
        };
        let stats = stats.requests(hints.network.as_ref(), hints.zone.as_ref(), hints.protocol);
        Ok(Self { hints, stats })
    }
}

/// The network under the configuration in force: as it stands noted, if that is of this generation.
fn network(
    view: &View,
    address: Address,
    standing: Option<Standing>,
) -> std::io::Result<Option<Network>> {
    let generation = view.maps.meta()?.generation;
    match standing {
        Some(standing) if standing.generation == generation => {
            Ok(Some(standing.network).filter(|network| network.id != 0))
        }
        _ => view.maps.network(address, generation),
    }
}
