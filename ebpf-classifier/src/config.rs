//! The classifier's file: read, checked and resolved, or refused with every problem at once.
//!
//! Two steps, two types. `raw` holds what was written; `resolve` turns it into a [`Config`] that cannot
//! be invalid. Nothing here looks at interfaces or maps: whether they exist is for
//! [`kernel`](crate::kernel) to say.

mod fixed;
mod limits;
mod model;
mod raw;
mod resolve;

use std::path::{Path, PathBuf};

pub use fixed::Fixed;
pub use limits::Limits;
pub use model::{Config, IPV6_PREFIX, Interface, Mode, Network, PIN_PATH, Zone};
pub use sallyport_config::{Problem, Problems, Sources};

/// A configuration as it was found on disk.
#[derive(Debug)]
pub struct Loaded {
    /// The resolved configuration.
    pub config: Config,
    /// SHA-256 of the file's path and content, in hexadecimal.
    pub sha256: String,
    /// The files to watch.
    pub files: Vec<PathBuf>,
}

/// Reads `path` and resolves it.
///
/// # Errors
/// Every problem found, each with file, line, path, what is wrong and how to mend it.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    resolve(&Sources::read(path)?, None)
}

/// Resolves what was read. With `running`, whatever cannot change without a restart must be as it is
/// there.
///
/// # Errors
/// As [`load`].
pub fn resolve(sources: &Sources, running: Option<&Fixed>) -> Result<Loaded, Problems> {
    let mut problems = Vec::new();
    let text = sources.files().first().map_or("", |file| &file.text);
    let raw = raw::decode(text, &mut problems);
    let config = raw.map(|raw| resolve::resolve(raw, &mut problems));
    if let (Some(config), Some(running)) = (&config, running)
        && problems.is_empty()
    {
        running.hold(config, &mut problems);
    }
    match config {
        Some(config) if problems.is_empty() => {
            Ok(Loaded { config, sha256: sources.sha256().to_owned(), files: sources.watched() })
        }
        _ => Err(Problems::locate(problems, sources.files())),
    }
}

#[cfg(test)]
mod tests;
