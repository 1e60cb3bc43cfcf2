//! Load tests by scenario: k6 against a gateway that is edited, bereaved and watched as it serves.
//!
//! The scripts in `loadtest/k6` offer the load and judge what a client can see, and serve anybody by
//! themselves. This module sets the stage around them, does to it what a scenario is about, watches
//! the gateway's process, and puts both sides into one verdict, one JSON file and one page.
//!
//! Reading order: [`stage`] and [`file`](mod@file) are the scene, [`acts`] what is done to it, [`k6`] the load,
//! [`watch`] and [`judge`] what came of it, [`page`] how it is shown.

pub mod acts;
pub mod file;
pub mod judge;
pub mod k6;
pub mod page;
pub mod stage;
pub mod watch;

use crate::machine::Machine;
use crate::process::Process;
use crate::verdict::Verdict;
use acts::Hand;
use anyhow::{Context, Result, bail};
use file::{CANARY, SPLIT_HEADER, SPLITS, Shape, USER_HEADER, VERSION_HEADER};
use judge::{Check, Seen};
use serde::Serialize;
use serde_json::Value;
use stage::{ORIGINS, Setting, Stage};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};
use watch::Watch;

/// How many origins the scenario `consistent` loses.
pub const ORIGINS_LOST: usize = 1;
/// What k6 may take beyond the planned time to start, to wait for late answers and to write.
const GRACE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// Samples of the gateway's process in a run, as long as they are not under [`SAMPLE_MIN_MS`] apart.
const SAMPLES: u64 = 300;
const SAMPLE_MIN_MS: u64 = 100;

/// A scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A constant rate.
    Steady,
    /// More and more until it breaks.
    Ramp,
    /// Suddenly several times the rate.
    Spike,
    /// A moderate rate for ten minutes.
    Soak,
    /// The file is rewritten five times a second.
    Reload,
    /// A split is observed, edited and observed again.
    Canary,
    /// Users keep their endpoint, through the loss of one.
    Consistent,
    /// Many WebSocket connections, through reloads.
    Websocket,
}

/// Whether the stage is spoiled on purpose, to see that the scenario notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spoiled(pub bool);

/// How much is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Load {
    /// Requests a second; the first step of a ramp.
    pub rate: u64,
    /// Length of the run.
    pub duration_s: u64,
    /// Virtual users to begin with, or WebSocket connections.
    pub vus: u64,
}

/// How scenarios are to be played.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The stage's programs and CPUs.
    pub setting: Setting,
    /// k6's binary.
    pub k6: PathBuf,
    /// The folder of the scripts.
    pub scripts: PathBuf,
    /// The folder that results are written to.
    pub results: PathBuf,
    /// Somebody's own gateway, which is then neither edited nor watched.
    pub target: Option<String>,
    /// A few seconds at a low rate.
    pub smoke: bool,
    /// Whether the stage is spoiled.
    pub spoiled: Spoiled,
}

/// A played scenario, as it goes into a file.
#[derive(Debug, Serialize)]
pub struct Report<'run> {
    /// Which.
    pub scenario: Kind,
    /// The machine and its programs.
    pub machine: Machine,
    /// Where the requests went.
    pub target: String,
    /// What was offered.
    pub load: Load,
    /// Everything that had to hold.
    pub checks: Vec<Check>,
    /// The gateway's process and what was done; none for somebody's own gateway.
    pub seen: Option<&'run Seen>,
    /// k6's summary.
    pub k6: &'run Value,
    /// What became of it.
    pub verdict: &'run Verdict,
}

