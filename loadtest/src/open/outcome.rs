//! What came of an offer: every answer with its latency, failures by kind, and whether it counts.

use crate::figures::Spread;
use serde::Serialize;
use std::time::Duration;

/// Share of the wall time beyond which the sender was itself what ran out.
const BUSY_MAX: f64 = 0.9;
/// What may be late without a word: the origin is on the sender's CPU.
const LATE: Duration = Duration::from_millis(1);
/// Share of the 99th percentile that the sender's own lateness may be before the figure is the
/// sender's and not the proxy's.
const LATE_SHARE: f64 = 0.5;
/// How long after the schedule's end the last answers may come.
const LAST: Duration = Duration::from_millis(20);
/// Share of the requests that must be answered by the end for a rate to have been sustained.
const SUSTAINED: f64 = 0.98;

/// One answer that was as it should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// When it was due, after the start.
    pub due: Duration,
    /// From then until the whole answer was there.
    pub latency: Duration,
}

/// Requests that failed, by how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Failures {
    /// No connection could be made.
    pub connect: u64,
    /// The connection ended before an answer began.
    pub closed: u64,
    /// The connection ended within the answer.
    pub broken: u64,
    /// Status of 400 and above.
    pub status: u64,
    /// What came was no answer with a length.
    pub unreadable: u64,
    /// No answer within the time for it, or by the end.
    pub timeout: u64,
}

impl Failures {
    /// All of them together.
    pub fn total(&self) -> u64 {
        let Self { connect, closed, broken, status, unreadable, timeout } = self;
        connect + closed + broken + status + unreadable + timeout
    }
}

/// Everything that came of an offer.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Requests that were due.
    pub planned: u64,
    /// Requests with an answer as it should be.
    pub answers: Vec<Answer>,
    /// When each failed request was due, after the start.
    pub failed: Vec<Duration>,
    /// How they failed.
    pub failures: Failures,
    /// Connections that were closed on the sender while they were idle, and made again.
    pub reconnects: u64,
    /// How late the sender turned to each request.
    pub lateness: Vec<Duration>,
    /// CPU time of the sender.
    pub busy: Duration,
    /// From the start until the last answer.
    pub wall: Duration,
    /// How long requests were due before latencies counted.
    pub warm_up: Duration,
    /// How long requests were due in all.
    pub scheduled: Duration,
}

/// The figures of an offer.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Figures {
    /// Requests that were due.
    pub planned: u64,
    /// Requests with an answer as it should be.
    pub answered: u64,
    /// Half of the answers came within this.
    pub p50_us: Option<f64>,
    /// All but one in a hundred did.
    pub p99_us: Option<f64>,
    /// All but one in a thousand did.
    pub p999_us: Option<f64>,
    /// How requests failed.
    pub failures: Failures,
    /// Connections that had to be made again.
    pub reconnects: u64,
    /// All but one in a hundred requests were turned to within this.
    pub late_p99_us: Option<f64>,
    /// Share of the wall time that the sender ran.
    pub sender_busy: f64,
    /// Whether the sender fell behind, so that the latencies are its own.
    pub fell_behind: bool,
    /// Whether the proxy kept up with the rate.
    pub sustained: bool,
}

impl Outcome {
    /// Latencies in microseconds of all that was due once warm, ascending.
    pub fn latencies_us(&self) -> Vec<f64> {
        self.latencies_us_within(self.warm_up, Duration::MAX)
    }

    /// The same of those that were due within a window.
    pub fn latencies_us_within(&self, from: Duration, until: Duration) -> Vec<f64> {
        let due = self.answers.iter().filter(|answer| (from..until).contains(&answer.due));
        sorted_us(due.map(|answer| answer.latency))
    }

    /// Whether the sender was too slow for what it was to do.
    pub fn fell_behind(&self) -> bool {
        let share = self.busy.as_secs_f64() / self.wall.as_secs_f64();
        share > BUSY_MAX || self.is_late()
    }

