//! Interleaved rounds: all proxies of a row from the start, each in turn.
//!
//! The order moves by one each round, so that neither drift of the machine nor a neighbour's effect
//! on caches favours one of them.

use super::entry::Entry;
use super::field::Entrant;
use crate::bench::{Proxy, Scene};
use crate::contestant::Contestant;
use anyhow::Result;

/// Has every entrant that can take part made ready by `warm`, and sampled by `sample` once a round.
/// A proxy that cannot take part or fails has its reason in its entry.
///
/// # Errors
/// The origin failed, or the run was interrupted.
pub(super) fn run<Sample>(
    scene: &mut Scene,
    entrants: &[Entrant],
    rounds: usize,
    warm: impl Fn(&Scene, &Contestant) -> Result<Proxy>,
    sample: impl Fn(&Scene, &mut Proxy, usize) -> Result<Sample>,
) -> Result<Vec<Entry<Sample>>> {
    let mut entries: Vec<Entry<Sample>> = entrants.iter().map(Entry::of).collect();
    let mut proxies = Vec::new();
    for (entrant, entry) in entrants.iter().zip(&mut entries) {
        let warmed = entrant.contestant.as_ref().ok().map(|contestant| warm(scene, contestant));
        proxies.push(match warmed {
            Some(Ok(proxy)) => Some(proxy),
            Some(Err(error)) => {
                entry.keep(Err(error))?;
                None
            }
            None => None,
        });
    }
    for round in 0..rounds {
        for turn in 0..proxies.len() {
            let next = (round + turn) % proxies.len();
            if let (Some(proxy), None) = (&mut proxies[next], &entries[next].absent) {
                let sample = sample(scene, proxy, round);
                entries[next].keep(sample)?;
            }
        }
        scene.check_origin()?;
    }
    Ok(entries)
}
