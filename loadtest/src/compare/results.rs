//! What a run leaves: a folder with every sample, the tables, the plots, and what it was made on.

use super::field::{Entrant, versions};
use super::{Extent, Options, Results, pictures, tables};
use crate::bench::{Conditions, Cpus, Scene};
use crate::machine::Machine;
use crate::verdict::Verdict;
use anyhow::{Context, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// A whole run.
#[derive(Debug, Serialize)]
pub struct Run {
    /// Day on which it was made, in UTC.
    pub date: String,
    /// The machine and its programs.
    pub machine: Machine,
    /// What each proxy says its version is.
    pub versions: BTreeMap<&'static str, String>,
    /// Kernel setting and CPUs; bodies and routes are the rows' own.
    pub conditions: Conditions,
    /// Rounds and sizes.
    pub extent: Extent,
    /// Every sample.
    pub results: Results,
    /// What became of the gates; a pass where there were none to judge by.
    pub verdict: Verdict,
    /// Gates that could not be judged, because the other proxy has no figure.
    pub not_judged: Vec<String>,
    #[serde(skip)]
    gated: bool,
}

impl Run {
    /// Puts a run together with what it was made under.
    pub fn new(
        options: &Options,
        scene: &Scene,
        entrants: &[Entrant],
        extent: Extent,
        results: Results,
        verdict: Verdict,
        not_judged: Vec<String>,
    ) -> Self {
        Self {
            date: date(SystemTime::now()),
            machine: Machine::describe(),
            versions: versions(entrants),
            conditions: scene.conditions(),
            extent,
            results,
            verdict,
            not_judged,
            gated: options.gate,
        }
    }

    /// Prints the tables, and writes everything into a folder of its own within `parent`.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn leave(&self, parent: &Path) -> Result<()> {
        let text = self.text();
        println!("{text}");
        let folder = parent.join(format!("{}-{}", self.date, self.machine_name()));
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        fs::write(folder.join("tables.md"), text)?;
        fs::write(folder.join("raw.json"), serde_json::to_string(self)? + "\n")?;
        pictures::draw(&self.results, &folder)?;
        eprintln!("written to {}", folder.display());
        Ok(())
    }

    fn text(&self) -> String {
        format!("{}\n{}{}", self.heading(), tables::all(&self.results), self.judgement())
    }

    fn heading(&self) -> String {
        let unknown = || "unknown".to_owned();
        let Conditions { congestion_control, cpus: Cpus { proxy, load }, .. } = &self.conditions;
        let plan = &self.extent.turns;
        let versions: String =
            self.versions.iter().map(|(name, version)| format!("- {name}: {version}\n")).collect();
        format!(
            "# Comparison of {date}\n\n{processor}, {cpus} CPUs, kernel {kernel}, commit {commit}; \
             TCP {congestion_control}. One worker each on CPU {proxy}; load and origin on CPU \
             {load}. {rounds} rounds of {seconds} s, {connections} connections. Medians, and \
             ranges over the rounds.\n\n{versions}",
            date = self.date,
            processor = self.machine.processor.clone().unwrap_or_else(unknown),
            cpus = self.machine.cpus.unwrap_or(0),
            kernel = self.machine.kernel.clone().unwrap_or_else(unknown),
            commit = self.machine.commit.clone().unwrap_or_else(unknown),
            rounds = plan.rounds,
            seconds = plan.seconds,
            connections = plan.connections,
        )
    }

    fn judgement(&self) -> String {
        if !self.gated && self.verdict == Verdict::Pass {
            return String::new();
        }
        let open: String = self.not_judged.iter().map(|line| format!("- {line}\n")).collect();
        let open = if open.is_empty() { open } else { format!("Not judged:\n\n{open}\n") };
        format!("## Verdict\n\n{open}{}\n", self.verdict)
    }

    fn machine_name(&self) -> String {
        let processor = self.machine.processor.as_deref().unwrap_or("machine");
        slug(&format!("{processor} {} cpus", self.machine.cpus.unwrap_or(0)))
    }
}

/// Lower case letters and digits, and a dash for whatever is between them.
fn slug(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    // What makers append to names says nothing.
    let words = words.filter(|word| !["R", "TM", "CPU"].contains(word));
    words.collect::<Vec<&str>>().join("-").to_lowercase()
}

/// The day of `time` in UTC, as in 2026-03-01.
fn date(time: SystemTime) -> String {
    let days = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Year, month and day of so many days after 1970-01-01, by eras of 400 years that begin in March
/// (Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(11_017), (2000, 3, 1));
        assert_eq!(civil(20_453), (2025, 12, 31));
        assert_eq!(date(UNIX_EPOCH), "1970-01-01");
    }

    #[test]
    fn a_machine_is_called_by_its_processor() {
        let name = "Intel(R) Xeon(R) CPU @ 2.50GHz 2 cpus";
        assert_eq!(slug(name), "intel-xeon-2-50ghz-2-cpus");
    }
}