    fn is_late(&self) -> bool {
        let p99 = |ascending: &[f64]| percentile(ascending, 0.99).unwrap_or(0.0);
        let late_us = p99(&sorted_us(self.lateness.iter().copied()));
        late_us > LATE.as_secs_f64() * 1e6 && late_us > LATE_SHARE * p99(&self.latencies_us())
    }

    /// Whether nearly all that was due was answered before the schedule ended, or soon enough after.
    pub fn sustained(&self) -> bool {
        let in_time = |answer: &&Answer| answer.due + answer.latency <= self.scheduled + LAST;
        let answered = self.answers.iter().filter(in_time).count();
        answered as f64 >= self.planned as f64 * SUSTAINED
    }

    /// All figures.
    pub fn figures(&self) -> Figures {
        let latencies_us = self.latencies_us();
        let lateness_us = sorted_us(self.lateness.iter().copied());
        Figures {
            planned: self.planned,
            answered: self.answers.len() as u64,
            p50_us: percentile(&latencies_us, 0.5),
            p99_us: percentile(&latencies_us, 0.99),
            p999_us: percentile(&latencies_us, 0.999),
            failures: self.failures,
            reconnects: self.reconnects,
            late_p99_us: percentile(&lateness_us, 0.99),
            sender_busy: self.busy.as_secs_f64() / self.wall.as_secs_f64(),
            fell_behind: self.fell_behind(),
            sustained: self.sustained(),
        }
    }
}

impl Figures {
    /// One figure of several rounds; none where a round lacks it.
    pub fn spread(rounds: &[Self], figure: fn(&Self) -> Option<f64>) -> Option<Spread> {
        Spread::of(rounds.iter().map(|one| figure(one).unwrap_or(f64::NAN)))
    }
}

fn sorted_us(times: impl Iterator<Item = Duration>) -> Vec<f64> {
    let mut all: Vec<f64> = times.map(|time| time.as_secs_f64() * 1e6).collect();
    all.sort_by(f64::total_cmp);
    all
}

/// The smallest of `ascending` that no more than the rest of them exceed; none if there are none.
pub fn percentile(ascending: &[f64], share: f64) -> Option<f64> {
    let rank = (ascending.len() as f64 * share).ceil() as usize;
    ascending.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(latencies_ms: &[u64]) -> Outcome {
        let second = Duration::from_secs(1);
        let answer = |&ms| Answer { due: second / 2, latency: Duration::from_millis(ms) };
        Outcome {
            planned: latencies_ms.len() as u64,
            answers: latencies_ms.iter().map(answer).collect(),
            wall: second,
            scheduled: second,
            ..Outcome::default()
        }
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&hundred, 0.5), Some(50.0));
        assert_eq!(percentile(&hundred, 0.99), Some(99.0));
        assert_eq!(percentile(&hundred, 0.999), Some(100.0));
        assert_eq!(percentile(&[7.0], 0.5), Some(7.0));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn a_rate_is_sustained_if_answers_come_while_it_lasts() {
        assert!(outcome(&[1; 100]).sustained());
        assert!(!outcome(&[600; 100]).sustained());
        let missing = Outcome { planned: 103, ..outcome(&[1; 100]) };
        assert!(!missing.sustained());
    }

    #[test]
    fn a_sender_that_ran_out_of_cpu_or_was_late_has_no_figures() {
        let calm = outcome(&[1; 100]);
        assert!(!calm.figures().fell_behind);
        let busy = Outcome { busy: Duration::from_millis(950), ..calm.clone() };
        assert!(busy.figures().fell_behind);
        let lateness = vec![Duration::from_millis(3); 100];
        let late = Outcome { lateness: lateness.clone(), ..calm };
        assert!(late.figures().fell_behind);
        assert!(!Outcome { lateness, ..outcome(&[7; 100]) }.figures().fell_behind);
    }

    #[test]
    fn windows_go_by_when_requests_were_due() {
        let outcome = outcome(&[1, 2]);
        let (half, second) = (Duration::from_millis(500), Duration::from_secs(1));
        assert_eq!(outcome.latencies_us_within(half, second), [1000.0, 2000.0]);
        assert!(outcome.latencies_us_within(Duration::ZERO, half).is_empty());
    }
}
