//! The line that a script ends with, and what it amounts to.

use crate::load::Errors;
use crate::verdict::Verdict;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::process::ExitStatus;

/// What a script counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// Answers, each of them checked.
    pub answers: u64,
    /// Those that were not as expected.
    pub unexpected: u64,
    /// What was wrong with the first of them.
    pub first_unexpected: String,
    /// Length of all answers' bodies.
    pub body_bytes: u64,
    /// Time it took, by wrk's clock.
    pub duration_s: f64,
    /// Half of the answers came within this; none where `wrk` gets times wrong, as it does for writes of
    /// several requests.
    pub p50_us: Option<f64>,
    /// Nine in ten did.
    pub p90_us: Option<f64>,
    /// All but one in a hundred did.
    pub p99_us: Option<f64>,
    /// All but one in a thousand did.
    pub p999_us: Option<f64>,
    /// wrk's own counters.
    pub errors: Errors,
}

impl Outcome {
    /// Reads what `wrk` printed.
    ///
    /// # Errors
    /// The script failed before its end, or its exit code says other than its figures do.
    pub fn read(printed: &str, status: ExitStatus) -> Result<Self> {
        let line = printed.lines().find_map(|line| line.strip_prefix("RESULT "));
        let line = line.with_context(|| format!("wrk left no result ({status}): {printed}"))?;
        let outcome: Self = serde_json::from_str(line).context("the script's result")?;
        let passed = outcome.verdict() == Verdict::Pass;
        ensure!(passed == status.success(), "wrk ended with {status}, its figures say otherwise");
        Ok(outcome)
    }

    /// Passed if there were answers, all of them as expected, and no connection failed.
    pub fn verdict(&self) -> Verdict {
        let Errors { connect, read, write, timeout, .. } = self.errors;
        let failed = connect + read + write + timeout;
        if self.answers == 0 {
            return Verdict::Fail("no answers".to_owned());
        }
        if self.unexpected + failed == 0 {
            return Verdict::Pass;
        }
        let first = match self.first_unexpected.as_str() {
            "" => String::new(),
            first => format!(", first: {first}"),
        };
        Verdict::Fail(format!(
            "{} of {} answers unexpected{first}; {failed} errors of connections",
            self.unexpected, self.answers
        ))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_s = |count: u64| count as f64 / self.duration_s;
        let us = |time: Option<f64>| time.map_or("-".to_owned(), |us| format!("{us:.0} us"));
        write!(
            out,
            "{} answers, {:.0} requests/s, {:.1} MB/s, p50 {}, p90 {}, p99 {}, p99.9 {}",
            self.answers,
            per_s(self.answers),
            per_s(self.body_bytes) / 1e6,
            us(self.p50_us),
            us(self.p90_us),
            us(self.p99_us),
            us(self.p999_us),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    const PRINTED: &str = "Running 1s test @ http://127.0.0.1:1/\n  740 requests in 1.00s\n\
        739 requests/s\nRESULT {\"answers\":740,\"unexpected\":0,\"first_unexpected\":\"\",\
        \"body_bytes\":33300,\"duration_s\":1.0,\"p50_us\":26.0,\"p90_us\":43.0,\"p99_us\":47.0,\
        \"p999_us\":48.0,\"errors\":{\"connect\":0,\"read\":0,\"write\":0,\"timeout\":0,\"status\":0}}\n";

    fn ended(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    #[test]
    fn a_clean_run_passes() {
        let outcome = Outcome::read(PRINTED, ended(0)).unwrap();
        assert_eq!(outcome.answers, 740);
        assert_eq!(outcome.verdict(), Verdict::Pass);
        assert!(outcome.to_string().contains("740 requests/s"), "{outcome}");
    }

    #[test]
    fn one_unexpected_answer_or_one_lost_connection_fails() {
        let unexpected = PRINTED.replace(
            "\"unexpected\":0,\"first_unexpected\":\"\"",
            "\"unexpected\":1,\"first_unexpected\":\"status 502\"",
        );
        let outcome = Outcome::read(&unexpected, ended(1)).unwrap();
        let Verdict::Fail(reason) = outcome.verdict() else { panic!("passed") };
        assert!(reason.contains("1 of 740") && reason.contains("status 502"), "{reason}");
        let lost = PRINTED.replace("\"read\":0", "\"read\":3");
        assert!(matches!(Outcome::read(&lost, ended(1)).unwrap().verdict(), Verdict::Fail(_)));
        let nothing = PRINTED.replace("\"answers\":740", "\"answers\":0");
        assert!(matches!(Outcome::read(&nothing, ended(1)).unwrap().verdict(), Verdict::Fail(_)));
    }

    #[test]
    fn times_that_cannot_be_had_are_dashes() {
        let timeless = PRINTED.replace("47.0", "null");
        let outcome = Outcome::read(&timeless, ended(0)).unwrap();
        assert!(outcome.to_string().ends_with("p90 43 us, p99 -, p99.9 48 us"), "{outcome}");
    }

    #[test]
    fn a_run_that_did_not_end_is_no_outcome() {
        assert!(Outcome::read("unable to connect\n", ended(1)).is_err());
        assert!(Outcome::read(PRINTED, ended(1)).is_err());
    }
}
