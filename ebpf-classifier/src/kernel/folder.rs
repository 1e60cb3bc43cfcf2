//! The folder of pins: who works on it, what is in it, and who may read that.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use classifier_abi::{
    Address, Flow, FlowKey, Meta, Network, Prefix, Slots, Source, Verdict, map as name,
};

use super::error::KernelError;
use crate::config::Limits;
use crate::pinned::{self, Access, Key, Map, OpenError, Value};

/// `BPF_FS_MAGIC`.
const BPF_FS: u64 = 0xcafe_4a11;

/// What a link's pin begins with.
const LINK: &str = "link-";

/// The gateway's group reads all maps, and writes verdicts.
const MODE: u32 = 0o640;
const VERDICTS_MODE: u32 = 0o660;
/// Made by this process only where tmpfiles.d did not make it.
const FOLDER_MODE: u32 = 0o750;

/// The folder of pins, and the right to change it for as long as this lives. The lock is the kernel's:
/// it goes with the process however that ends.
#[derive(Debug)]
pub(super) struct PinFolder {
    path: PathBuf,
    _lock: File,
}

impl PinFolder {
    /// Opens the folder, making it if it is missing.
    pub(super) fn open(path: &Path) -> Result<Self, KernelError> {
        let fail = |error| KernelError::folder(path, error);
        let existing = path.ancestors().find(|folder| folder.exists()).unwrap_or(path);
        let kind = rustix::fs::statfs(existing).map_err(|error| fail(error.into()))?.f_type;
        if kind as u64 & 0xffff_ffff != BPF_FS {
            return Err(KernelError::NotBpf { path: path.to_path_buf() });
        }
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path).map_err(fail)?;
        let lock = File::open(path).map_err(fail)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_path_buf(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(KernelError::Locked { path: path.to_path_buf() }),
            Err(TryLockError::Error(error)) => Err(fail(error)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether what is pinned, if anything is, can be taken over. Returns whether nothing was.
    pub(super) fn check(&self, limits: &Limits, ipv6_prefix: u32) -> Result<bool, KernelError> {
        let at = self.path.join(name::META);
        let meta = match Map::<u32, Meta>::open(&at, Access::Read) {
            Ok(meta) => meta,
            Err(OpenError::Absent { .. }) => return Ok(true),
            Err(error) => return Err(self.foreign(error)),
        };
        // All zeros: a first start that was cut off before it had written anything.
        let found = meta.lookup(&0).map_err(|error| KernelError::folder(&at, error))?;
        if found.unwrap_or_default() != Meta::default() {
            pinned::check(&meta, &at).map_err(|error| self.foreign(error))?;
            let made_for = found.unwrap_or_default().ipv6_prefix;
            if made_for != ipv6_prefix {
                return Err(KernelError::Prefix {
                    path: self.path.clone(),
                    found: made_for,
                    wanted: ipv6_prefix,
                });
            }
        }
        self.size::<Address, Source>(name::SOURCES, limits.sources, 1)?;
        self.size::<FlowKey, Flow>(name::FLOWS, limits.flows, 1)?;
        self.size::<Address, Verdict>(name::VERDICTS, limits.verdicts, 1)?;
        self.size::<Prefix, Slots<Network>>(name::NETWORKS, limits.networks, 2)?;
        self.size::<Address, u64>(name::HANDSHAKES, limits.handshakes, 1)?;
        Ok(false)
    }

    fn size<K: Key, V: Value>(
        &self,
        map: &'static str,
        wanted: u32,
        each: u32,
    ) -> Result<(), KernelError> {
        match Map::<K, V>::open(&self.path.join(map), Access::Read) {
            Ok(found) if found.entries_max() != wanted * each => Err(KernelError::Size {
                path: self.path.clone(),
                map,
                found: found.entries_max() / each,
                wanted,
            }),
            Ok(_) | Err(OpenError::Absent { .. }) => Ok(()),
            Err(error) => Err(self.foreign(error)),
        }
    }

    fn foreign(&self, error: OpenError) -> KernelError {
        match error {
            OpenError::Abi { .. } | OpenError::Layout { .. } => {
                KernelError::Foreign { path: self.path.clone(), error }
            }
            OpenError::Denied { path } => {
                KernelError::Denied { what: format!("open {}", path.display()) }
            }
            error => error.into(),
        }
    }

    /// Lets the folder's group read the maps and write verdicts.
    pub(super) fn grant(&self) -> Result<(), KernelError> {
        for map in name::ALL {
            let path = self.path.join(map);
            let mode = match map {
                name::VERDICTS | name::VERDICT_PREFIXES | name::VERDICT_MARKS => VERDICTS_MODE,
                _ => MODE,
            };
            fs::set_permissions(&path, Permissions::from_mode(mode))
                .map_err(|error| KernelError::folder(&path, error))?;
        }
        Ok(())
    }

    /// Removes every pin of ours. What cannot be removed is logged: there is nothing else to do.
    pub(super) fn clear(&self) {
        let links = attached_names(&self.path).unwrap_or_default();
        let links = links.iter().map(|interface| link_path(&self.path, interface));
        let maps = name::ALL.iter().map(|map| self.path.join(map));
        for path in links.chain(maps) {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "the pin could not be removed");
                }
                _ => {}
            }
        }
    }
}

/// The pin of an interface's link. A BPF file system takes no dots, which VLAN interfaces have.
#[must_use]
pub fn link_path(folder: &Path, interface: &str) -> PathBuf {
    folder.join(format!("{LINK}{}", interface.replace('%', "%25").replace('.', "%2E")))
}

/// The interfaces whose links are pinned in `folder`.
///
/// # Errors
/// If the folder cannot be listed.
pub fn attached_names(folder: &Path) -> io::Result<Vec<Box<str>>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let file = entry?.file_name();
        let encoded = file.to_str().and_then(|file| file.strip_prefix(LINK));
        names.extend(encoded.map(|name| name.replace("%2E", ".").replace("%25", "%").into()));
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_interfaces_with_dots_have_pins_without() {
        let folder = tempfile::tempdir().unwrap();
        for interface in ["eth0", "eth0.100", "a%2Eb", "weird%."] {
            let path = link_path(folder.path(), interface);
            assert!(!path.file_name().unwrap().to_str().unwrap().contains('.'));
            fs::write(&path, "").unwrap();
            assert_eq!(attached_names(folder.path()).unwrap(), [interface.into()]);
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_folder_elsewhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = PinFolder::open(&folder.path().join("pins")).unwrap_err();
        assert!(error.to_string().contains("mount -t bpf bpf"), "{error}");
    }
}
