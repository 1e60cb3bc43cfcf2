//! The file that `discovery: { file: ... }` names: a list of endpoints, as an upstream has it.

use std::path::Path;

use sallyport_config::spec::DiscoveredEndpoints;
use sallyport_config::{Place, Problems, Sources, decode};

use super::origins::Endpoint;
use super::resolve;

/// Reads the file at `path`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(path: &Path) -> Result<Vec<Endpoint>, Problems> {
    decode(&Sources::read(path)?)
}

/// Decodes what was read.
///
/// # Errors
/// Everything that is wrong with it.
pub fn decode(sources: &Sources) -> Result<Vec<Endpoint>, Problems> {
    let mut found = Vec::new();
    let text = sources.files().first().map_or("", |file| &file.text);
    let declared = decode::text::<DiscoveredEndpoints>(0, text, &mut found);
    let mut endpoints = None;
    // What could not be read is told already, and what stands in for it is nothing to tell of.
    if found.is_empty()
        && let Some(declared) = declared
    {
        let file = Place::File(0);
        let list = Place::Key(&file, "endpoints");
        let specs = declared.value.endpoints.iter().enumerate();
        let read = specs
            .map(|(index, spec)| resolve::endpoint(spec, &Place::Item(&list, index), &mut found));
        endpoints = read.collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>();
    }
    let mut problems = Problems::locate(found, sources.files());
    problems.extend(sources.problems());
    match endpoints {
        Some(endpoints) if !problems.are_fatal(false) => Ok(endpoints),
        _ => Err(problems),
    }
}
