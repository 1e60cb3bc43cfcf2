//! Load tests by wrk script, each answer checked.
//!
//! The Lua scripts in `loadtest/wrk` make the requests, check every answer and report; they serve
//! anybody by themselves. This module sets the scene for each (a gateway whose file and the script's
//! list of requests come from one table), runs `wrk`, and judges the report. wrk is a closed loop at
//! saturation: the scripts are for errors and for throughput, not for latency at a given rate.

pub mod bodies;
pub mod outcome;
pub mod scene;
pub mod table;

use crate::machine::Machine;
use crate::process::Process;
use crate::scenarios::Spoiled;
use crate::scenarios::stage::Setting;
use crate::verdict::Verdict;
use anyhow::{Context, Result};
use outcome::Outcome;
use scene::Scene;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Requests of one write of the pipelined script.
const DEPTH: usize = 8;
/// What wrk may take beyond the planned time.
const GRACE: Duration = Duration::from_secs(20);

/// A script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Script {
    /// One path over connections that stay open.
    OnePath,
    /// Hosts and paths drawn from the gateway's table.
    Table,
    /// Bodies of 1 KiB, 64 KiB and 1 MiB, up and down.
    Bodies,
    /// Several requests in one write.
    Pipelined,
    /// A connection for every request.
    ConnectionPerRequest,
}

/// How scripts are to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The scene's programs and CPUs.
    pub setting: Setting,
    /// The folder of the scripts.
    pub scripts: PathBuf,
    /// The folder that results are written to.
    pub results: PathBuf,
    /// Virtual hosts of the table.
    pub hosts: usize,
    /// Routes of each.
    pub routes: usize,
    /// What the draws from the table begin with.
    pub seed: u64,
    /// Connections open at a time.
    pub connections: usize,
    /// Length of a run.
    pub seconds: u64,
    /// Whether the scene is spoiled, to see that the script notices.
    pub spoiled: Spoiled,
}

/// A run, as it goes into a file.
#[derive(Debug, Serialize)]
struct Report<'run> {
    script: Script,
    machine: Machine,
    connections: usize,
    planned_s: u64,
    outcome: &'run Outcome,
    verdict: &'run Verdict,
}

impl Script {
    /// Its name, which is its file's too.
    pub fn name(self) -> &'static str {
        match self {
            Self::OnePath => "one-path",
            Self::Table => "table",
            Self::Bodies => "bodies",
            Self::Pipelined => "pipelined",
            Self::ConnectionPerRequest => "connection-per-request",
        }
    }
}

/// Runs one script and writes `NAME.json` into the results.
///
/// # Errors
/// It could not be run to its end; that says nothing of the gateway.
pub fn run(script: Script, plan: &Plan) -> Result<Verdict> {
    fs::create_dir_all(&plan.results).context(plan.results.display().to_string())?;
    let dir = tempfile::Builder::new().prefix("sallyport-wrk-").tempdir()?;
    let mut scene = Scene::set(script, plan, dir.path())?;
    let command = command(script, plan, &scene.target(), dir.path());
    let mut wrk = Process::start("wrk", plan.setting.cpus.load, &command, dir.path())?;
    let status = wrk.wait(Duration::from_secs(plan.seconds) + GRACE, &plan.setting.interrupt)?;
    scene.gateway.check_alive()?;
    let outcome = Outcome::read(&wrk.printed(), status)?;
    let verdict = outcome.verdict();
    println!("{outcome}\n{}: {verdict}", script.name());
    let machine = Machine::describe();
    let (connections, planned_s) = (plan.connections, plan.seconds);
    let report =
        Report { script, machine, connections, planned_s, outcome: &outcome, verdict: &verdict };
    let json = plan.results.join(format!("{}.json", script.name()));
    let text = serde_json::to_string_pretty(&report)? + "\n";
    fs::write(&json, text).with_context(|| json.display().to_string())?;
    Ok(verdict)
}

fn command(script: Script, plan: &Plan, target: &str, dir: &Path) -> Vec<String> {
    let mut words = vec!["env".to_owned()];
    words.extend(
        settings(script, plan, dir).into_iter().map(|(name, value)| format!("{name}={value}")),
    );
    let connections = plan.connections.to_string();
    let seconds = plan.seconds.to_string();
    let options = ["wrk", "-t", "1", "-c", &connections, "-d", &seconds, "--latency", "-s"];
    words.extend(options.map(str::to_owned));
    words.push(plan.scripts.join(format!("{}.lua", script.name())).display().to_string());
    words.push(target.to_owned());
    words
}

fn settings(script: Script, plan: &Plan, dir: &Path) -> Vec<(&'static str, String)> {
    match script {
        Script::OnePath | Script::ConnectionPerRequest => {
            vec![("EXPECT_BODY", "origin: a\n".to_owned())]
        }
        Script::Table => {
            vec![("TABLE", table::list(dir).display().to_string()), ("SEED", plan.seed.to_string())]
        }
        Script::Bodies => Vec::new(),
        Script::Pipelined => {
            vec![("DEPTH", DEPTH.to_string()), ("CONNECTIONS", plan.connections.to_string())]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Cpus;
    use crate::interrupt::Interrupt;
    use clap::ValueEnum;

    fn plan() -> Plan {
        Plan {
            setting: Setting {
                gateway: "/opt/sallyport".into(),
                cpus: Cpus { proxy: 0, load: 1 },
                interrupt: Interrupt::default(),
            },
            scripts: concat!(env!("CARGO_MANIFEST_DIR"), "/wrk").into(),
            results: "/tmp/results".into(),
            hosts: 10,
            routes: 10,
            seed: 7,
            connections: 16,
            seconds: 3,
            spoiled: Spoiled(false),
        }
    }

    #[test]
    fn every_script_is_there_and_reads_its_settings() {
        for script in Script::value_variants() {
            let plan = plan();
            let file = plan.scripts.join(format!("{}.lua", script.name()));
            let text = fs::read_to_string(&file).unwrap();
            for (name, _) in settings(*script, &plan, Path::new("/tmp")) {
                assert!(text.contains(&format!("\"{name}\"")), "{name} in {}", script.name());
            }
        }
    }

    #[test]
    fn settings_go_before_wrk_and_the_target_comes_last() {
        let line = command(Script::Pipelined, &plan(), "http://t", Path::new("/tmp")).join(" ");
        let begin = "env DEPTH=8 CONNECTIONS=16 wrk -t 1 -c 16 -d 3 --latency -s ";
        assert!(line.starts_with(begin), "{line}");
        assert!(line.ends_with("/wrk/pipelined.lua http://t"), "{line}");
    }
}
