//! The filters of one place, compiled for every listener it may be reached by.

use sallyport_plugin::{Chain, Entry, Metrics, merge};

use crate::config::Listener;

/// A chain for each listener; nothing at all where none of them has filters.
#[derive(Debug, Default)]
pub struct Chains(Box<[Option<Chain>]>);

impl Chains {
    /// Merges `lists`, the least specific first, behind each listener's own filters.
    #[must_use]
    pub fn new(listeners: &[Listener], lists: &[&[Entry]], metrics: &Metrics) -> Self {
        if listeners.iter().all(|listener| listener.filters.is_empty())
            && lists.iter().all(|list| list.is_empty())
        {
            return Self::default();
        }
        let chain = |listener: &Listener| {
            let all: Vec<&[Entry]> =
                [&*listener.filters].into_iter().chain(lists.iter().copied()).collect();
            Chain::new(merge(&all), metrics)
        };
        Self(listeners.iter().map(chain).collect())
    }

    /// The chain of requests that come by the listener with this index.
    #[must_use]
    pub fn of(&self, listener: usize) -> Option<&Chain> {
        self.0.get(listener)?.as_ref()
    }
}
