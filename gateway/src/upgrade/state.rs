//! What the new process goes on from beside sockets: keys of session tickets, verdicts, and what
//! filters have counted.
//!
//! It goes over while nobody knows yet whether the new process is going to serve, as a copy: the
//! old one goes on with its own. What it learns after that stays with it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sallyport_plugin::{Counted, Instances};
use sallyport_tls::Tickets;
use serde::{Deserialize, Serialize};

use crate::snapshot::Snapshot;
use crate::verdicts::{Held, Verdicts};

/// Verdicts in one frame, each of which takes less than 100 bytes.
const VERDICTS_PER_FRAME: usize = 500;

/// Bytes of a filter's in one frame, which become a third more.
const FILTER_BYTES_PER_FRAME: usize = 32 << 10;

/// A part of the state that fits into a frame.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatePart {
    /// The keys of session tickets, in base64.
    TicketKeys(String),
    /// Verdicts in force.
    Verdicts(Vec<HandedVerdict>),
    /// What a filter has counted.
    Filter(FilterPart),
}

/// A piece of what a filter has counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterPart {
    /// The place that sets it up.
    scope: String,
    name: String,
    kind: String,
    /// In base64.
    state: String,
    /// Whether another piece of the same follows.
    is_continued: bool,
}

/// A verdict on its way to another process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedVerdict {
    /// An address with the length of its prefix.
    source: String,
    /// By the clock of the kernel, which both processes share.
    expires_ns: u64,
    reason: u32,
}

impl fmt::Debug for StatePart {
    /// Leaves out the keys.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TicketKeys(_) => out.write_str("TicketKeys"),
            Self::Verdicts(verdicts) => out.debug_tuple("Verdicts").field(verdicts).finish(),
            Self::Filter(part) => out.debug_tuple("Filter").field(&part.name).finish(),
        }
    }
}

/// What holds the state in a process.
#[derive(Debug)]
pub struct StateHolders<'a> {
    /// The keys of session tickets.
    pub tickets: &'a Tickets,
    /// The verdicts.
    pub verdicts: &'a Verdicts,
    /// The filters in force.
    pub filters: &'a Instances,
}

impl<'a> StateHolders<'a> {
    /// Those of a process with this configuration in force.
    #[must_use]
    pub fn of(snapshot: &'a Snapshot, verdicts: &'a Verdicts) -> Self {
        Self { tickets: snapshot.tickets(), verdicts, filters: snapshot.filters() }
    }

    /// All of it, for another process.
    #[must_use]
    pub fn export(&self) -> Vec<StatePart> {
        let keys = self.tickets.export();
        let keys = keys.map(|keys| StatePart::TicketKeys(STANDARD.encode(keys)));
        let verdicts: Vec<_> = self.verdicts.held().into_iter().map(HandedVerdict::of).collect();
        let verdicts = verdicts.chunks(VERDICTS_PER_FRAME);
        let verdicts = verdicts.map(|part| StatePart::Verdicts(part.to_vec()));
        let filters = self.filters.counted().into_iter().flat_map(parts_of_filter);
        keys.into_iter().chain(verdicts).chain(filters).collect()
    }

    /// Goes on from what another process has exported. What cannot be read is left out: the two may
    /// be different versions, and a client that is not known is served all the same.
    pub fn import(&self, parts: Vec<StatePart>) {
        let mut begun = Vec::new();
        for part in parts {
            match part {
                StatePart::TicketKeys(keys) => {
                    let are_keys = STANDARD.decode(keys).is_ok_and(|it| self.tickets.import(&it));
                    if !are_keys {
                        tracing::warn!("keys of session tickets cannot be taken over");
                    }
                }
                StatePart::Verdicts(verdicts) => {
                    let held = verdicts.into_iter().filter_map(HandedVerdict::held);
                    self.verdicts.take_over(held);
                }
                StatePart::Filter(FilterPart { scope, name, kind, state, is_continued }) => {
                    begun.extend(STANDARD.decode(state).unwrap_or_default());
                    if !is_continued {
                        let state = std::mem::take(&mut begun);
                        self.filters.go_on_from(Counted { scope, name, kind, state });
                    }
                }
            }
        }
    }
}

impl HandedVerdict {
    fn of(held: Held) -> Self {
        let Held { source, expires_ns, reason } = held;
        Self { source: source.to_string(), expires_ns, reason }
    }

    fn held(self) -> Option<Held> {
        let Self { source, expires_ns, reason } = self;
        Some(Held { source: source.parse().ok()?, expires_ns, reason })
    }
}

/// What a filter has counted, in pieces that fit into frames.
fn parts_of_filter(counted: Counted) -> Vec<StatePart> {
    let Counted { scope, name, kind, state } = counted;
    let pieces = state.chunks(FILTER_BYTES_PER_FRAME);
    let last = pieces.len().saturating_sub(1);
    let part = |(index, piece): (usize, &[u8])| {
        let (scope, name, kind) = (scope.clone(), name.clone(), kind.clone());
        let state = STANDARD.encode(piece);
        StatePart::Filter(FilterPart { scope, name, kind, state, is_continued: index != last })
    };
    pieces.enumerate().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_no_debug_text() {
        let part = StatePart::TicketKeys("c2VjcmV0".into());
        assert_eq!(format!("{part:?}"), "TicketKeys");
    }

    #[test]
    fn what_a_filter_has_counted_comes_in_pieces_that_fit() {
        let state: Vec<u8> = (0..100_000_u32).map(|it| it as u8).collect();
        let (scope, name, kind) = ("top".to_owned(), "a".to_owned(), "rate_limit".to_owned());
        let parts = parts_of_filter(Counted { scope, name, kind, state: state.clone() });
        let mut whole = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            assert!(serde_json::to_vec(part).unwrap().len() < 60 << 10);
            let StatePart::Filter(part) = part else { panic!("{part:?}") };
            assert_eq!(part.is_continued, index + 1 < parts.len());
            whole.extend(STANDARD.decode(&part.state).unwrap());
        }
        assert_eq!(whole, state);
    }
}
