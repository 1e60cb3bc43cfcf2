//! What sources said last, on disk: a gateway restarts while they are away.
//!
//! For each source there is one file of what is in force, one of its endpoints, and a folder of the
//! files that it names. All are for this process's user alone: there are keys among them.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sallyport_config::FILE_BYTES_MAX;
use sallyport_config::delivery::DeliveredFile;
use sallyport_config::regular;
use sallyport_config::spec::Fragment;
use serde::Deserialize;

use super::Written;
use super::groups::{Groups, SavedGroup};

/// How long changes of endpoints are gathered before they are written: they may come many times a
/// second, and what is written serves only a restart.
const GATHER: Duration = Duration::from_secs(1);

/// The folder of what sources said last.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
    /// The sources whose endpoints are about to be written.
    due: Arc<Mutex<HashSet<&'static str>>>,
    /// Whether it was said that nothing can be written.
    is_told: AtomicBool,
}

/// What was read back.
#[derive(Debug)]
pub(super) struct Saved {
    pub(super) version: Box<str>,
    pub(super) since: SystemTime,
    pub(super) fragment: Fragment,
    pub(super) groups: Vec<SavedGroup>,
}

#[derive(Deserialize)]
struct SavedFragment {
    version: Box<str>,
    since_unix_s: u64,
    fragment: Fragment,
}

impl Disk {
    pub(super) fn at(folder: PathBuf) -> Self {
        Self { folder, due: Arc::default(), is_told: AtomicBool::new(false) }
    }

    /// The folder of the files that a source names.
    pub(super) fn files_of(&self, source: &str) -> PathBuf {
        self.folder.join(source)
    }

    fn fragment_of(&self, source: &str) -> PathBuf {
        self.folder.join(format!("{source}.json"))
    }

    /// What a source said last, if that can be read.
    pub(super) fn read(&self, source: &str) -> Option<Saved> {
        let path = self.fragment_of(source);
        let read = match regular::read(&path, FILE_BYTES_MAX) {
            Ok((bytes, _)) => bytes,
            Err(_) if !path.exists() => return None,
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "what a source said last is lost");
                return None;
            }
        };
        let saved: SavedFragment = serde_json::from_slice(&read)
            .inspect_err(|error| {
                tracing::warn!(file = %path.display(), %error, "what a source said last is lost");
            })
            .ok()?;
        let groups = regular::read(&groups_of(&self.folder, source), FILE_BYTES_MAX).ok();
        let groups = groups.and_then(|(bytes, _)| serde_json::from_slice(&bytes).ok());
        let since = UNIX_EPOCH.checked_add(Duration::from_secs(saved.since_unix_s))?;
        Some(Saved {
            version: saved.version,
            since,
            fragment: saved.fragment,
            groups: groups.unwrap_or_default(),
        })
    }

    /// Keeps what is in force of a source, and of its files those that it names.
    pub(super) fn write(
        &self,
        source: &str,
        version: &str,
        since: SystemTime,
        written: &Written,
        files: &[DeliveredFile],
    ) {
        let since = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (version, fragment) = (serde_json::json!(version), written.json().unwrap_or_default());
        let saved =
            format!(r#"{{"version":{version},"since_unix_s":{since},"fragment":{fragment}}}"#);
        self.tell(write(&self.fragment_of(source), saved.as_bytes()));
        let named: HashSet<&str> = files.iter().map(|file| &*file.name).collect();
        let Ok(there) = fs::read_dir(self.files_of(source)) else { return };
        for entry in there.flatten() {
            if entry.file_name().to_str().is_none_or(|name| !named.contains(name)) {
                // Another process may have done so.
                fs::remove_file(entry.path()).ok();
            }
        }
    }

    fn tell(&self, written: io::Result<()>) {
        if let Err(error) = written
            && !self.is_told.swap(true, Ordering::Relaxed)
        {
            let folder = self.folder.display();
            tracing::warn!(%folder, %error, "what sources say cannot be kept: a restart needs them");
        }
    }

    /// Writes the files that a delivery names.
    pub(super) fn write_files(&self, source: &str, files: &[DeliveredFile]) -> io::Result<()> {
        let folder = self.files_of(source);
        for file in files {
            if file.name.contains('/') || file.name.starts_with('.') {
                return Err(io::Error::other(format!("{:?} is no name of a file", file.name)));
            }
            let path = folder.join(&*file.name);
            // The name tells the content.
            if !path.exists() {
                write(&path, &file.bytes)?;
            }
        }
        Ok(())
    }

    /// Keeps the endpoints of a source, with those that change in the next second.
    pub(super) fn write_groups_soon(&self, source: &'static str, groups: &Groups) {
        if !lock(&self.due).insert(source) {
            return;
        }
        let due = self.due.clone();
        let (path, groups) = (groups_of(&self.folder, source), groups.clone());
        let spawned = std::thread::Builder::new().name("sources".into()).spawn(move || {
            std::thread::sleep(GATHER);
            lock(&due).remove(source);
            let saved = serde_json::to_vec(&groups.saved(source)).map_err(io::Error::other);
            if let Err(error) = saved.and_then(|bytes| write(&path, &bytes)) {
                tracing::debug!(file = %path.display(), %error, "endpoints cannot be kept");
            }
        });
        if spawned.is_err() {
            lock(&self.due).remove(source);
        }
    }
}

fn lock<'d>(due: &'d Mutex<HashSet<&'static str>>) -> MutexGuard<'d, HashSet<&'static str>> {
    due.lock().unwrap_or_else(PoisonError::into_inner)
}

fn groups_of(folder: &Path, source: &str) -> PathBuf {
    folder.join(format!("{source}.endpoints.json"))
}

/// Replaces a file as a whole.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let options =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).clone();
    let mut file = options.open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}
