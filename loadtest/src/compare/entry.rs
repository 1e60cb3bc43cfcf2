//! What a row has of one proxy: samples, or the reason why there are none.

use crate::compare::field::Entrant;
use crate::figures::Spread;
use crate::interrupt::Interrupted;
use crate::proxies::Unsupported;
use anyhow::Result;
use serde::{Deserialize, Serialize};

/// Enough for a sentence and a line of a log.
const REASON_CHARS: usize = 400;

/// One proxy in one row.
#[derive(Clone, Debug, Serialize)]
pub struct Entry<Sample> {
    /// The proxy.
    pub proxy: &'static str,
    /// One a round, unless something went wrong.
    pub samples: Vec<Sample>,
    /// Why there are none, or no more.
    pub absent: Option<Absence>,
}

/// Why a proxy has no figure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absence {
    /// In words.
    pub reason: String,
    /// Whether it was to have one: it is there and can do what is asked for.
    pub failed: bool,
}

impl<Sample> Entry<Sample> {
    /// Nothing yet; the reason if it is not going to take part.
    pub fn of(entrant: &Entrant) -> Self {
        let reason = entrant.contestant.as_ref().err().cloned();
        let absent = reason.map(|reason| Absence { reason, failed: false });
        Self { proxy: entrant.peer.name(), samples: Vec::new(), absent }
    }

    /// Keeps what came, or the reason why nothing did: one proxy's failure is not the others'.
    ///
    /// # Errors
    /// The run was interrupted, which is nobody's failure.
    pub fn keep(&mut self, sample: Result<Sample>) -> Result<()> {
        match sample {
            Ok(sample) => self.samples.push(sample),
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => {
                let reason = one_line(&format!("{error:#}"), self.proxy);
                eprintln!("{}: {reason}", self.proxy);
                self.absent = Some(Absence { reason, failed: !error.is::<Unsupported>() });
            }
        }
        Ok(())
    }

    /// One figure of every sample.
    pub fn each(&self, figure: impl Fn(&Sample) -> f64) -> Vec<f64> {
        self.samples.iter().map(figure).collect()
    }

    /// The same, summarised; none without samples.
    pub fn spread(&self, figure: impl Fn(&Sample) -> f64) -> Option<Spread> {
        Spread::of(self.each(figure))
    }

    /// A figure that samples may lack, of those that have it; none if none has.
    pub fn spread_of_some(&self, figure: impl Fn(&Sample) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.samples.iter().filter_map(figure))
    }
}

/// The reason as it goes into a list: without the proxy's name, which stands before it, and with the
/// first lines of whatever the proxy printed.
fn one_line(reason: &str, proxy: &str) -> String {
    let reason = reason.strip_prefix(&format!("{proxy}: ")).unwrap_or(reason);
    let lines: Vec<&str> = reason.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ").chars().take(REASON_CHARS).collect()
}

/// The reason of each proxy that is absent.
pub fn absences<Sample>(entries: &[Entry<Sample>]) -> Vec<String> {
    let reason = |entry: &Entry<Sample>| {
        entry.absent.as_ref().map(|absence| format!("{}: {}", entry.proxy, absence.reason))
    };
    entries.iter().filter_map(reason).collect()
}

/// The same of those that were to have figures.
pub fn failures<Sample>(entries: &[Entry<Sample>]) -> Vec<String> {
    let failed = |entry: &&Entry<Sample>| entry.absent.as_ref().is_some_and(|one| one.failed);
    let reason = |entry: &Entry<Sample>| absences(std::slice::from_ref(entry));
    entries.iter().filter(failed).flat_map(reason).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    fn entry() -> Entry<f64> {
        Entry { proxy: "nginx", samples: Vec::new(), absent: None }
    }

    #[test]
    fn a_failure_is_kept_as_a_reason_and_an_interruption_ends_the_run() {
        let mut entry = entry();
        entry.keep(Ok(2.0)).unwrap();
        entry.keep(Err(anyhow!("nginx: ended\n\n  badly"))).unwrap();
        assert_eq!(absences(&[entry.clone()]), ["nginx: ended; badly"]);
        assert_eq!(entry.spread(|figure| *figure).unwrap().median, 2.0);
        assert_eq!(failures(&[entry.clone()]).len(), 1);
        assert!(entry.keep(Err(Interrupted.into())).is_err());
    }

    #[test]
    fn what_a_proxy_cannot_do_is_no_failure() {
        let mut entry = entry();
        let error = anyhow::Error::new(Unsupported("has no limits".to_owned()));
        entry.keep(Err(error.context("nginx"))).unwrap();
        assert_eq!(absences(&[entry.clone()]).len(), 1);
        assert!(failures(&[entry]).is_empty());
    }
}
