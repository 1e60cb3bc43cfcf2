//! The comparison: other proxies, one description, interleaved rounds.
//!
//! Owns the order of a run and what it leaves behind. Rows come one after another; in a row all proxies
//! run from the start and take turns. Nothing is left out: a proxy that cannot do what a row asks for,
//! or fails at it, is a dash with its reason, and what the gateway loses is printed like the rest.

pub mod entry;
pub mod field;
pub mod flood;
pub mod fronts;
pub mod gates;
mod markdown;
pub mod pictures;
pub mod reload;
pub mod results;
mod rounds;
pub mod rows;
pub mod tables;
pub mod turns;

use crate::bench::{Cpus, Scene, SceneOptions};
use crate::process::Process;
use crate::{idle, verdict::Verdict};
use anyhow::{Context, Result, ensure};
use entry::{Absence, Entry, failures};
use field::{Entrant, Peer, Programs};
use rows::{ROUTES, Row};
use serde::Serialize;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the comparison takes from the command line.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Who runs where.
    #[command(flatten)]
    pub cpus: Cpus,
    /// The programs that are not on the search path.
    #[command(flatten)]
    pub programs: Programs,
    /// Rounds and lengths.
    #[command(flatten)]
    pub plan: turns::Plan,
    /// The rows to measure; all if left out.
    #[arg(long, value_delimiter = ',')]
    pub rows: Vec<Row>,
    /// The proxies to measure; all if left out.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<Peer>,
    /// Folder that the folder of this run is made in.
    #[arg(long, value_name = "PATH", default_value = "loadtest/results")]
    pub results: PathBuf,
    /// Exit with 1 if the gateway misses what it has to reach.
    #[arg(long, conflicts_with = "smoke")]
    pub gate: bool,
    /// One short round of everything, whose figures mean nothing and are not kept.
    #[arg(long)]
    pub smoke: bool,
    /// Measure the flood here, which is a namespace for it alone, and leave the samples in this file.
    #[arg(long, value_name = "FILE", hide = true)]
    pub flood_into: Option<PathBuf>,
}

/// One row that measures requests.
#[derive(Clone, Debug, Serialize)]
pub struct TrafficResult {
    /// Which.
    pub row: Row,
    /// The rate at which latencies were taken.
    pub rate_per_s: u32,
    /// One for each proxy.
    pub entries: Vec<Entry<turns::Sample>>,
}

/// One row of clients by HTTP/2 or TLS.
#[derive(Clone, Debug, Serialize)]
pub struct FrontResult {
    /// Which.
    pub row: Row,
    /// One for each proxy.
    pub entries: Vec<Entry<fronts::Sample>>,
}

/// Everything a run has measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Results {
    /// Rows that measure requests.
    pub traffic: Vec<TrafficResult>,
    /// Rows of clients by HTTP/2 or TLS.
    pub fronts: Vec<FrontResult>,
    /// The row `idle`.
    pub idle: Vec<Entry<idle::Sample>>,
    /// The row `reload`.
    pub reload: Vec<Entry<reload::Sample>>,
    /// The row `flood`.
    pub flood: Vec<Entry<flood::Sample>>,
}

impl Results {
    /// One row that measures requests, if it was measured.
    pub fn traffic(&self, row: Row) -> Option<&TrafficResult> {
        self.traffic.iter().find(|traffic| traffic.row == row)
    }

    /// One row of clients by HTTP/2 or TLS, if it was measured.
    pub fn front(&self, row: Row) -> Option<&FrontResult> {
        self.fronts.iter().find(|front| front.row == row)
    }

    /// Whether every proxy that is there did what it can do.
    fn smoked(&self) -> Verdict {
        let named = |row: Row, failures: Vec<String>| {
            failures.into_iter().map(move |reason| format!("{}: {reason}", row.name()))
        };
        let traffic = self.traffic.iter().flat_map(|one| named(one.row, failures(&one.entries)));
        let fronts = self.fronts.iter().flat_map(|one| named(one.row, failures(&one.entries)));
        let reasons: Vec<String> = traffic
            .chain(fronts)
            .chain(named(Row::Idle, failures(&self.idle)))
            .chain(named(Row::Reload, failures(&self.reload)))
            .chain(named(Row::Flood, failures(&self.flood)))
            .collect();
        if reasons.is_empty() { Verdict::Pass } else { Verdict::Invalid(reasons) }
    }
}

