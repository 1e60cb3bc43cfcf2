//! The configuration file: read, checked and resolved, or refused with every problem at once.
//!
//! Two steps, two types. `raw` holds what was written, file by file; `resolve`
//! turns all files together into a [`Config`] that cannot be invalid, so that nothing behind this
//! module has to check again. Nothing here compiles routes or opens sockets: that is
//! [`snapshot`](crate::snapshot) and [`server`](crate::server).

mod fixed;
mod limits;
mod lines;
mod model;
mod problem;
mod raw;
mod resolve;
mod source;
mod tree;
mod units;

use std::path::{Path, PathBuf};

pub use fixed::Fixed;
pub use limits::Limits;
pub use model::{
    Action, Admin, Config, Forward, HashOn, HealthCheck, Listener, ListenerTimeouts, Redirect,
    Respond, Route, Target, Upstream, UpstreamTimeouts, VirtualHost,
};
pub use problem::{Problem, Problems};
pub use source::{FILE_BYTES_MAX, Sources};
pub use units::duration;

/// A configuration as it was found on disk: the resolved model and what it came from.
#[derive(Debug)]
pub struct Loaded {
    /// The resolved configuration.
    pub config: Config,
    /// SHA-256 over every file's path and content, in hexadecimal.
    pub sha256: String,
    /// The main file and every file it includes.
    pub files: Vec<PathBuf>,
}

/// Reads `path` and everything it includes, and resolves it.
///
/// # Errors
/// Every problem found, each with file, line, path, what is wrong and how to mend it.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    Sources::read(path)?.resolve(None)
}

impl Sources {
    /// Resolves the files. With `running`, whatever cannot change without a restart must be as it
    /// is there.
    ///
    /// # Errors
    /// As [`load`].
    pub fn resolve(self, running: Option<&Fixed>) -> Result<Loaded, Problems> {
        let mut problems = Vec::new();
        let raws = self.files.iter().enumerate();
        let raws = raws
            .filter_map(|(index, file)| raw::decode(index, &file.text, &mut problems))
            .collect();
        let mut config = resolve::resolve(raws, &mut problems);
        if let Some(running) = running.filter(|_| problems.is_empty()) {
            running.hold(&mut config, &mut problems);
        }
        if !problems.is_empty() {
            return Err(Problems::locate(problems, &self.files));
        }
        let files = self.paths();
        Ok(Loaded { config, sha256: self.sha256().to_owned(), files })
    }
}

#[cfg(test)]
mod tests;
