//! What the gateway has to reach, against whom, in which row.
//!
//! One table, and the judging of results by it. A gate whose other side has no figure is told as not
//! judged; one without a figure of the gateway's own makes the run invalid.

use super::entry::Entry;
use super::rows::Row;
use super::{FrontResult, Results, TrafficResult, turns};
use crate::figures::Spread;
use crate::verdict::Verdict;

/// Whom the gateway has to be ahead of in every row.
const EVERYWHERE: [&str; 4] = ["envoy", "caddy", "traefik", "pingap"];
/// Whom it has to be ahead of in [`AHEAD_ROWS`].
const SOMEWHERE: [&str; 2] = ["nginx", "haproxy"];
const AHEAD_ROWS: [Row; 3] = [Row::RoutesLast, Row::Reload, Row::Flood];
/// CPU per request over that of a Pingora proxy that does nothing else.
const OVER_BARE: f64 = 1.05;
/// CPU over that of the better of nginx and HAProxy where clients come by TLS.
const OVER_BEST_BY_TLS: f64 = 1.1;
const JUDGED: &str = "sallyport";

/// The gateway's figure over another proxy's.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// In which row.
    pub row: Row,
    /// Over whose.
    pub than: &'static str,
    /// What it may at most be.
    pub at_most: f64,
}

/// Every gate on a run of `rows`.
pub fn gates(rows: &[Row]) -> Vec<Gate> {
    let mut gates = Vec::new();
    for &row in rows {
        let ahead = |than| Gate { row, than, at_most: 1.0 };
        if row == Row::Plain {
            gates.push(Gate { row, than: "bare", at_most: OVER_BARE });
        }
        gates.extend(EVERYWHERE.map(ahead));
        let over = |than, at_most| Gate { row, than, at_most };
        match row {
            Row::H2 => gates.push(over("nginx", 1.0)),
            Row::TlsRequests | Row::TlsHandshakes | Row::TlsResumed => {
                gates.extend(SOMEWHERE.map(|than| over(than, OVER_BEST_BY_TLS)));
            }
            _ => {}
        }
        if AHEAD_ROWS.contains(&row) {
            gates.extend(SOMEWHERE.map(ahead));
        }
    }
    gates
}

/// What became of one figure of one gate.
#[derive(Clone, Debug, PartialEq)]
enum Judged {
    Met,
    Missed(String),
    /// The gateway has no figure.
    NoFigure(String),
    /// The other proxy has none.
    OtherHasNone(String),
}

/// Requests of the gateway's that failed: its other figures are not worth much then.
fn errors(results: &Results) -> Vec<String> {
    let ours = |traffic: &TrafficResult| {
        let entry = traffic.entries.iter().find(|entry| entry.proxy == JUDGED)?;
        let failed: u64 = entry.samples.iter().map(turns::Sample::failed).sum();
        (failed > 0)
            .then(|| format!("{}: {failed} requests of {JUDGED} failed", traffic.row.name()))
    };
    let front = |front: &FrontResult| {
        let entry = front.entries.iter().find(|entry| entry.proxy == JUDGED)?;
        let failed: u64 = entry.samples.iter().map(|one| one.failed).sum();
        (failed > 0).then(|| format!("{}: {failed} requests of {JUDGED} failed", front.row.name()))
    };
    let traffic = results.traffic.iter().filter_map(ours);
    traffic.chain(results.fronts.iter().filter_map(front)).collect()
}

/// One figure that two proxies are compared by; less is better.
struct Figure {
    name: &'static str,
    ours: Option<Spread>,
    theirs: Option<Spread>,
}

/// Judges a run by all gates on its rows, and what there was no figure of the other side for.
pub fn judge(results: &Results, rows: &[Row]) -> (Verdict, Vec<String>) {
    let (mut missed, mut missing, mut open) = (errors(results), Vec::new(), Vec::new());
    for gate in gates(rows) {
        for figure in figures(results, &gate) {
            match judge_figure(&gate, &figure) {
                Judged::Met => {}
                Judged::Missed(text) => missed.push(text),
                Judged::NoFigure(text) => missing.push(text),
                Judged::OtherHasNone(text) => open.push(text),
            }
        }
    }
    missing.dedup();
    let verdict = match (missing.is_empty(), missed.is_empty()) {
        (false, _) => Verdict::Invalid(missing),
        (true, false) => Verdict::Fail(missed.join("\n      ")),
        (true, true) => Verdict::Pass,
    };
    (verdict, open)
}

