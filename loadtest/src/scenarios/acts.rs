//! What is done to the stage while k6 runs: files rewritten, a split edited, an endpoint lost.
//!
//! Acts that belong to the middle of a run go by how many of the planned requests the gateway has
//! answered, not by a clock that k6 does not share.

use super::file::{SPLITS, Shape};
use super::stage::{ORIGINS, Stage};
use super::{Kind, Spoiled};
use crate::interrupt::Interrupt;
use anyhow::Result;
use serde::Serialize;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often a scenario with rewrites has one.
const REWRITE_EVERY: Duration = Duration::from_millis(200);
/// How long the last rewrite may take to come in force.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// What was done, and what the gateway made of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Acts {
    /// Files written.
    pub rewrites: u64,
    /// Configurations that came in force.
    pub versions: u64,
    /// Whether the last file written is in force.
    pub last_in_force: bool,
    /// Whether the last file written was refused.
    pub refused: bool,
    /// Origins ended.
    pub origins_ended: usize,
}

/// Whoever acts on the stage.
#[derive(Debug)]
pub struct Hand {
    kind: Kind,
    spoiled: Spoiled,
    planned: u64,
    first_version: u64,
    rewrote: Option<Instant>,
    past_half: bool,
    acts: Acts,
}

impl Hand {
    /// For a run of so many planned requests.
    ///
    /// # Errors
    /// The admin listener does not answer.
    pub fn new(kind: Kind, spoiled: Spoiled, planned: u64, stage: &Stage) -> Result<Self> {
        let (first_version, _) = stage.version()?;
        let acts = Acts::default();
        Ok(Self { kind, spoiled, planned, first_version, rewrote: None, past_half: false, acts })
    }

    /// Does whatever is due.
    ///
    /// # Errors
    /// The file cannot be written or the admin listener does not answer.
    pub fn act(&mut self, stage: &mut Stage) -> Result<()> {
        let due = self.rewrote.is_none_or(|at| at.elapsed() >= REWRITE_EVERY);
        if due && self.kind.is_rewritten() {
            self.rewrite(stage, Shape::Version(self.acts.rewrites + 2))?;
        }
        if !self.past_half && self.has_half_time_act() && stage.served()? * 2 >= self.planned {
            self.past_half = true;
            self.act_at_half_time(stage)?;
        }
        Ok(())
    }

    /// What was done, once the last of it has settled.
    ///
    /// # Errors
    /// As [`Hand::act`], or the run was interrupted.
    pub fn finish(mut self, stage: &Stage, interrupt: &Interrupt) -> Result<Acts> {
        let deadline = Instant::now() + SETTLED_WITHIN;
        while self.kind.is_rewritten() && !stage.is_current()? && Instant::now() < deadline {
            interrupt.check()?;
            sleep(POLL);
        }
        let (version, refused) = stage.version()?;
        self.acts.versions = version - self.first_version;
        self.acts.refused = refused;
        self.acts.last_in_force = stage.is_current()?;
        Ok(self.acts)
    }

    fn rewrite(&mut self, stage: &Stage, shape: Shape) -> Result<()> {
        stage.rewrite(shape)?;
        self.acts.rewrites += 1;
        self.rewrote = Some(Instant::now());
        Ok(())
    }

    fn has_half_time_act(&self) -> bool {
        match self.kind {
            Kind::Canary | Kind::Consistent => true,
            Kind::Websocket => false,
            _ => self.spoiled.0,
        }
    }

    fn act_at_half_time(&mut self, stage: &mut Stage) -> Result<()> {
        match self.kind {
            Kind::Canary => {
                self.rewrite(stage, Shape::Split { canary: SPLITS[1], claimed: SPLITS[1] })?
            }
            Kind::Consistent => self.acts.origins_ended = stage.end_origins(Some(ORIGINS[1])),
            _ => self.acts.origins_ended = stage.end_origins(None),
        }
        Ok(())
    }
}
