//! Tables for people, JSON for programs.
//!
//! Owns the form of what a run prints. Every figure comes with its range, and the conditions come
//! with the figures, because neither means anything alone.

use crate::bench::{Conditions, Cpus};
use crate::figures::Spread;
use crate::machine::Machine;
use crate::requests::DISTURBED;
use crate::verdict::{Verdict, ratio_to};
use crate::{idle, plugins, requests};
use anyhow::{Context, Result};
use serde::Serialize;
use std::fs;
use std::path::Path;

/// A whole run, as it goes into a file.
#[derive(Debug, Serialize)]
pub struct Report<'run, Plan, Series> {
    /// Which experiment.
    pub experiment: &'run str,
    /// The machine and its programs.
    pub machine: Machine,
    /// Kernel setting, CPUs, body.
    pub conditions: Conditions,
    /// Rounds and sizes.
    pub plan: &'run Plan,
    /// Every sample.
    pub series: &'run [Series],
    /// What became of it.
    pub verdict: &'run Verdict,
}

impl<Plan: Serialize, Series: Serialize> Report<'_, Plan, Series> {
    /// Two lines that say what the table below them was measured under.
    pub fn heading(&self) -> String {
        let Conditions { congestion_control, cpus, body_bytes, routes, workers } = &self.conditions;
        let Cpus { proxy, load } = cpus;
        let unknown = || "unknown".to_owned();
        format!(
            "{}: {congestion_control}, proxy on CPU {proxy}, load and origin on CPU {load}, \
             body {body_bytes} bytes, {routes} routes, workers: {workers}\nkernel {}, {}\n",
            self.experiment,
            self.machine.kernel.clone().unwrap_or_else(unknown),
            self.machine.processor.clone().unwrap_or_else(unknown),
        )
    }

    /// Prints the run, `table` in the middle, and writes it to `json` if that is given.
    pub fn publish(&self, table: &str, json: Option<&Path>) -> Result<()> {
        println!("\n{}\n{table}\n{}", self.heading(), self.verdict);
        json.map_or(Ok(()), |file| self.write_json(file))
    }

    /// Writes the whole run to `file`.
    pub fn write_json(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(file, text + "\n").with_context(|| file.display().to_string())
    }
}

/// The table of [`crate::requests`], with ratios to the proxy called `baseline`.
pub fn requests_table(all: &[requests::Series], baseline: &str) -> String {
    let against = format!("/ {baseline}");
    let heads = [
        "proxy",
        "CPU us/req",
        "min..max",
        &against,
        "min..max",
        "req/s",
        "p50 us",
        "p99 us",
        "busy",
        "disturbed",
    ];
    table(&heads, all.iter().map(|series| requests_row(series, all, baseline)).collect())
}

fn requests_row(
    series: &requests::Series,
    all: &[requests::Series],
    baseline: &str,
) -> Vec<String> {
    let of = |figure| Spread::of(series.each(figure));
    let [cpu, cpu_range] = cells(of(|sample| sample.cpu_us_per_request), 2);
    let [ratio, ratio_range] = cells(ratio_to(baseline, series, all), 3);
    let [rate, _] = cells(of(|sample| sample.requests_per_s), 0);
    let [p50, _] = cells(of(|sample| sample.p50_us), 0);
    let [p99, _] = cells(of(|sample| sample.p99_us), 0);
    let [busy, _] = cells(of(|sample| sample.utilisation * 100.0), 0);
    let rounds = series.samples.len();
    let disturbed = series.samples.iter().filter(|sample| sample.disturbance > DISTURBED).count();
    let name = series.name.clone();
    let disturbed = format!("{disturbed} of {rounds}");
    vec![name, cpu, cpu_range, ratio, ratio_range, rate, p50, p99, busy + "%", disturbed]
}

/// The table of [`crate::plugins`].
pub fn costs_table(costs: &[plugins::Cost]) -> String {
    let row = |cost: &plugins::Cost| {
        let [added, range] = cells(cost.added_us, 2);
        let gate = cost.gate_us.map_or("-".to_owned(), |gate| format!("{gate}"));
        vec![cost.of.to_owned(), added, range, gate]
    };
    table(&["filter", "added us/req", "min..max", "gate"], costs.iter().map(row).collect())
}

/// The table of [`crate::pushing`]'s ratios.
pub fn ratios_table(ratios: &[(&'static str, Option<Spread>)]) -> String {
    let row = |(what, ratio): &(&'static str, Option<Spread>)| {
        let [median, range] = cells(*ratio, 3);
        vec![(*what).to_owned(), median, range]
    };
    table(&["ratio", "median", "min..max"], ratios.iter().map(row).collect())
}

/// The table of [`crate::idle`].
pub fn idle_table(all: &[idle::Series]) -> String {
    let heads = ["proxy", "KiB/connection", "min..max", "connections", "base MiB"];
    table(&heads, all.iter().map(idle_row).collect())
}

fn idle_row(series: &idle::Series) -> Vec<String> {
    let samples = series.samples.iter();
    let [kib, kib_range] =
        cells(Spread::of(samples.clone().map(|one| one.kib_per_connection())), 2);
    let [base, _] = cells(Spread::of(samples.clone().map(|one| one.base_mib())), 1);
    let connections = samples.map(|one| one.connections).min().unwrap_or(0).to_string();
    vec![series.name.clone(), kib, kib_range, connections, base]
}

/// Median and range as text; a figure that cannot be had is a dash.
pub(crate) fn cells(spread: Option<Spread>, decimals: usize) -> [String; 2] {
    match spread {
        None => ["-".to_owned(), "-".to_owned()],
        Some(Spread { median, min, max }) => {
            [format!("{median:.decimals$}"), format!("{min:.decimals$}..{max:.decimals$}")]
        }
    }
}

/// Columns as wide as their widest cell, the first to the left and figures to the right.
pub fn table(heads: &[&str], rows: Vec<Vec<String>>) -> String {
    let heads: Vec<String> = heads.iter().map(|&head| head.to_owned()).collect();
    let all: Vec<Vec<String>> = [heads].into_iter().chain(rows).collect();
    let width = |column: usize| all.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..all[0].len()).map(width).collect();
    all.iter().map(|row| line(row, &widths)).collect()
}

fn line(row: &[String], widths: &[usize]) -> String {
    let pad = |(index, (cell, &width)): (usize, (&String, &usize))| match index {
        0 => format!("{cell:<width$}"),
        _ => format!("{cell:>width$}"),
    };
    let cells: Vec<String> = row.iter().zip(widths).enumerate().map(pad).collect();
    cells.join("  ").trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["nginx".to_owned(), "19.00".to_owned()]];
        assert_eq!(table(&["proxy", "us"], rows), "proxy     us\nnginx  19.00\n");
    }

    #[test]
    fn what_cannot_be_had_is_a_dash() {
        let empty = requests::Series { name: "nginx".to_owned(), samples: Vec::new() };
        let row = requests_row(&empty, std::slice::from_ref(&empty), "nginx");
        assert_eq!(row[1..4], ["-", "-", "-"]);
    }

    #[test]
    fn memory_is_shown_with_its_range() {
        let sample = |after_bytes| idle::Sample { before_bytes: 0, after_bytes, connections: 10 };
        let samples = vec![sample(10_240), sample(20_480), sample(30_720)];
        let series = idle::Series { name: "bare".to_owned(), samples };
        assert_eq!(idle_row(&series)[..4], ["bare", "2.00", "1.00..3.00", "10"]);
    }
}