/// How much of everything, which a smoke run makes small.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Extent {
    /// Rounds and lengths of the rows that measure requests.
    pub turns: turns::Plan,
    /// Routes of the large tables.
    pub routes: usize,
    /// Idle connections, and how often.
    pub idle: idle::Plan,
    /// Reloads.
    pub reload: reload::Plan,
    /// Floods of each proxy.
    pub flood_rounds: usize,
    /// Length of a flood.
    pub flood_s: u64,
}

impl Extent {
    fn of(options: &Options) -> Self {
        let (smoke, turns) = (options.smoke, options.plan);
        let routes = if smoke { 1000 } else { ROUTES };
        Self {
            turns: if smoke { turns::Plan { rounds: 1, seconds: 1, ..turns } } else { turns },
            routes,
            idle: idle::Plan { rounds: 1, count: if smoke { 200 } else { 10_000 } },
            reload: reload::Plan { routes, reloads: if smoke { 1 } else { 3 } },
            flood_rounds: if smoke { 1 } else { 2 },
            flood_s: if smoke { 1 } else { 4 },
        }
    }

    /// How long a run of `proxies` takes at most, about, if all of them take part in every row.
    pub fn estimate(&self, rows: &[Row], proxies: usize) -> Duration {
        let turns = &self.turns;
        let start_s = 1.5;
        let turn_s = 2.0 * turns.seconds as f64 + 0.2;
        let each_s = |row: &Row| match row {
            Row::Idle => self.idle.rounds as f64 * (start_s + self.idle.count as f64 * 0.0008),
            Row::Reload => 5.0 + start_s + 5.0 * self.reload.reloads as f64,
            Row::Flood => self.flood_rounds as f64 * (start_s + 3.5 + self.flood_s as f64),
            row if row.is_front() => {
                start_s + 1.0 + turns.rounds as f64 * (turns.seconds as f64 + 0.2)
            }
            _ => start_s + 1.0 + turns.rounds as f64 * turn_s,
        };
        Duration::from_secs_f64(rows.iter().map(each_s).sum::<f64>() * proxies as f64)
    }
}

impl Options {
    fn rows(&self) -> Vec<Row> {
        let all = <Row as clap::ValueEnum>::value_variants();
        let chosen = |row: &&Row| self.rows.is_empty() || self.rows.contains(row);
        all.iter().filter(chosen).copied().collect()
    }

    fn scene(&self) -> Result<Scene> {
        let (cpus, sallyport) = (self.cpus, self.programs.sallyport.clone());
        Scene::set(&SceneOptions { cpus, workers: 1, body_bytes: 1024, sallyport, json: None })
    }

    /// Measures, prints, and leaves everything in a folder.
    ///
    /// # Errors
    /// The run could not be made, or was interrupted. What goes wrong with one proxy is in its row.
    pub fn run(&self) -> Result<Verdict> {
        let plan = &self.plan;
        ensure!(plan.rounds > 0 && plan.seconds > 0 && plan.connections > 0, "nothing to do");
        let entrants = field::entrants(&self.only, &self.programs)?;
        if let Some(file) = &self.flood_into {
            return self.flood_here(&entrants, file);
        }
        let (rows, extent) = (self.rows(), Extent::of(self));
        let minutes = extent.estimate(&rows, entrants.len()).as_secs().div_ceil(60);
        eprintln!(
            "{} rows, {} proxies: at most about {minutes} minutes",
            rows.len(),
            entrants.len()
        );
        let mut scene = self.scene()?;
        let results = self.measure(&mut scene, &rows, &entrants, &extent)?;
        let (verdict, open) = match (self.gate, self.smoke) {
            (true, _) => gates::judge(&results, &rows),
            (_, true) => (results.smoked(), Vec::new()),
            _ => (Verdict::Pass, Vec::new()),
        };
        let run = results::Run::new(self, &scene, &entrants, extent, results, verdict, open);
        run.leave(if self.smoke { scene.dir() } else { &self.results })?;
        Ok(run.verdict)
    }

    fn measure(
        &self,
        scene: &mut Scene,
        rows: &[Row],
        entrants: &[Entrant],
        extent: &Extent,
    ) -> Result<Results> {
        let mut results = Results::default();
        for &row in rows {
            eprintln!("{}", row.name());
            match row {
                Row::Idle => results.idle = idle_row(scene, entrants, extent)?,
                Row::Reload => results.reload = reload::run(scene, entrants, &extent.reload)?,
                Row::Flood => results.flood = self.flood_apart(scene, entrants)?,
                row if row.is_front() => {
                    let entries = fronts::run(scene, row, entrants, &extent.turns)?;
                    results.fronts.push(FrontResult { row, entries });
                }
                _ => results.traffic.extend(traffic_row(scene, row, entrants, extent)?),
            }
        }
        Ok(results)
    }