impl Kind {
    /// Its name, which is its script's too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Ramp => "ramp",
            Self::Spike => "spike",
            Self::Soak => "soak",
            Self::Reload => "reload",
            Self::Canary => "canary",
            Self::Consistent => "consistent",
            Self::Websocket => "websocket",
        }
    }

    /// What is offered where nothing else is asked for. Modest: k6 needs more CPU than the gateway
    /// does, and may have one CPU to itself.
    pub fn load(self, smoke: bool) -> Load {
        let (rate, duration_s, vus) = match (self, smoke) {
            (Self::Canary, true) => (200, 3, 10),
            (_, true) => (60, 3, 10),
            (Self::Ramp, _) => (500, 60, 50),
            (Self::Spike, _) => (300, 30, 50),
            (Self::Soak, _) => (300, 600, 50),
            (Self::Websocket, _) => (500, 30, 100),
            (_, _) => (500, 30, 50),
        };
        Load { rate, duration_s, vus }
    }

    /// Whether the file is rewritten again and again.
    pub fn is_rewritten(self) -> bool {
        matches!(self, Self::Reload | Self::Websocket)
    }

    /// The file that the gateway starts on.
    pub fn first_shape(self, Spoiled(spoiled): Spoiled) -> Shape {
        match self {
            Self::Steady | Self::Ramp | Self::Spike | Self::Soak => Shape::Plain,
            Self::Reload | Self::Websocket => Shape::Version(1),
            Self::Canary => {
                let canary = if spoiled { SPLITS[0] * 4 } else { SPLITS[0] };
                Shape::Split { canary, claimed: SPLITS[0] }
            }
            Self::Consistent => Shape::ByUser { kept: !spoiled },
        }
    }

    /// What the script has to know of our stage.
    fn stage_settings(self) -> Vec<(&'static str, String)> {
        let splits = SPLITS.map(|percent| percent.to_string()).join(",");
        match self {
            Self::Reload => vec![("VERSION_HEADER", VERSION_HEADER.to_owned())],
            Self::Canary => vec![
                ("CANARY", CANARY.to_owned()),
                ("SPLITS", splits),
                ("SPLIT_HEADER", SPLIT_HEADER.to_owned()),
            ],
            Self::Consistent => {
                vec![("USER_HEADER", USER_HEADER.to_owned()), ("LOST", ORIGINS[1].to_owned())]
            }
            _ => Vec::new(),
        }
    }
}

/// Latencies and floors of a run that is only to show that everything works, on a machine that may
/// be busy; what must be right is as strict as ever.
fn smoke_settings() -> [(&'static str, &'static str); 5] {
    [("P99_MS", "2000"), ("SPIKE_P99_MS", "2000"), ("STEPS", "3"), ("FLOOR", "120"), ("USERS", "3")]
}

/// Plays one scenario and writes `NAME.json` and `NAME.html` into the results.
///
/// # Errors
/// It could not be played to its end; that says nothing of the gateway.
pub fn play(kind: Kind, load: Load, plan: &Plan) -> Result<Verdict> {
    let dir = tempfile::Builder::new().prefix("sallyport-scenario-").tempdir()?;
    let mut stage = None;
    let target = match &plan.target {
        Some(target) => target.clone(),
        None => {
            let set = Stage::set(kind, plan.spoiled, &plan.setting, dir.path())?;
            format!("http://{}", stage.insert(set).addresses.web)
        }
    };
    let run = run_of(kind, load, plan, &target, dir.path())?;
    let json = cleared(kind, plan, &run)?;
    let (summary, seen) = perform(kind, load, plan, &run, stage.as_mut())?;
    let checks = judge::checks(kind, &summary, seen.as_ref())?;
    let verdict = judge::verdict(&checks);
    let (machine, seen, k6) = (Machine::describe(), seen.as_ref(), &summary);
    let report =
        Report { scenario: kind, machine, target, load, checks, seen, k6, verdict: &verdict };
    page::complete(&run.page, &report, dir.path())?;
    publish(&report, &json)?;
    Ok(verdict)
}

