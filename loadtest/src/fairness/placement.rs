//! Which worker a download fell to, as the gateway's own figures tell it.
//!
//! `sallyport_worker_requests_active` counts the requests under way on each worker. Downloads are begun one
//! after another and nothing else is asked for, so the worker whose count rose by one has the new one.

use crate::client::Client;
use crate::interrupt::Interrupt;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

const METRIC: &str = "sallyport_worker_requests_active";
/// How long a request may take to be counted.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(2);

/// Requests under way, by worker.
pub(super) type Active = BTreeMap<usize, i64>;

/// What tells the figures.
pub(super) struct Workers {
    admin: Client,
}

impl Workers {
    pub(super) fn at(admin: SocketAddr) -> Result<Self> {
        Ok(Self { admin: Client::connect(admin)? })
    }

    /// The requests under way now; empty if the gateway does not tell.
    pub(super) fn active(&mut self) -> Result<Active> {
        let text = String::from_utf8(self.admin.fetch("/metrics").context("/metrics")?)?;
        Ok(parse(&text))
    }

    /// Waits until `expected` requests are under way; what there is by then, or after some seconds.
    pub(super) fn settled(&mut self, expected: i64, interrupt: &Interrupt) -> Result<Active> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            interrupt.check()?;
            let active = self.active()?;
            if active.values().sum::<i64>() == expected || Instant::now() > deadline {
                return Ok(active);
            }
            sleep(POLL);
        }
    }
}

/// The worker that got the one request more; none if it is not exactly one.
pub(super) fn newcomer(before: &Active, after: &Active) -> Option<usize> {
    let grown = |(worker, active): (&usize, &i64)| {
        (*worker, active - before.get(worker).copied().unwrap_or(0))
    };
    let changed: Vec<(usize, i64)> = after.iter().map(grown).filter(|(_, by)| *by != 0).collect();
    match changed[..] {
        [(worker, 1)] => Some(worker),
        _ => None,
    }
}

fn parse(text: &str) -> Active {
    let lines = text.lines().filter_map(|line| line.strip_prefix(METRIC));
    let figure = |line: &str| {
        let (labels, value) = line.split_once(' ')?;
        let worker = labels.strip_prefix("{worker=\"")?.strip_suffix("\"}")?;
        Some((worker.parse().ok()?, value.trim().parse::<f64>().ok()? as i64))
    };
    lines.filter_map(figure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_workers_are_found_among_others() {
        let text = "# TYPE sallyport_worker_requests_active gauge\n\
                    sallyport_worker_requests_active{worker=\"0\"} 2\n\
                    sallyport_worker_requests_active{worker=\"1\"} 0\n\
                    sallyport_route_requests_active{route=\"bulk\"} 2\n";
        assert_eq!(parse(text), BTreeMap::from([(0, 2), (1, 0)]));
        assert!(parse("sallyport_config_version 1\n").is_empty());
    }

    #[test]
    fn the_newcomer_is_where_one_more_is() {
        let before = BTreeMap::from([(0, 2), (1, 0)]);
        assert_eq!(newcomer(&before, &BTreeMap::from([(0, 2), (1, 1)])), Some(1));
        assert_eq!(newcomer(&BTreeMap::new(), &BTreeMap::from([(3, 1)])), Some(3));
        assert_eq!(newcomer(&before, &before), None);
        assert_eq!(newcomer(&before, &BTreeMap::from([(0, 3), (1, 1)])), None);
        assert_eq!(newcomer(&before, &BTreeMap::from([(0, 1), (1, 2)])), None);
    }
}
