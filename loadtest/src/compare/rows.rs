//! The rows of the comparison: what is asked for, of which site, at which rate.
//!
//! The rate of a row is the same for all proxies and low enough for the slowest that was seen, because
//! latencies mean something only where all of them keep up.

use crate::origin::{Origin, Stage};
use crate::site::{Feature, Site, path};
use clap::ValueEnum;
use serde::Serialize;

/// Routes of the large tables.
pub const ROUTES: usize = 10_000;
/// Routes of every other.
const FEW_ROUTES: usize = 100;
const UPSTREAMS: usize = 100;
const ENDPOINTS: usize = 10;
const KIB: usize = 1024;
/// Far above any load here: asked for each request, and refusing none.
const FAR_ABOVE_PER_S: u32 = 1_000_000;

/// The rows, in the order in which they are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Row {
    /// 100 routes, 1 KiB, keep-alive.
    Plain,
    /// The first of 10,000 routes.
    RoutesFirst,
    /// The last of them.
    RoutesLast,
    /// 100 upstreams of 10 endpoints each, asked for in turn.
    Upstreams,
    /// 64 KiB.
    #[value(name = "body-64k")]
    #[serde(rename = "body-64k")]
    Body64k,
    /// 1 MiB.
    #[value(name = "body-1m")]
    #[serde(rename = "body-1m")]
    Body1m,
    /// A new connection for every request.
    Connections,
    /// A request field set, a response field set and one removed.
    Headers,
    /// A token bucket for each source, far above the load.
    RateLimit,
    /// Clients by HTTP/2 in clear text, 8 connections of 8 requests at a time.
    H2,
    /// The same by TLS.
    H2Tls,
    /// Keep-alive by HTTP/1.1 and TLS 1.3.
    TlsRequests,
    /// A full handshake for every request.
    TlsHandshakes,
    /// The same, each resuming a session.
    TlsResumed,
    /// Memory of idle keep-alive connections.
    Idle,
    /// A file of 10,000 routes replaced under load.
    Reload,
    /// A source far beyond its limit beside a good one.
    Flood,
}

/// What a row that measures requests asks for.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// Routes of the site.
    pub routes: usize,
    /// What stands behind.
    pub stage: Stage,
    /// What is done to requests.
    pub feature: Feature,
    /// Paths asked for in turn.
    pub paths: Vec<String>,
    /// Rate at which latencies are taken.
    pub rate_per_s: u32,
    /// A connection for every request.
    pub close: bool,
    /// Whether it means nothing without routes.
    pub needs_routes: bool,
}