fn judge_figure(gate: &Gate, figure: &Figure) -> Judged {
    let (row, than, name) = (gate.row.name(), gate.than, figure.name);
    match (figure.ours, figure.theirs) {
        (None, _) => Judged::NoFigure(format!("{row}: no {name} of {JUDGED}")),
        (_, None) => Judged::OtherHasNone(format!("{row}: no {name} of {than}")),
        (Some(ours), Some(theirs)) if ours.median <= theirs.median * gate.at_most => Judged::Met,
        (Some(ours), Some(theirs)) => {
            let (ours, theirs, at_most) = (ours.median, theirs.median, gate.at_most);
            Judged::Missed(format!(
                "{row}: {name} {ours:.2} is above {at_most} x {theirs:.2} of {than}"
            ))
        }
    }
}

/// CPU decides where requests are measured, KiB where connections idle. A reload is judged by what
/// fails, what waits and what it costs, a flood by what the good source notices and what it costs.
fn figures(results: &Results, gate: &Gate) -> Vec<Figure> {
    let than = gate.than;
    match gate.row {
        Row::Idle => {
            let kib =
                pair("KiB per connection", &results.idle, than, |one| one.kib_per_connection());
            vec![kib]
        }
        Row::Reload => vec![
            pair("failed requests", &results.reload, than, |one| one.failed as f64),
            pair_of_some("p99 us", &results.reload, than, |one| one.p99_us),
            pair("CPU ms", &results.reload, than, |one| one.cpu_ms),
        ],
        Row::Flood => vec![
            pair("failed requests", &results.flood, than, |one| one.failed as f64),
            pair_of_some("p99 us of the good", &results.flood, than, |one| one.p99_us),
            pair("CPU share", &results.flood, than, |one| one.cpu_flood),
        ],
        row if row.is_front() => {
            let entries = results.front(row).map(|front| &front.entries[..]).unwrap_or_default();
            vec![pair("CPU us per request", entries, than, |one| one.cpu_us_per_request)]
        }
        row => {
            let entries =
                results.traffic(row).map(|traffic| &traffic.entries[..]).unwrap_or_default();
            vec![pair("CPU us per request", entries, than, |one| one.saturated.cpu_us_per_request)]
        }
    }
}

fn pair<Sample>(
    name: &'static str,
    entries: &[Entry<Sample>],
    than: &str,
    figure: fn(&Sample) -> f64,
) -> Figure {
    let of = |proxy: &str| entries.iter().find(|entry| entry.proxy == proxy)?.spread(figure);
    Figure { name, ours: of(JUDGED), theirs: of(than) }
}

fn pair_of_some<Sample>(
    name: &'static str,
    entries: &[Entry<Sample>],
    than: &str,
    figure: fn(&Sample) -> Option<f64>,
) -> Figure {
    let entry = |proxy: &str| entries.iter().find(|entry| entry.proxy == proxy);
    let of = |proxy| entry(proxy)?.spread_of_some(figure);
    Figure { name, ours: of(JUDGED), theirs: of(than) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idle;

    fn holding(proxy: &'static str, kib: u64) -> Entry<idle::Sample> {
        let sample = idle::Sample { before_bytes: 0, after_bytes: kib * 1024, connections: 1 };
        Entry { proxy, samples: vec![sample], absent: None }
    }

    fn judged(idle: Vec<Entry<idle::Sample>>) -> (Verdict, Vec<String>) {
        judge(&Results { idle, ..Results::default() }, &[Row::Idle])
    }

    #[test]
    fn every_row_is_gated_and_some_of_them_harder() {
        assert_eq!(gates(&[Row::Body64k]).len(), 4);
        assert_eq!(gates(&[Row::RoutesLast]).len(), 6);
        let plain = gates(&[Row::Plain]);
        assert!(plain.contains(&Gate { row: Row::Plain, than: "bare", at_most: 1.05 }));
        let h2 = gates(&[Row::H2]);
        assert!(h2.contains(&Gate { row: Row::H2, than: "nginx", at_most: 1.0 }));
        assert_eq!(gates(&[Row::TlsResumed]).len(), 6);
    }

    #[test]
    fn less_than_every_other_passes_and_more_than_one_fails() {
        let others = |envoy| {
            vec![
                holding("sallyport", 20),
                holding("envoy", envoy),
                holding("caddy", 24),
                holding("traefik", 25),
                holding("pingap", 90),
            ]
        };
        assert_eq!(judged(others(21)), (Verdict::Pass, Vec::new()));
        let (Verdict::Fail(reason), _) = judged(others(15)) else { panic!("passed") };
        assert_eq!(reason, "idle: KiB per connection 20.00 is above 1 x 15.00 of envoy");
    }

    #[test]
    fn who_has_no_figure_is_named_and_the_gateway_must_have_one() {
        let (verdict, open) = judged(vec![holding("sallyport", 20), holding("envoy", 21)]);
        assert_eq!((verdict, open.len()), (Verdict::Pass, 3));
        assert!(matches!(judged(vec![holding("envoy", 21)]).0, Verdict::Invalid(_)));
    }
}
