//! The classifier's file: read, checked and resolved, or refused with every problem at once.
//!
//! Two steps, two types. `raw` holds what was written; `resolve` turns it into a [`Config`] that cannot
//! be invalid. Nothing here looks at interfaces or maps: whether they exist is for
//! [`kernel`](crate::kernel) to say.

mod fixed;
mod limits;
mod list;
mod model;
mod raw;
mod resolve;

use std::path::Path;

pub use fixed::Fixed;
pub use limits::Limits;
pub use list::Lists;
pub use model::{Config, IPV6_PREFIX, Interface, List, Mode, Network, PIN_PATH, Zone};
use sallyport_config::{Found, Sink};
pub use sallyport_config::{Problem, Problems, Sources};

/// A configuration as it was found on disk.
#[derive(Debug)]
pub struct Loaded {
    /// The resolved configuration.
    pub config: Config,
    /// SHA-256 of the file's path and content, in hexadecimal.
    pub sha256: String,
    /// What is worth knowing about it: warnings and notes.
    pub warnings: Problems,
}

/// Reads `path` and the lists that it names, and resolves it.
///
/// # Errors
/// Every problem found, each with file, line, path, what is wrong and how to mend it.
pub fn load(path: &Path, lists: &mut Lists) -> Result<Loaded, Problems> {
    resolve(&Sources::read(path)?, None, lists)
}

/// Resolves what was read, with its lists as `lists` has them or as they are read now. With `running`,
/// whatever cannot change without a restart must be as it is there.
///
/// # Errors
/// As [`load`]; `lists` has the files all the same.
pub fn resolve(
    sources: &Sources,
    running: Option<&Fixed>,
    lists: &mut Lists,
) -> Result<Loaded, Problems> {
    let mut problems = Vec::new();
    let text = sources.files().first().map_or("", |file| &file.text);
    let raw = raw::decode(text, &mut problems);
    let folder = sources.files().first().and_then(|file| file.path.parent());
    let folder = folder.unwrap_or(Path::new(""));
    let config = raw.map(|raw| {
        lists.begin();
        let config = resolve::resolve(raw, folder, lists, &mut problems);
        lists.end();
        config
    });
    let is_usable = |problems: &Sink| !problems.iter().any(Found::is_error);
    if let (Some(config), Some(running)) = (&config, running)
        && is_usable(&problems)
    {
        running.hold(config, &mut problems);
    }
    let is_usable = is_usable(&problems);
    let problems = Problems::locate(problems, sources.files());
    match config {
        Some(config) if is_usable => {
            Ok(Loaded { config, sha256: sources.sha256().to_owned(), warnings: problems })
        }
        _ => Err(problems),
    }
}

#[cfg(test)]
mod tests;
