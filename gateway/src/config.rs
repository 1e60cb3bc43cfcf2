//! The configuration file: read, checked and resolved, or refused with every problem at once.
//!
//! Two steps, two types. What is written is declared in [`sallyport_config::spec`] and decoded by that
//! crate, part by part; `resolve` turns all parts together into a [`Config`] that cannot be invalid, so
//! that nothing behind this module has to check again. Nothing here compiles routes or opens sockets: that is
//! [`snapshot`](crate::snapshot) and [`server`](crate::server).

mod admin;
mod admission;
mod bandwidth;
mod declared;
pub mod endpoints_file;
mod error_pages;
mod http2;
mod limits;
mod model;
mod origins;
mod outlier;
mod process;
mod resolve;
mod restart_only;
mod retry;
mod sticky;
mod texts;
mod tls;
mod tracing;

use std::path::{Path, PathBuf};

use sallyport_config::decode::Pieces;
use sallyport_config::schema::Schema;
use sallyport_config::{File, Files, Found, Problems, Sources};
use sallyport_plugin::{Instances, Kinds, Reader};
use sallyport_route::{Hints, Patterns};

use self::declared::Declared;
use crate::filters::Filters;

pub use admin::{Admin, AdminAddress, Token};
pub use declared::{Declaration, Joined, Whole};
pub use error_pages::{ErrorPage, ErrorPages};
pub use http2::Http2;
pub use limits::{HeaderNames, Limits, ReadAhead};
pub use model::{
    Action, CertificatePart, Challenges, Classifier, Config, Forward, HashOn, HealthCheck,
    HintField, HttpProbe, IPV6_PREFIX, Listener, ListenerTimeouts, Offence, PUSH_EXPORTERS_MAX,
    Probe, Protocols, Push, Redirect, RedirectPath, Respond, Route, StatusRange, Target, Upstream,
    UpstreamTimeouts, VERDICT_RULES_MAX, VerdictRule, Verdicts, VirtualHost,
};
pub use origins::{
    ClientIdentity, Discovery, Endpoint, Location, Name, OriginTls, Protocol, ProxyProtocol,
    Resolver, Transport,
};
pub use process::{EngineChoice, LogSettings, Shutdown};
pub use restart_only::RestartOnly;
pub use texts::Texts;
pub(crate) use texts::{compressed, decompressed};
pub use tls::{Certificate, Passthrough, Tls};
pub use tracing::{Tracing, Trust};

pub use admission::{Queue, TenantBy, TenantWeights, UpstreamLimits};
pub use bandwidth::{Bandwidth, ClassBy};
pub use outlier::{OutlierDetection, Resilience};
pub use retry::{Backoff, Retry, RetryOn};
pub use sticky::{Mirror, Secret, Sticky};

/// Reads hints written as `key=value`: `network`, `zone`, `protocol`, `screens` (separated by
/// commas), `syn_rate` and `ja4`.
///
/// # Errors
/// What is wrong with one of them.
pub fn parse_hints<'h>(texts: impl IntoIterator<Item = &'h str>) -> Result<Hints, String> {
    let mut hints = Hints::default();
    let mut screens = Vec::new();
    for text in texts {
        let (key, value) =
            text.split_once('=').ok_or_else(|| format!("{text:?} is not `hint=value`"))?;
        let unknown = || format!("{text:?}: there is no {key} {value:?}");
        match key {
            "network" => hints.network = Some(value.into()),
            "zone" => hints.zone = Some(value.into()),
            "protocol" => {
                hints.protocol = Some(resolve::known_protocol(value).ok_or_else(unknown)?);
            }
            "screens" => {
                for screen in value.split(',') {
                    screens.push(resolve::known_screen(screen).ok_or_else(unknown)?);
                }
            }
            "ja4" => hints.ja4 = Some(value.into()),
            "syn_rate" => hints.syn_rate = value.parse().map_err(|_| unknown())?,
            _ => return Err(format!("{text:?}: there is no hint {key:?}")),
        }
    }
    hints.screens = screens.into();
    Ok(hints)
}

/// The JSON Schema of a configuration with these kinds of filters.
#[must_use]
pub fn schema(kinds: &Kinds) -> Schema {
    sallyport_config::schema::of_gateway(kinds.iter().map(|kind| (kind.name, kind.schema)))
}

