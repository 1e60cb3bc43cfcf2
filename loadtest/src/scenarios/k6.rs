//! k6: its command line, and its summary as a list of checks.
//!
//! Owns what is k6's own: the dashboard's settings, exit codes, and the form of the summary that the
//! scripts write. What else is wrong with a run is [`super::judge`]'s matter.

use super::judge::Check;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// k6's exit code where a threshold was crossed.
const THRESHOLDS_CROSSED: i32 = 99;

/// One run of k6.
#[derive(Clone, Debug)]
pub struct Run {
    /// k6's binary.
    pub program: PathBuf,
    /// The script.
    pub script: PathBuf,
    /// What the script reads from its environment.
    pub settings: Vec<(String, String)>,
    /// Where the script writes its summary.
    pub summary: PathBuf,
    /// Where the dashboard writes its page.
    pub page: PathBuf,
    /// Length of the run, which decides how fine the page's plots are.
    pub duration_s: u64,
}

impl Run {
    /// The command line. k6 listens nowhere, reports to nobody and fetches nothing.
    pub fn command(&self) -> Vec<String> {
        let shown = |path: &Path| path.display().to_string();
        let mut words = vec![
            "env".to_owned(),
            "K6_WEB_DASHBOARD=true".to_owned(),
            "K6_WEB_DASHBOARD_PORT=-1".to_owned(),
            format!("K6_WEB_DASHBOARD_PERIOD={}s", self.period_s()),
            format!("K6_WEB_DASHBOARD_EXPORT={}", shown(&self.page)),
            "K6_BINARY_PROVISIONING=false".to_owned(),
            shown(&self.program),
        ];
        let options = ["run", "--quiet", "--no-color", "--no-usage-report", "--address", ""];
        words.extend(options.map(str::to_owned));
        let summary = ("SUMMARY".to_owned(), shown(&self.summary));
        for (name, value) in self.settings.iter().chain([&summary]) {
            words.extend(["-e".to_owned(), format!("{name}={value}")]);
        }
        words.push(shown(&self.script));
        words
    }

    /// A page of some hundred points: more make it large, and fewer than two draw no line.
    fn period_s(&self) -> u64 {
        (self.duration_s / 120).max(1)
    }

    /// The summary, if k6 ended as a run that was made to its end does.
    ///
    /// # Errors
    /// The script failed, k6 was interrupted, or the summary is missing or says other than the exit
    /// code does.
    pub fn read(&self, status: ExitStatus, printed: &str) -> Result<Value> {
        if !matches!(status.code(), Some(0 | THRESHOLDS_CROSSED)) {
            bail!("k6 failed ({status}): {}", printed.trim());
        }
        let text = std::fs::read_to_string(&self.summary).context("k6 left no summary")?;
        let summary: Value = serde_json::from_str(&text).context("k6's summary")?;
        let crossed = thresholds(&summary)?.iter().any(|check| !check.passed);
        if crossed == status.success() {
            bail!("k6 ended with {status}, and its summary says otherwise");
        }
        Ok(summary)
    }
}

/// Every threshold of the summary; one on a share of nothing has not passed, though k6 thinks so.
///
/// # Errors
/// The summary has none, or is not in k6's form.
pub fn thresholds(summary: &Value) -> Result<Vec<Check>> {
    let metrics = summary["metrics"].as_object().context("the summary has no metrics")?;
    let mut checks = Vec::new();
    for (name, metric) in metrics {
        let rules = metric["thresholds"].as_object().into_iter().flatten();
        for (rule, outcome) in rules.filter(|(rule, _)| judges(rule)) {
            let ok = outcome["ok"].as_bool().with_context(|| format!("threshold on {name}"))?;
            let (name, found) = (format!("{name}: {rule}"), found(rule, &metric["values"]));
            checks.push(Check { name, passed: ok, found });
        }
    }
    anyhow::ensure!(!checks.is_empty(), "the scenario has no thresholds");
    Ok(checks)
}