impl Row {
    /// Its name on the command line and in the tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::RoutesFirst => "routes-first",
            Self::RoutesLast => "routes-last",
            Self::Upstreams => "upstreams",
            Self::Body64k => "body-64k",
            Self::Body1m => "body-1m",
            Self::Connections => "connections",
            Self::Headers => "headers",
            Self::RateLimit => "rate-limit",
            Self::H2 => "h2",
            Self::H2Tls => "h2-tls",
            Self::TlsRequests => "tls-requests",
            Self::TlsHandshakes => "tls-handshakes",
            Self::TlsResumed => "tls-resumed",
            Self::Idle => "idle",
            Self::Reload => "reload",
            Self::Flood => "flood",
        }
    }

    /// The traffic of a row that measures requests, with so many routes in the large tables; none of
    /// the other rows.
    pub fn traffic(self, many_routes: usize) -> Option<Traffic> {
        let plain = Traffic {
            routes: FEW_ROUTES,
            stage: Stage::one(KIB),
            feature: Feature::None,
            paths: vec![path(FEW_ROUTES / 2)],
            rate_per_s: 2000,
            close: false,
            needs_routes: false,
        };
        let large = |index| Traffic {
            routes: many_routes,
            paths: vec![path(index)],
            needs_routes: true,
            ..plain.clone()
        };
        let body = |body_bytes, rate_per_s| Traffic {
            stage: Stage::one(body_bytes),
            rate_per_s,
            ..plain.clone()
        };
        let featured = |feature| Traffic { feature, ..plain.clone() };
        match self {
            Self::Plain => Some(plain),
            Self::RoutesFirst => Some(Traffic { rate_per_s: 100, ..large(0) }),
            // Before the one that takes the rest.
            Self::RoutesLast => Some(Traffic { rate_per_s: 100, ..large(many_routes - 2) }),
            Self::Upstreams => Some(upstreams(plain)),
            Self::Body64k => Some(body(64 * KIB, 1000)),
            Self::Body1m => Some(body(KIB * KIB, 150)),
            Self::Connections => Some(Traffic { rate_per_s: 1000, close: true, ..plain }),
            Self::Headers => Some(featured(Feature::Headers)),
            Self::RateLimit => Some(featured(Feature::RateLimit { per_s: FAR_ABOVE_PER_S })),
            Self::H2
            | Self::H2Tls
            | Self::TlsRequests
            | Self::TlsHandshakes
            | Self::TlsResumed
            | Self::Idle
            | Self::Reload
            | Self::Flood => None,
        }
    }

    /// Whether clients reach the proxy by HTTP/2 or TLS.
    pub fn is_front(self) -> bool {
        use Row::{H2, H2Tls, TlsHandshakes, TlsRequests, TlsResumed};
        matches!(self, H2 | H2Tls | TlsRequests | TlsHandshakes | TlsResumed)
    }
}

/// One route for each upstream, in an order that leaves neighbours apart.
fn upstreams(plain: Traffic) -> Traffic {
    let stage = Stage { upstreams: UPSTREAMS, endpoints: ENDPOINTS, ..plain.stage };
    let paths = (0..UPSTREAMS).map(|index| path(index * 37 % UPSTREAMS)).collect();
    Traffic { routes: UPSTREAMS + 1, stage, paths, needs_routes: true, ..plain }
}

impl Traffic {
    /// The site before `origin`.
    pub fn site(&self, origin: &Origin) -> Site {
        Site::new(self.routes, origin.upstreams.clone()).with(self.feature.clone())
    }

    /// What `wrk` needs to ask for the paths in turn; none where there is one.
    pub fn script(&self) -> Option<String> {
        let [_, _, ..] = &self.paths[..] else { return None };
        let paths: Vec<String> = self.paths.iter().map(|path| format!("{path:?}")).collect();
        Some(format!(
            "local paths, requests, turn = {{ {} }}, {{}}, 0\n\
             function init() for i, path in ipairs(paths) do \
             requests[i] = wrk.format(\"GET\", path) end end\n\
             function request() turn = turn % #requests + 1 return requests[turn] end\n",
            paths.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_command_line() {
        for row in Row::value_variants() {
            assert_eq!(row.to_possible_value().unwrap().get_name(), row.name());
            assert_eq!(serde_json::to_value(row).unwrap(), row.name());
        }
    }

    #[test]
    fn the_last_route_is_the_one_before_the_rest() {
        let traffic = Row::RoutesLast.traffic(10_000).unwrap();
        assert_eq!(traffic.paths, ["/r09998/x"]);
        assert_eq!(Row::RoutesFirst.traffic(10_000).unwrap().paths, ["/r00000/x"]);
    }

    #[test]
    fn every_upstream_is_asked_for_once_a_turn() {
        let traffic = Row::Upstreams.traffic(10_000).unwrap();
        let mut paths = traffic.paths.clone();
        paths.sort();
        paths.dedup();
        assert_eq!((paths.len(), traffic.routes), (100, 101));
        assert!(traffic.script().unwrap().contains("\"/r00000/x\", \"/r00037/x\""));
        assert_eq!(Row::Plain.traffic(10_000).unwrap().script(), None);
    }
}