    /// Has the flood measured by this program in a namespace of its own.
    fn flood_apart(
        &self,
        scene: &Scene,
        entrants: &[Entrant],
    ) -> Result<Vec<Entry<flood::Sample>>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(absent(entrants, "a network namespace of its own takes root", false));
        }
        let file = scene.dir().join("flood.json");
        let command = self.flood_command(&file)?;
        let mut inside = Process::start("flood", self.cpus.load, &command, scene.dir())?;
        let limit = Extent::of(self).estimate(&[Row::Flood], entrants.len()) * 5;
        let status = inside.wait(limit, &scene.interrupt)?;
        if !status.success() {
            return Ok(absent(entrants, inside.printed().trim(), true));
        }
        let samples = fs::read_to_string(&file).context("the flood's samples")?;
        let samples: Vec<Value> = serde_json::from_str(&samples)?;
        entrants.iter().zip(samples).map(read_entry).collect()
    }

    fn flood_command(&self, file: &Path) -> Result<Vec<String>> {
        let program = std::env::current_exe()?.display().to_string();
        let file = file.display().to_string();
        let (proxy, load) = (self.cpus.proxy.to_string(), self.cpus.load.to_string());
        let fixed = ["unshare", "--net", "--", &program, "--flood-into", &file];
        let cpus = ["--proxy-cpu", &proxy, "--load-cpu", &load];
        let mut command: Vec<String> = fixed.into_iter().chain(cpus).map(str::to_owned).collect();
        command.extend(self.smoke.then(|| "--smoke".to_owned()));
        for peer in &self.only {
            command.extend(["--only".to_owned(), peer.name().to_owned()]);
        }
        command.extend(self.programs.arguments());
        Ok(command)
    }

    fn flood_here(&self, entrants: &[Entrant], file: &Path) -> Result<Verdict> {
        flood::raise_loopback()?;
        let (mut scene, extent) = (self.scene()?, Extent::of(self));
        let length = Duration::from_secs(extent.flood_s);
        let entries = flood::run(&mut scene, entrants, extent.flood_rounds, length)?;
        fs::write(file, serde_json::to_string(&entries)?)?;
        Ok(Verdict::Pass)
    }
}

fn absent<Sample>(entrants: &[Entrant], reason: &str, failed: bool) -> Vec<Entry<Sample>> {
    let absence = Absence { reason: reason.to_owned(), failed };
    let entry = |entrant| Entry { absent: Some(absence.clone()), ..Entry::of(entrant) };
    entrants.iter().map(entry).collect()
}

fn read_entry((entrant, value): (&Entrant, Value)) -> Result<Entry<flood::Sample>> {
    let samples = serde_json::from_value(value["samples"].clone())?;
    let absent = serde_json::from_value(value["absent"].clone())?;
    Ok(Entry { samples, absent, ..Entry::of(entrant) })
}

fn traffic_row(
    scene: &mut Scene,
    row: Row,
    entrants: &[Entrant],
    extent: &Extent,
) -> Result<Option<TrafficResult>> {
    let Some(traffic) = row.traffic(extent.routes) else { return Ok(None) };
    let entries = turns::run(scene, &traffic, entrants, &extent.turns)?;
    Ok(Some(TrafficResult { row, rate_per_s: traffic.rate_per_s, entries }))
}

fn idle_row(
    scene: &mut Scene,
    entrants: &[Entrant],
    extent: &Extent,
) -> Result<Vec<Entry<idle::Sample>>> {
    scene.restage(&crate::origin::Stage::one(1024))?;
    let plan = extent.idle.within_limits();
    let mut entries: Vec<Entry<idle::Sample>> = entrants.iter().map(Entry::of).collect();
    for _ in 0..plan.rounds {
        for (entrant, entry) in entrants.iter().zip(&mut entries) {
            if let (Ok(contestant), None) = (&entrant.contestant, &entry.absent) {
                let sample = idle::sample(scene, contestant, plan.count);
                entry.keep(sample)?;
            }
        }
        scene.check_origin()?;
    }
    Ok(entries)
}

#[cfg(test)]
mod tests;
