//! The plots of the comparison: what the README shows.

use super::entry::Entry;
use super::rows::Row;
use super::{Results, TrafficResult};
use crate::figures::Spread;
use crate::plot::{Bars, Group};
use anyhow::Result;
use std::path::Path;

/// Draws whatever there are figures for into `folder`.
///
/// # Errors
/// A file cannot be written.
pub fn draw(results: &Results, folder: &Path) -> Result<()> {
    let of = |rows: fn(Row) -> bool| -> Vec<&TrafficResult> {
        results.traffic.iter().filter(|traffic| rows(traffic.row)).collect()
    };
    let large = |row| matches!(row, Row::Body64k | Row::Body1m);
    let routes = |row| matches!(row, Row::RoutesFirst | Row::RoutesLast);
    let rest = |row| !matches!(row, Row::Body64k | Row::Body1m);
    bars("CPU per request at saturation", "us", cpu(&of(rest)), &folder.join("cpu.svg"))?;
    bars("CPU per request, large bodies", "us", cpu(&of(large)), &folder.join("bodies.svg"))?;
    bars(
        "First and last of many routes",
        "us of CPU",
        cpu(&of(routes)),
        &folder.join("routes.svg"),
    )?;
    bars("p99 at the same offered rate", "us", p99(&of(|_| true)), &folder.join("p99.svg"))?;
    let idle = group("idle connection", &results.idle, |one| one.kib_per_connection());
    bars("Memory of an idle connection", "KiB", idle, &folder.join("idle.svg"))?;
    bars("A reload of many routes", "ms", reload(results), &folder.join("reload.svg"))?;
    let flood = group("CPU in the flood", &results.flood, |one| one.cpu_flood * 100.0);
    bars("A source far beyond its limit", "% of a CPU", flood, &folder.join("flood.svg"))
}

fn bars(title: &str, unit: &str, groups: Vec<Group>, file: &Path) -> Result<()> {
    if groups.is_empty() {
        return Ok(());
    }
    let (title, unit) = (title.to_owned(), unit.to_owned());
    Bars { title, unit, groups, log: false }.write(file)
}

/// No group where the row was not measured.
fn group<Sample>(
    label: &str,
    entries: &[Entry<Sample>],
    figure: impl Fn(&Sample) -> f64,
) -> Vec<Group> {
    group_of_some(label, entries, |one| Some(figure(one)))
}

fn group_of_some<Sample>(
    label: &str,
    entries: &[Entry<Sample>],
    figure: impl Fn(&Sample) -> Option<f64>,
) -> Vec<Group> {
    let bar = |entry: &Entry<Sample>| (entry.proxy.to_owned(), entry.spread_of_some(&figure));
    let bars: Vec<(String, Option<Spread>)> = entries.iter().map(bar).collect();
    if bars.is_empty() { Vec::new() } else { vec![(label.to_owned(), bars)] }
}

fn cpu(rows: &[&TrafficResult]) -> Vec<Group> {
    let of = |traffic: &&TrafficResult| {
        group(traffic.row.name(), &traffic.entries, |one| one.saturated.cpu_us_per_request)
    };
    rows.iter().flat_map(of).collect()
}

fn p99(rows: &[&TrafficResult]) -> Vec<Group> {
    let of = |traffic: &&TrafficResult| {
        let label = format!("{}, {}/s", traffic.row.name(), traffic.rate_per_s);
        group_of_some(&label, &traffic.entries, |one| {
            one.offered.figures.p99_us.filter(|_| !one.offered.figures.fell_behind)
        })
    };
    rows.iter().flat_map(of).collect()
}

fn reload(results: &Results) -> Vec<Group> {
    let mut groups = group("until in force", &results.reload, |one| one.effect_ms);
    groups.extend(group("CPU time", &results.reload, |one| one.cpu_ms));
    groups.extend(group_of_some("p99 meanwhile", &results.reload, |one| Some(one.p99_us? / 1e3)));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idle;

    #[test]
    fn what_was_not_measured_is_not_drawn() {
        let dir = tempfile::tempdir().unwrap();
        let sample = idle::Sample { before_bytes: 0, after_bytes: 2048, connections: 1 };
        let idle = vec![
            Entry { proxy: "sallyport", samples: vec![sample], absent: None },
            Entry { proxy: "pingap", samples: Vec::new(), absent: None },
        ];
        draw(&Results { idle, ..Results::default() }, dir.path()).unwrap();
        let files = std::fs::read_dir(dir.path()).unwrap();
        let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
        assert_eq!(names, ["idle.svg"]);
    }
}
