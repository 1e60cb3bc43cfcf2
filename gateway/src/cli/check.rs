//! `sallyport check`: every problem at once.

use std::io::Read;
use std::path::Path;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use sallyport_config::{FILE_BYTES_MAX, Problems, Sources};
use sallyport_plugin::Kinds;
use serde::Serialize;

use super::{ConfigFile, Failure};
use crate::classifier::{proxies_with_rates, proxy_hint};
use crate::config::{self, Loaded};
use crate::filters::Filters;

/// Print every problem of configuration files; exit 0 or 78.
#[derive(Debug, Parser)]
pub struct Args {
    /// Configuration files, each a configuration of its own; `-` is standard input
    #[cfg_attr(feature = "xds", arg(required_unless_present = "xds_dump"))]
    #[cfg_attr(not(feature = "xds"), arg(required = true))]
    files: Vec<ConfigFile>,
    /// Envoy's bootstrap, or the answer of its /config_dump: say what of it would be taken, ignored and
    /// refused
    #[cfg(feature = "xds")]
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    xds_dump: Option<ConfigFile>,
    /// Count warnings as errors
    #[arg(long)]
    strict: bool,
    /// How to print what is found
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// What the output is for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Lines for people
    Text,
    /// One JSON document for programs
    Json,
}

/// The standard input, as an argument and as messages name it.
const STDIN: &str = "-";
const STDIN_NAME: &str = "<stdin>";

/// What became of one file.
struct Checked {
    name: String,
    loaded: Option<Loaded>,
    problems: Problems,
}

/// Loads the files and says what is in them.
///
/// # Errors
/// The problems, if there are any that are errors.
pub fn main(args: &Args, kinds: Kinds) -> Result<(), Failure> {
    #[cfg(feature = "xds")]
    if let Some(file) = &args.xds_dump {
        return super::envoy::check(file, matches!(args.format, Format::Json), args.strict);
    }
    let filters = Filters::idle(kinds);
    let checked = args.files.iter().map(|file| check(file, &filters));
    let checked = checked.collect::<anyhow::Result<Vec<_>>>()?;
    match args.format {
        Format::Text => {
            for one in &checked {
                print_text(one, args.strict);
            }
        }
        Format::Json => print_json(&checked, args.strict)?,
    }
    let is_good = checked.iter().all(|one| !one.problems.are_fatal(args.strict));
    if is_good { Ok(()) } else { Err(Failure::Told) }
}

fn check(file: &Path, filters: &Filters) -> anyhow::Result<Checked> {
    let is_stdin = file.as_os_str() == STDIN;
    let name = if is_stdin { STDIN_NAME.to_owned() } else { file.display().to_string() };
    let sources = match is_stdin {
        true => Sources::of_bytes(Path::new(STDIN_NAME), stdin()?),
        false => Sources::read(file),
    };
    let path = if is_stdin { Path::new(STDIN_NAME) } else { file };
    Ok(match sources.and_then(|sources| config::load_sources(path, &sources, filters)) {
        Ok(loaded) => Checked { name, problems: loaded.warnings.clone(), loaded: Some(loaded) },
        Err(problems) => Checked { name, problems, loaded: None },
    })
}

pub(super) fn stdin() -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One more than is taken, so that what is too much shows.
    let mut input = std::io::stdin().lock().take(FILE_BYTES_MAX + 1);
    input.read_to_end(&mut bytes).context("cannot read standard input")?;
    Ok(bytes)
}

fn print_text(checked: &Checked, is_strict: bool) {
    if !checked.problems.is_empty() {
        eprintln!("{}", checked.problems);
    }
    if checked.problems.are_fatal(is_strict) {
        return;
    }
    if let Some(loaded) = &checked.loaded {
        let Counts { listeners, virtual_hosts, routes, upstreams, files } = Counts::of(loaded);
        println!(
            "{}: ok: {listeners} listeners, {virtual_hosts} virtual hosts, {routes} routes, \
             {upstreams} upstreams in {files} files",
            checked.name,
        );
        for hint in hints(loaded) {
            println!("note: {hint}");
        }
    }
}

/// What the classifier that runs here makes worth knowing of a configuration: it is no problem of the
/// file.
fn hints(loaded: &Loaded) -> Vec<String> {
    let config = &loaded.config;
    let Some(classifier) = &config.classifier else { return Vec::new() };
    let trusted: Vec<_> =
        config.listeners.iter().flat_map(|listener| listener.trusted_proxies.clone()).collect();
    let proxies = proxies_with_rates(&classifier.pin_path, &trusted);
    proxies.into_iter().map(proxy_hint).collect()
}

#[derive(Serialize)]
struct Report<'c> {
    /// Whether every file can be used, and none has a warning where that counts.
    ok: bool,
    files: Vec<FileReport<'c>>,
}

#[derive(Serialize)]
struct FileReport<'c> {
    file: &'c str,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<Counts>,
    /// What is worth knowing of this machine.
    hints: Vec<String>,
    problems: Vec<ProblemReport<'c>>,
}

#[derive(Serialize)]
struct ProblemReport<'c> {
    severity: &'static str,
    file: String,
    line: usize,
    path: &'c str,
    what: &'c str,
    fix: &'c str,
}

#[derive(Serialize)]
struct Counts {
    listeners: usize,
    virtual_hosts: usize,
    routes: usize,
    upstreams: usize,
    files: usize,
}

impl Counts {
    fn of(loaded: &Loaded) -> Self {
        let config = &loaded.config;
        Self {
            listeners: config.listeners.len(),
            virtual_hosts: config.virtual_hosts.len(),
            routes: config.virtual_hosts.iter().map(|host| host.routes.len()).sum(),
            upstreams: config.upstreams.len(),
            files: loaded.files.len(),
        }
    }
}

fn print_json(checked: &[Checked], is_strict: bool) -> anyhow::Result<()> {
    let files: Vec<_> = checked.iter().map(|one| file_report(one, is_strict)).collect();
    let report = Report { ok: files.iter().all(|file| file.ok), files };
    let text = serde_json::to_string_pretty(&report).context("cannot print the problems")?;
    println!("{text}");
    Ok(())
}

fn file_report(checked: &Checked, is_strict: bool) -> FileReport<'_> {
    let problems = checked.problems.iter().map(|problem| ProblemReport {
        severity: problem.severity.label(),
        file: problem.file.display().to_string(),
        line: problem.line,
        path: &problem.path,
        what: &problem.what,
        fix: &problem.fix,
    });
    FileReport {
        file: &checked.name,
        ok: !checked.problems.are_fatal(is_strict),
        counts: checked.loaded.as_ref().map(Counts::of),
        hints: checked.loaded.as_ref().map(hints).unwrap_or_default(),
        problems: problems.collect(),
    }
}
