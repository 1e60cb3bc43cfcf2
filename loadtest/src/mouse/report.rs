//! The turns as a table, as JSON and as a picture.

use super::verdict::{each, ratio};
use super::{Plan, Turn};
use crate::figures::Spread;
use crate::machine::Machine;
use crate::plot::Lines;
use crate::report::table;
use crate::verdict::Verdict;
use anyhow::Result;
use serde::Serialize;
use std::path::Path;

/// A run as it goes into a file.
#[derive(Debug, Serialize)]
pub struct Summary<'run> {
    /// The machine and its programs.
    pub machine: Machine,
    /// TCP congestion control in force.
    pub congestion_control: String,
    /// What was asked for.
    pub plan: &'run Plan,
    /// Every turn.
    pub turns: &'run [Turn],
    /// What the gate is on.
    pub ratio: Option<Spread>,
    /// What the ratio may be.
    pub gate: f64,
    /// What became of it.
    pub verdict: &'run Verdict,
}

/// One row a cell: medians of the rounds.
pub fn tables(plan: &Plan, turns: &[Turn]) -> String {
    let heads = [
        "downloads",
        "small",
        "p50 us",
        "p99 us",
        "min..max",
        "p99.9 us",
        "direct p99",
        "req/s",
        "bulk MB/s",
        "gateway",
        "others",
        "load",
        "its CPU",
        "retaken",
    ];
    let cells =
        plan.bulk.iter().flat_map(|&bulk| plan.small.iter().map(move |&small| (bulk, small)));
    let rows = cells.map(|cell| row(cell, plan, turns)).collect();
    let gate = ratio(turns).map_or("-".to_owned(), |ratio| {
        format!("{:.2} ({:.2}..{:.2})", ratio.median, ratio.min, ratio.max)
    });
    format!("{}\np99(128, 10) / p99(0, 10): {gate}\n", table(&heads, rows))
}

fn row(cell: (usize, usize), plan: &Plan, turns: &[Turn]) -> Vec<String> {
    let of = |figure: fn(&Turn) -> f64| Spread::of(each(turns, cell, figure));
    let median = |figure: fn(&Turn) -> f64| of(figure).map(|spread| spread.median);
    let whole = |figure: Option<f64>| figure.map_or("-".to_owned(), |it| format!("{it:.0}"));
    let percent = |figure: fn(&Turn) -> f64| whole(median(figure).map(|it| it * 100.0)) + " %";
    let retaken: f64 = each(turns, cell, |turn| turn.takes.saturating_sub(1) as f64).iter().sum();
    let p99 = of(|turn| turn.p99_us);
    let rate = median(|turn| turn.requests as f64).map(|requests| requests / plan.seconds as f64);
    vec![
        cell.0.to_string(),
        cell.1.to_string(),
        whole(median(|turn| turn.p50_us)),
        whole(p99.map(|it| it.median)),
        p99.map_or("-".to_owned(), |it| format!("{:.0}..{:.0}", it.min, it.max)),
        whole(median(|turn| turn.p999_us)),
        whole(median(|turn| turn.direct_p99_us)),
        whole(rate),
        whole(median(|turn| turn.bulk_mb_per_s)),
        percent(|turn| turn.gateway_busy),
        percent(|turn| turn.disturbance),
        percent(|turn| turn.load_own),
        percent(|turn| turn.load_busy),
        retaken.to_string(),
    ]
}

/// Draws p99 against the number of downloads, one line for each number of small clients, into `file`.
///
/// # Errors
/// The file cannot be written.
pub fn draw(plan: &Plan, turns: &[Turn], gate: f64, file: &Path) -> Result<()> {
    let p99 = |cell| Spread::of(each(turns, cell, |turn| turn.p99_us)).map(|it| it.median);
    let points = |small: usize| {
        let cells = plan.bulk.iter().filter_map(|&bulk| Some((bulk as f64, p99((bulk, small))?)));
        cells.collect()
    };
    let series = plan.small.iter().map(|&small| (format!("{small} small clients"), points(small)));
    let rule = p99((0, 10)).map(|alone| ("gate of 10 small clients".to_owned(), alone * gate));
    let lines = Lines {
        title: "Small requests beside long downloads".to_owned(),
        x: format!("downloads, {} kB/s each", plan.bulk_kb_per_s),
        y: "p99, microseconds".to_owned(),
        log_x: false,
        log_y: true,
        series: series.collect(),
        rules: rule.into_iter().collect(),
    };
    lines.write(file)
}

#[cfg(test)]
mod tests {
    use super::super::verdict::tests::turn;
    use super::*;

    fn plan() -> Plan {
        let (bulk, small) = (vec![0, 128], vec![1, 10]);
        Plan { rounds: 1, seconds: 5, bulk, small, bulk_kb_per_s: 500 }
    }

    #[test]
    fn every_cell_has_a_row_even_if_it_was_not_measured() {
        let turns = [turn(0, 10, 200.0), turn(128, 10, 300.0)];
        let text = tables(&plan(), &turns);
        assert!(text.contains("1.50 (1.50..1.50)"), "{text}");
        let rows: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1][..4], ["0", "1", "-", "-"]);
        assert_eq!(rows[2][..4], ["0", "10", "100", "200"]);
    }

    #[test]
    fn the_gate_is_drawn() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mouse.svg");
        draw(&plan(), &[turn(0, 10, 200.0), turn(128, 10, 300.0)], 2.0, &file).unwrap();
        let picture = std::fs::read_to_string(file).unwrap();
        assert!(picture.contains("gate of 10 small clients: 400"), "{picture}");
    }
}
