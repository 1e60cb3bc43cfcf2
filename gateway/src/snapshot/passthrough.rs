//! What a listener passes on without terminating it, compiled: an upstream by the name that a client
//! asks for.

use std::sync::Arc;

use sallyport_stats::{PassthroughStats, Registry};
use sallyport_tls::{Certificates, Closeness, ServerNames};

use crate::config::{Listener, Target, Upstream};

/// The names of one listener that are passed on.
#[derive(Debug)]
pub struct Passthrough {
    names: ServerNames<usize>,
    entries: Vec<PassedOn>,
}

/// Where connections for some names go.
#[derive(Debug)]
pub struct PassedOn {
    /// The upstreams and their shares.
    pub targets: Vec<Target>,
    /// What is counted of the connections to each.
    stats: Vec<PassthroughStats>,
}

impl Passthrough {
    /// Where a connection goes whose client asks for `name`, or for none; `None` where it is
    /// terminated or refused. Of a pattern and a certificate the one that is closer to the name
    /// decides, and of two that are as close the pattern.
    #[must_use]
    pub fn find(&self, name: Option<&str>, certificates: &Certificates) -> Option<&PassedOn> {
        let (closeness, entry) = self.names.find(name)?;
        let certificate = name.and_then(|name| certificates.closeness(name));
        let is_closer = certificate.is_none_or(|certificate: Closeness| certificate <= closeness);
        is_closer.then(|| &self.entries[entry])
    }
}

impl PassedOn {
    /// The upstream of one connection, by the shares, and where the connection is counted.
    #[must_use]
    pub fn draw(&self) -> (usize, &PassthroughStats) {
        let weights = || self.targets.iter().map(|target| u64::from(target.weight));
        let mut left = match self.targets.len() {
            1 => 0,
            _ => fastrand::u64(..weights().sum::<u64>().max(1)),
        };
        let chosen = weights().position(|weight| match left.checked_sub(weight) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        });
        let chosen = chosen.unwrap_or(0);
        (self.targets[chosen].upstream, &self.stats[chosen])
    }
}

/// What each listener passes on.
pub(super) fn compile(
    listeners: &[Listener],
    upstreams: &[Upstream],
    registry: &Registry,
) -> Vec<Option<Passthrough>> {
    let each = listeners.iter().flat_map(|listener| {
        let entries = listener.tls.iter().flat_map(|tls| &tls.passthrough);
        let targets = entries.flat_map(|entry| &entry.targets);
        targets.map(|target| (listener.name.clone(), upstreams[target.upstream].name.clone()))
    });
    let names: Vec<(Arc<str>, Arc<str>)> = each.collect();
    let mut stats = registry.passthroughs(&names).into_iter();
    let compile = |listener: &Listener| {
        let entries = &listener.tls.as_ref()?.passthrough;
        let names = entries.iter().enumerate();
        let names = names
            .flat_map(|(index, entry)| entry.names.iter().map(move |name| (name.clone(), index)));
        let names = names.collect();
        let entries = entries.iter().map(|entry| PassedOn {
            stats: stats.by_ref().take(entry.targets.len()).collect(),
            targets: entry.targets.clone(),
        });
        let entries: Vec<_> = entries.collect();
        (!entries.is_empty()).then_some(Passthrough { names, entries })
    };
    listeners.iter().map(compile).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_are_drawn_by_their_shares() {
        let registry = Registry::new(1);
        let names: Vec<(Arc<str>, Arc<str>)> =
            ["a", "b", "c"].map(|name| ("web".into(), name.into())).into();
        let target = |(upstream, weight)| Target { upstream, weight };
        let passed_on = PassedOn {
            targets: [(7, 0), (8, 1), (9, 3)].map(target).into(),
            stats: registry.passthroughs(&names),
        };
        let mut drawn = [0; 10];
        for _ in 0..4_000 {
            drawn[passed_on.draw().0] += 1;
        }
        assert_eq!(drawn[7], 0);
        // Twelve standard deviations.
        assert!((670..1_330).contains(&drawn[8]), "{drawn:?}");
        assert_eq!(drawn[8] + drawn[9], 4_000);
    }
}
