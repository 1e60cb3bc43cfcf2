//! A run as tables, as JSON and as a picture.

use super::arithmetic::{starved, structural, variation};
use super::{Flow, Plan, Run};
use crate::machine::Machine;
use crate::plot::Lines;
use crate::report::table;
use crate::verdict::Verdict;
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

const MB: f64 = 1e6;

/// A run as it goes into a file.
#[derive(Debug, Serialize)]
pub struct Summary<'run> {
    /// The machine and its programs.
    pub machine: Machine,
    /// TCP congestion control in force.
    pub congestion_control: String,
    /// What was asked for.
    pub plan: &'run Plan,
    /// What was seen.
    pub run: &'run Run,
    /// Downloads of each worker that had any.
    pub per_worker: Option<Vec<usize>>,
    /// What unevenness the workers explain.
    pub structural: Option<f64>,
    /// What unevenness there was.
    pub observed: Option<f64>,
    /// Downloads, counted from 0, that got nothing.
    pub starved: Vec<usize>,
    /// What became of it.
    pub verdict: &'run Verdict,
}

impl<'run> Summary<'run> {
    /// Sums up `run`.
    pub fn of(
        plan: &'run Plan,
        run: &'run Run,
        verdict: &'run Verdict,
        congestion_control: String,
    ) -> Self {
        let per_worker = run.per_worker();
        let rates: Vec<f64> = run.flows.iter().map(Flow::rate).collect();
        let steady: Vec<&[u64]> = run.flows.iter().map(Flow::steady).collect();
        Self {
            machine: Machine::describe(),
            congestion_control,
            plan,
            run,
            structural: per_worker.as_deref().and_then(structural),
            per_worker,
            observed: variation(&rates),
            starved: starved(&steady),
            verdict,
        }
    }
}

/// Downloads, workers and clients with their rates, and the two coefficients.
pub fn tables(summary: &Summary<'_>) -> String {
    let run = summary.run;
    let or_dash = |figure: Option<f64>| figure.map_or("-".to_owned(), |it| format!("{it:.3}"));
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    format!(
        "{}\n{}\n{}\nvariation of the rates: {} observed, {} explained by the workers\n\
         the gateway ran {}, others on its CPU {}, clients and origin {}, anything on their CPU {}\n",
        downloads(run),
        grouped(run, "worker", |flow| flow.worker),
        grouped(run, "client", |flow| Some(flow.client)),
        or_dash(summary.observed),
        or_dash(summary.structural),
        percent(run.gateway_busy),
        percent(run.disturbance),
        percent(run.load_own),
        percent(run.load_busy),
    )
}

fn downloads(run: &Run) -> String {
    let row = |(index, flow): (usize, &Flow)| {
        let steady = flow.steady().iter();
        let ends = [steady.clone().min(), steady.max()];
        let [least, most] = ends.map(|bytes| bytes.map_or("-".to_owned(), |&it| mb(it as f64)));
        let worker = flow.worker.map_or("-".to_owned(), |worker| worker.to_string());
        let client = flow.client.to_string();
        vec![(index + 1).to_string(), client, worker, mb(flow.rate()), least, most]
    };
    let heads = ["download", "client", "worker", "MB/s", "least", "most"];
    table(&heads, run.flows.iter().enumerate().map(row).collect())
}

fn grouped(run: &Run, by: &str, of: fn(&Flow) -> Option<usize>) -> String {
    let mut groups: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for flow in &run.flows {
        if let Some(group) = of(flow) {
            groups.entry(group).or_default().push(flow.rate());
        }
    }
    let row = |(group, rates): (&usize, &Vec<f64>)| {
        vec![group.to_string(), rates.len().to_string(), mb(rates.iter().sum())]
    };
    table(&[by, "downloads", "MB/s"], groups.iter().map(row).collect())
}

fn mb(bytes: f64) -> String {
    format!("{:.1}", bytes / MB)
}

/// Draws every download's rate over time into `file`.
///
/// # Errors
/// The file cannot be written.
pub fn draw(run: &Run, file: &Path) -> Result<()> {
    let name = |index: usize, flow: &Flow| match flow.worker {
        Some(worker) => format!("{}, worker {worker}", index + 1),
        None => format!("{}", index + 1),
    };
    let points = |flow: &Flow| {
        let seconds = flow.bytes_per_s.iter().enumerate();
        seconds.map(|(second, &bytes)| (second as f64, bytes as f64 / MB)).collect()
    };
    let flows = run.flows.iter().enumerate();
    let lines = Lines {
        title: format!("{} downloads through {} workers", run.flows.len(), run.threads),
        x: "second of the run".to_owned(),
        y: "MB/s".to_owned(),
        log_x: false,
        log_y: false,
        series: flows.map(|(index, flow)| (name(index, flow), points(flow))).collect(),
        rules: Vec::new(),
    };
    lines.write(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        let flow = |client, worker, rate| Flow { client, worker, bytes_per_s: vec![rate; 10] };
        let flows = vec![flow(0, Some(4), 2_000_000), flow(1, None, 1_000_000)];
        let (gateway_busy, disturbance, load_own, load_busy) = (0.9, 0.0, 0.4, 0.5);
        Run { flows, threads: 2, stayed: None, gateway_busy, disturbance, load_own, load_busy }
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        let plan = Plan { threads: 2, flows: 2, clients: 2, seconds: 10 };
        let (run, verdict) = (run(), Verdict::Pass);
        let summary = Summary::of(&plan, &run, &verdict, "cubic".to_owned());
        let text = tables(&summary);
        assert!(text.contains("- explained by the workers"), "{text}");
        assert!(text.contains("0.333 observed"), "{text}");
        assert_eq!(grouped(&run, "worker", |flow| flow.worker).lines().count(), 2);
    }

    #[test]
    fn every_download_is_drawn() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("rates.svg");
        draw(&run(), &file).unwrap();
        let picture = std::fs::read_to_string(file).unwrap();
        assert!(picture.contains("1, worker 4") && picture.contains("2 workers"));
    }
}
