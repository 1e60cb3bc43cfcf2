//! The file that `discovery: { file: ... }` names: a list of endpoints, as an upstream has it.

use std::path::Path;

use sallyport_config::{Node, Place, Problems, Sources};

use super::origins::Endpoint;
use super::raw;

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
    let mut endpoints = None;
    if let Some(file) = sources.files().first()
        && let Some(value) = sallyport_config::parse(0, &file.text, &mut found)
    {
        let node = Node { value: &value, place: Place::File(0) };
        endpoints = node.mapping(&mut found, |fields, sink| {
            fields.required(sink, "endpoints", raw::discovered_endpoints)
        });
    }
    let mut problems = Problems::locate(found, sources.files());
    problems.extend(sources.problems());
    match endpoints {
        Some(endpoints) if !problems.are_fatal(false) => Ok(endpoints),
        _ => Err(problems),
    }
}
