//! What is counted of connections that are passed on without being terminated, by listener and
//! upstream.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use crate::{
    bandwidth::Direction,
    table::{Row, Table},
};

/// A listener and an upstream.
pub(crate) type PassthroughName = (Arc<str>, Arc<str>);

const ACTIVE: usize = 0;
const BYTES: usize = 1;
const RESULTS: usize = BYTES + Direction::ALL.len();
const WORDS: usize = RESULTS + PassthroughResult::ALL.len();

pub(crate) fn table(shards: usize) -> Table<PassthroughName> {
    Table::new(WORDS, shards).staying_while(ACTIVE)
}

/// What became of a connection that was to be passed on, as `result` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum PassthroughResult {
    /// It was passed on, and ended in order or by its client.
    Success,
    /// No endpoint could be used.
    NoEndpoint,
    /// The upstream is at a limit.
    Limit,
    /// No endpoint could be connected to.
    Connect,
    /// An endpoint took too long to be connected to.
    Timeout,
    /// The origin reset it.
    Reset,
    /// This process had no descriptor left for it.
    Resources,
}

impl PassthroughResult {
    /// Every one, in the order of the exposition.
    pub const ALL: [Self; 7] = [
        Self::Success,
        Self::NoEndpoint,
        Self::Limit,
        Self::Connect,
        Self::Timeout,
        Self::Reset,
        Self::Resources,
    ];

    /// The value of the label `result`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::NoEndpoint => "no_endpoint",
            Self::Limit => "limit",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Resources => "resources",
        }
    }
}

/// A handle on what is counted of one listener's connections to one upstream.
#[derive(Clone)]
pub struct PassthroughStats(Row);

impl fmt::Debug for PassthroughStats {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PassthroughStats").finish_non_exhaustive()
    }
}

impl PassthroughStats {
    pub(crate) fn new(row: Row) -> Self {
        Self(row)
    }

    /// A connection is being passed on. One [`finish`](Self::finish) must follow.
    pub fn begin(&self) {
        self.0.cell()[ACTIVE].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts bytes that were passed on.
    pub fn passed(&self, direction: Direction, bytes: u64) {
        self.0.cell()[BYTES + direction as usize].fetch_add(bytes, Ordering::Relaxed);
    }

    /// The connection is over.
    pub fn finish(&self, result: PassthroughResult) {
        let cell = self.0.cell();
        cell[ACTIVE].fetch_sub(1, Ordering::Relaxed);
        cell[RESULTS + result as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// What is exposed of one listener's connections to one upstream.
#[derive(Debug)]
pub(crate) struct PassthroughFigures {
    pub(crate) name: PassthroughName,
    pub(crate) active: u64,
    pub(crate) bytes: [(&'static str, u64); Direction::ALL.len()],
    pub(crate) results: [(PassthroughResult, u64); PassthroughResult::ALL.len()],
}

impl PassthroughFigures {
    pub(crate) fn of(name: &PassthroughName, row: &Row) -> Self {
        Self {
            name: name.clone(),
            active: row.level(ACTIVE),
            bytes: Direction::ALL
                .map(|(direction, label)| (label, row.sum(BYTES + direction as usize))),
            results: PassthroughResult::ALL
                .map(|result| (result, row.sum(RESULTS + result as usize))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Registry;

    #[test]
    fn connections_are_exposed_by_listener_and_upstream_until_the_last_is_over() {
        let registry = Registry::new(1);
        let names = [("web".into(), "db".into())];
        let stats = registry.passthroughs(&names).remove(0);
        stats.begin();
        stats.passed(Direction::Request, 10);
        stats.passed(Direction::Response, 30);
        let has = |line: &str| {
            let text = registry.render();
            assert!(text.lines().any(|it| it == line), "no {line} in\n{text}");
        };
        let labels = r#"listener="web",upstream="db""#;
        registry.passthroughs(&[]);
        has(&format!("sallyport_passthrough_connections_active{{{labels}}} 1"));
        let bytes = "sallyport_passthrough_bytes_total";
        has(&format!(r#"{bytes}{{{labels},direction="request"}} 10"#));
        has(&format!(r#"{bytes}{{{labels},direction="response"}} 30"#));
        registry.passthroughs(&names);
        stats.finish(PassthroughResult::Reset);
        let total = "sallyport_passthrough_connections_total";
        has(&format!(r#"{total}{{{labels},result="reset"}} 1"#));
        has(&format!(r#"{total}{{{labels},result="success"}} 0"#));
        registry.passthroughs(&[]);
        assert!(!registry.render().contains("sallyport_passthrough"));
    }
}
