//! Files that a configuration names: keys, certificates, lists, modules, pages.
//!
//! What was read is remembered with its hash, so that an edit of such a file is an edit of the
//! configuration: [`Files::paths`] are watched beside the file that names them, and
//! [`Files::are_current`] says whether reading them again would give anything else.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::regular::{self, Unreadable};
use crate::tree::{Place, Sink};

/// The largest file that a configuration may name: a compiled-in language runtime in WebAssembly has
/// 30 MiB.
const BYTES_MAX: u64 = 64 << 20;

/// One file, as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FileUse {
    path: PathBuf,
    /// Of its content; `None` where it could not be read.
    sha256: Option<[u8; 32]>,
}

/// The files that were read, those that could not be read among them: the one that is missing may be
/// about to come.
#[derive(Clone, Debug, Default)]
pub struct Files(Vec<FileUse>);

impl Files {
    /// Reads the file at `path` whole, and remembers it.
    ///
    /// # Errors
    /// If it is no regular file, holds more than 64 MiB, or cannot be read.
    pub fn read(&mut self, path: &Path) -> Result<Vec<u8>, Unreadable> {
        let read = read(path);
        let sha256 = read.as_ref().ok().map(|bytes| Sha256::digest(bytes).into());
        self.0.push(FileUse { path: path.to_path_buf(), sha256 });
        read
    }

    /// Reads the file whose path `name` stands at `place`, and remembers it. A relative path begins at
    /// `folder`, the configuration's.
    pub fn read_named(
        &mut self,
        folder: &Path,
        name: &str,
        place: &Place<'_>,
        sink: &mut Sink,
    ) -> Option<(PathBuf, Vec<u8>)> {
        let path = folder.join(name);
        match self.read(&path) {
            Ok(bytes) => Some((path, bytes)),
            Err(error) => place.refuse(
                sink,
                format!("{} cannot be read ({})", path.display(), error.reason()),
                "name a regular file that this process's user may read",
            ),
        }
    }

    /// Adds those that were read elsewhere.
    pub fn extend(&mut self, others: &Self) {
        self.0.extend_from_slice(&others.0);
    }

    /// Their paths.
    pub fn paths(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.0.iter().map(|file| file.path.clone())
    }

    /// Whether all are as they were. Reads them.
    #[must_use]
    pub fn are_current(&self) -> bool {
        self.0.iter().all(|file| {
            let now = read(&file.path).ok().map(|bytes| Sha256::digest(bytes).into());
            now == file.sha256
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Unreadable> {
    regular::read(path, BYTES_MAX).map(|(bytes, _)| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changed_came_or_went_is_not_current() {
        let folder = tempfile::tempdir().unwrap();
        let (here, missing) = (folder.path().join("here"), folder.path().join("missing"));
        std::fs::write(&here, "one").unwrap();
        let mut files = Files::default();
        assert_eq!(files.read(&here).unwrap(), b"one");
        assert!(files.read(&missing).is_err());
        assert!(files.are_current());
        assert_eq!(files.paths().collect::<Vec<_>>(), [here.clone(), missing.clone()]);

        std::fs::write(&here, "two").unwrap();
        assert!(!files.are_current());
        std::fs::write(&here, "one").unwrap();
        assert!(files.are_current());
        std::fs::write(&missing, "").unwrap();
        assert!(!files.are_current());
    }
}