/// A configuration as it was found on disk: the resolved model and what it came from.
#[derive(Debug)]
pub struct Loaded {
    /// The resolved configuration.
    pub config: Config,
    /// SHA-256 over every file's path and content, in hexadecimal.
    pub sha256: String,
    /// The main file and every file it includes.
    pub files: Vec<PathBuf>,
    /// Their text, where it was asked to be kept.
    pub texts: Option<Texts>,
    /// What is worth knowing about it: warnings and notes.
    pub warnings: Problems,
    /// Its filters.
    pub filters: Instances,
    /// The files that it names: pages, and those that filters were made from.
    pub named_files: Files,
    /// How many regexes of routes were compiled for it.
    pub regexes_compiled: usize,
    /// Where each listener is declared: the number of the part, and the index there.
    pub listener_spots: Vec<(usize, usize)>,
    /// What its files are made of, where they are large and were read by [`load`].
    pub pieces: Pieces,
}

/// Reads `path` and everything it includes, and resolves it with these filters.
///
/// # Errors
/// Every problem found, each with file, line, path, what is wrong and how to mend it.
pub fn load(path: &Path, filters: &Filters) -> Result<Loaded, Problems> {
    let mut pieces = Pieces::default();
    let loaded = load_in_pieces(path, &Sources::read(path)?, filters, Some(&mut pieces))?;
    Ok(Loaded { pieces, ..loaded })
}

/// As [`load`], from what was read already.
///
/// # Errors
/// As [`load`].
pub fn load_sources(path: &Path, sources: &Sources, filters: &Filters) -> Result<Loaded, Problems> {
    load_in_pieces(path, sources, filters, None)
}

fn load_in_pieces(
    path: &Path,
    sources: &Sources,
    filters: &Filters,
    pieces: Option<&mut Pieces>,
) -> Result<Loaded, Problems> {
    let (previous, mut patterns) = (Instances::default(), Patterns::default());
    let declaration = declare(sources, &mut filters.reader(path, &previous), pieces);
    let whole = Whole::of_files(sources, &declaration);
    let loaded = resolve(&whole, None, &mut patterns, &mut filters.reader(path, &previous))?;
    Ok(Loaded { texts: Some(Texts::of(sources)), ..loaded })
}

/// Decodes what the files declare. Files that references name are read by `filters`; what `pieces`
/// remembers of large files is not decoded again.
#[must_use]
pub fn declare(
    sources: &Sources,
    filters: &mut Reader<'_>,
    pieces: Option<&mut Pieces>,
) -> Declaration {
    Declaration::of_files(sources.files(), filters, pieces)
}

/// Resolves what is declared. With `running`, whatever cannot change without a restart must be as it is
/// there. Regexes that `patterns` knows are not compiled again.
///
/// # Errors
/// As [`load`]. What is wrong with what a source declares names the source in place of a file.
pub fn resolve(
    whole: &Whole<'_>,
    running: Option<&RestartOnly>,
    patterns: &mut Patterns,
    filters: &mut Reader<'_>,
) -> Result<Loaded, Problems> {
    let declared = Declared::of(whole);
    filters.add_files(whole.declaration.named_files());
    let mut problems = whole.declaration.problems().to_vec();
    let (told, compiled) = (problems.len(), patterns.compiled());
    let config = resolve::resolve(&declared, patterns, filters, &mut problems);
    let found = problems.split_off(told);
    problems.extend(found.into_iter().filter(|found| !declared.is_of_replaced(found)));
    if let Some(running) = running
        && !problems.iter().any(hides_restart_only)
    {
        running.check(&config, &mut problems);
    }
    // Sources are told what keeps them from being served, and have nobody who reads warnings.
    problems.retain(|found| found.is_error() || found.file < declared.files());
    problems.iter_mut().for_each(|found| declared.hide_values(found));
    let mut problems = Problems::locate(problems, &declared.origins);
    problems.extend(whole.files.problems());
    if problems.are_fatal(false) {
        return Err(problems);
    }
    let listeners = declared.listeners().into_iter();
    Ok(Loaded {
        config,
        sha256: whole.sha256.clone(),
        files: whole.files.paths(),
        texts: None,
        warnings: problems,
        filters: filters.instances().clone(),
        named_files: filters.files().clone(),
        regexes_compiled: patterns.compiled() - compiled,
        listener_spots: listeners.map(|(spot, _)| (spot.file, spot.index)).collect(),
        pieces: Pieces::default(),
    })
}

/// The files of one configuration as one, with every default, and references as they are written.
#[must_use]
pub fn effective(files: &[File]) -> Option<serde_json::Value> {
    declared::as_written(files)
}

/// Whether what cannot change without a restart may have been left out because of this problem, so that
/// it would seem to be gone.
fn hides_restart_only(found: &Found) -> bool {
    const SECTIONS: [&str; 3] = ["limits", "classifier", "providers"];
    let is_one = |place: &str| SECTIONS.iter().any(|section| place.starts_with(section));
    found.is_error() && found.file == 0 && (found.place.is_empty() || is_one(&found.place))
}

#[cfg(test)]
mod tests;
