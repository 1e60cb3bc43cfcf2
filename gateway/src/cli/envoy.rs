//! Envoy's files on the command line: what of them is taken, ignored and refused.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, anyhow};
use sallyport_config::{FILE_BYTES_MAX, File, Found, Mapping, Problems, Severity, Value, to_yaml};
use sallyport_xds::translate::{Inline, Inlined, NoInline, Setting, Translation, translate};
use sallyport_xds::{Finding, Outcome, Report};
use serde::Serialize;

use super::Failure;

/// The standard input, as an argument and as messages name it.
const STDIN: &str = "-";
const STDIN_NAME: &str = "<stdin>";

/// The largest text of an answer that is taken out of a file.
const BODY_BYTES_MAX: u64 = 1 << 20;

/// One of Envoy's files, translated.
pub(super) struct Envoy {
    source: File,
    translation: Translation,
    admin: Option<Value>,
}

/// What a file names by itself stays in files; texts that ours holds are read.
struct Files;

impl Inline for Files {
    fn keep(&self, what: &str, data: &[u8]) -> Inlined {
        NoInline.keep(what, data)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let read = sallyport_config::regular::read(Path::new(path), BODY_BYTES_MAX);
        read.map(|(bytes, _)| bytes).map_err(|error| format!("{path}: {}", error.reason()))
    }
}

impl Envoy {
    /// Reads and translates the file at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let is_stdin = path.as_os_str() == STDIN;
        let path = if is_stdin { Path::new(STDIN_NAME) } else { path };
        let text = match is_stdin {
            true => super::check::stdin()?,
            false => {
                std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?
            }
        };
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(anyhow!("{} is over {FILE_BYTES_MAX} bytes long", path.display()).into());
        }
        let text =
            String::from_utf8(text).map_err(|_| anyhow!("{} is not UTF-8", path.display()))?;
        let source = File { path: path.to_path_buf(), text };
        let mut found = Vec::new();
        let tree = sallyport_config::parse(0, &source.text, &mut found);
        let file = std::slice::from_ref(&source);
        let Some(tree) = tree.filter(|_| found.is_empty()) else {
            return Err(Failure::Config(Problems::locate(found, file)));
        };
        let read = sallyport_xds::file::read(&tree).map_err(|what| {
            let (what, fix) = what.split_once(", ").unwrap_or((&what, "write Envoy's bootstrap"));
            Failure::Config(Problems::with_file(path.to_path_buf(), what, fix))
        })?;
        let translation = translate(&read.resources, &Files, Setting::File, read.findings);
        Ok(Self { source, translation, admin: read.admin })
    }

    /// What became of each field.
    pub(super) fn report(&self) -> &Report {
        &self.translation.report
    }

    /// Our configuration.
    pub(super) fn into_yaml(self) -> anyhow::Result<String> {
        let mut out = Mapping::default();
        if let Some(admin) = self.admin {
            out.insert("admin", admin);
        }
        if let Value::Mapping(keys) = self.translation.into_value() {
            for (key, value) in keys.iter() {
                out.insert(key.as_str().unwrap_or_default(), value.clone());
            }
        }
        to_yaml(&Value::Mapping(out)).map_err(|error| anyhow!("cannot write YAML: {error}"))
    }

    /// The findings with their lines, in the order of the file.
    fn located(&self) -> Vec<Located<'_>> {
        let findings = &self.report().findings;
        let found = findings.iter().map(|finding| Found {
            severity: Severity::Note,
            file: 0,
            place: finding.place.clone(),
            line: None,
            what: finding.what.clone(),
            fix: String::new(),
        });
        let problems = Problems::locate(found.collect(), std::slice::from_ref(&self.source));
        let lines: HashMap<&str, usize> =
            problems.iter().map(|problem| (&*problem.path, problem.line)).collect();
        let line_of = |finding: &Finding| lines.get(&*finding.place).copied().unwrap_or(1);
        let mut located: Vec<_> = findings
            .iter()
            .map(|finding| Located {
                outcome: finding.outcome,
                line: line_of(finding),
                path: &finding.place,
                what: &finding.what,
            })
            .collect();
        located.sort_by_key(|finding| finding.line);
        located
    }
}

/// A finding and its line.
#[derive(Serialize)]
struct Located<'e> {
    outcome: Outcome,
    line: usize,
    path: &'e str,
    what: &'e str,
}

/// Prints the findings on standard error, one a line.
pub(super) fn print_findings(envoy: &Envoy) {
    for Located { outcome, line, path, what } in envoy.located() {
        let file = envoy.source.path.display();
        eprintln!("{file}:{line}: {}: {path}: {what}", outcome.label());
    }
}

/// What `check --xds-dump` prints for programs.
#[derive(Serialize)]
struct Checked<'e> {
    /// Whether nothing is refused.
    ok: bool,
    file: String,
    /// Fields that are in force.
    taken: usize,
    ignored: usize,
    refused: usize,
    /// The share of the fields that is taken.
    percent_taken: f64,
    listeners: usize,
    virtual_hosts: usize,
    upstreams: usize,
    findings: Vec<Located<'e>>,
}

/// Says what of the file at `path` would be taken.
///
/// # Errors
/// If something is refused; for who is strict, if something is ignored.
pub(super) fn check(path: &Path, is_json: bool, is_strict: bool) -> Result<(), Failure> {
    let envoy = Envoy::read(path)?;
    let report = envoy.report();
    let count = |outcome| report.with(outcome).count();
    let (ignored, refused) = (count(Outcome::Ignored), count(Outcome::Refused));
    let is_good = refused == 0 && (ignored == 0 || !is_strict);
    let checked = Checked {
        ok: is_good,
        file: envoy.source.path.display().to_string(),
        taken: report.fields_taken,
        ignored,
        refused,
        percent_taken: (report.percent_taken() * 10.0).round() / 10.0,
        listeners: envoy.translation.listeners.len(),
        virtual_hosts: envoy.translation.virtual_hosts.len(),
        upstreams: envoy.translation.upstreams.len(),
        findings: envoy.located(),
    };
    match is_json {
        true => {
            let text =
                serde_json::to_string_pretty(&checked).context("cannot print the findings")?;
            println!("{text}");
        }
        false => {
            print_findings(&envoy);
            let Checked { file, taken, percent_taken, listeners, virtual_hosts, upstreams, .. } =
                &checked;
            println!(
                "{file}: {percent_taken} % of the fields taken ({taken}; {ignored} ignored, {refused} \
                 refused): {listeners} listeners, {virtual_hosts} virtual hosts, {upstreams} upstreams"
            );
        }
    }
    if is_good { Ok(()) } else { Err(Failure::Told) }
}