/// Where the JSON goes. What an earlier run left is removed: a run that fails early must not be taken
/// for the one before it.
fn cleared(kind: Kind, plan: &Plan, run: &k6::Run) -> Result<PathBuf> {
    fs::create_dir_all(&plan.results).context(plan.results.display().to_string())?;
    let json = plan.results.join(format!("{}.json", kind.name()));
    remove(&json)?;
    remove(&run.page)?;
    Ok(json)
}

/// Runs k6 to its end, and shows what it printed.
fn perform(
    kind: Kind,
    load: Load,
    plan: &Plan,
    run: &k6::Run,
    stage: Option<&mut Stage>,
) -> Result<(Value, Option<Seen>)> {
    let folder = run.summary.parent().context("the summary has no folder")?;
    let mut k6 = Process::start("k6", plan.setting.cpus.load, &run.command(), folder)?;
    let seen = attend(kind, load, plan, &mut k6, stage)?;
    let status = k6.ended()?.context("k6 has not ended")?;
    println!("{}", k6.printed().trim_end());
    Ok((run.read(status, &k6.printed())?, seen))
}

fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn run_of(kind: Kind, load: Load, plan: &Plan, target: &str, dir: &Path) -> Result<k6::Run> {
    let mut settings = vec![
        ("TARGET", target.to_owned()),
        ("RATE", load.rate.to_string()),
        ("DURATION", load.duration_s.to_string()),
        ("VUS", load.vus.to_string()),
    ];
    if plan.target.is_none() {
        settings.extend(kind.stage_settings());
    }
    if plan.smoke {
        settings.extend(smoke_settings().map(|(name, value)| (name, value.to_owned())));
    }
    let page = std::path::absolute(plan.results.join(format!("{}.html", kind.name())))?;
    Ok(k6::Run {
        program: plan.k6.clone(),
        script: plan.scripts.join(format!("{}.js", kind.name())),
        settings: settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        summary: dir.join("summary.json"),
        page,
        duration_s: load.duration_s,
    })
}

/// Until k6 ends: acts on the stage and watches the gateway.
fn attend(
    kind: Kind,
    load: Load,
    plan: &Plan,
    k6: &mut Process,
    stage: Option<&mut Stage>,
) -> Result<Option<Seen>> {
    let limit = Duration::from_secs(load.duration_s) + GRACE;
    let interrupt = &plan.setting.interrupt;
    let Some(stage) = stage else {
        k6.wait(limit, interrupt)?;
        return Ok(None);
    };
    let every = Duration::from_millis((load.duration_s * 1000 / SAMPLES).max(SAMPLE_MIN_MS));
    let mut watch = Watch::begin(stage.gateway.id(), plan.setting.cpus.proxy, every)?;
    let mut hand = Hand::new(kind, plan.spoiled, load.rate * load.duration_s, stage)?;
    let deadline = Instant::now() + limit;
    while k6.ended()?.is_none() {
        interrupt.check()?;
        stage.gateway.check_alive()?;
        hand.act(stage)?;
        watch.look()?;
        if Instant::now() > deadline {
            bail!("k6 did not end within {limit:?}");
        }
        sleep(POLL);
    }
    Ok(Some(Seen { acts: hand.finish(stage, interrupt)?, samples: watch.finish() }))
}

fn publish(report: &Report<'_>, json: &Path) -> Result<()> {
    // k6 has printed its thresholds, which come first.
    let printed = k6::thresholds(report.k6)?.len();
    for check in report.checks.iter().skip(printed) {
        let word = if check.passed { "ok    " } else { "FAILED" };
        println!("  {word}  {}  ({})", check.name, check.found);
    }
    if let Some(peak) = report.seen.and_then(Seen::cpu_peak) {
        println!("  the gateway used at most {:.0} % of its CPU", peak * 100.0);
    }
    let text = serde_json::to_string_pretty(report)?;
    fs::write(json, text + "\n").with_context(|| json.display().to_string())?;
    println!("{}: {}", report.scenario.name(), report.verdict);
    Ok(())
}

#[cfg(test)]
mod tests;