/// Some rules always hold: they are there because k6 keeps the figures of a tag only for thresholds.
fn judges(rule: &str) -> bool {
    !rule.ends_with(">=0")
}

/// Shares that nothing was counted for: their thresholds held of nothing.
pub fn empty_rates(summary: &Value) -> Vec<String> {
    let metrics = summary["metrics"].as_object().into_iter().flatten();
    let judged = metrics.filter(|(_, metric)| metric["thresholds"].is_object());
    let empty = |values: &Value| values["passes"] == 0 && values["fails"] == 0;
    let rates = judged.filter(|(_, metric)| metric["type"] == "rate" && empty(&metric["values"]));
    rates.map(|(name, _)| name.clone()).collect()
}

/// One value of a metric, such as `p(99)` of `http_req_duration{part:late}`.
pub fn value(summary: &Value, metric: &str, name: &str) -> Option<f64> {
    summary["metrics"][metric]["values"][name].as_f64()
}

/// The value that the rule is about.
fn found(rule: &str, values: &Value) -> String {
    let end = rule.find(['<', '>', '=']).unwrap_or(rule.len());
    let name = &rule[..end];
    values[name].as_f64().map_or("-".to_owned(), |value| format!("{name} {value:.4}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::process::ExitStatusExt;

    fn run(dir: &Path) -> Run {
        Run {
            program: "/opt/k6".into(),
            script: "loadtest/k6/steady.js".into(),
            settings: vec![("RATE".to_owned(), "50".to_owned())],
            summary: dir.join("summary.json"),
            page: dir.join("page.html"),
            duration_s: 600,
        }
    }

    fn summary(ok: bool) -> Value {
        json!({ "metrics": {
            "http_req_failed": { "type": "rate", "values": { "rate": 0.5, "passes": 1, "fails": 1 },
                                 "thresholds": { "rate<0.1": { "ok": ok } } },
            "stayed": { "type": "rate", "values": { "rate": 0.0, "passes": 0, "fails": 0 },
                        "thresholds": { "rate==1": { "ok": true } } },
            "http_reqs{step:9}": { "type": "counter", "values": { "count": 5 },
                                   "thresholds": { "count>=0": { "ok": true } } },
            "vus": { "type": "gauge", "values": { "value": 5 } },
        } })
    }

    #[test]
    fn k6_listens_nowhere_and_reports_to_nobody() {
        let words = run(Path::new("/tmp/x")).command();
        let line = words.join(" ");
        assert!(line.contains("K6_WEB_DASHBOARD_PORT=-1 K6_WEB_DASHBOARD_PERIOD=5s"), "{line}");
        assert!(line.contains("--no-usage-report --address  -e RATE=50 -e SUMMARY=/tmp/x/summ"));
        assert!(line.ends_with("loadtest/k6/steady.js"));
    }

    #[test]
    fn every_threshold_is_a_check_with_what_was_found() {
        let checks = thresholds(&summary(false)).unwrap();
        let failed = checks.iter().find(|check| !check.passed).unwrap();
        assert_eq!(failed.name, "http_req_failed: rate<0.1");
        assert_eq!(failed.found, "rate 0.5000");
        assert_eq!(checks.len(), 2);
        assert!(thresholds(&json!({ "metrics": {} })).is_err());
    }

    #[test]
    fn a_share_of_nothing_is_noticed() {
        assert_eq!(empty_rates(&summary(true)), ["stayed"]);
    }

    #[test]
    fn exit_code_and_summary_must_agree() {
        let dir = tempfile::tempdir().unwrap();
        let run = run(dir.path());
        let ended = |code: i32| ExitStatus::from_raw(code << 8);
        assert!(run.read(ended(0), "").unwrap_err().to_string().contains("no summary"));
        std::fs::write(&run.summary, summary(false).to_string()).unwrap();
        assert!(run.read(ended(99), "").is_ok());
        assert!(run.read(ended(0), "").is_err());
        let error = run.read(ended(107), "script exception").unwrap_err();
        assert!(error.to_string().contains("script exception"), "{error}");
    }
}
