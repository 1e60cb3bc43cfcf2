//! Data that VMs share with each other, by `vm_id`: it outlives VMs, filters and reloads.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::abi::Status;

/// Bytes of keys and values in the process: a guest that fills it gets errors, the gateway no harm.
const BYTES_MAX: usize = 64 << 20;

/// What an entry takes besides its bytes, so that empty ones count too.
const ENTRY_BYTES: usize = 128;

/// The shared data of all VMs.
#[derive(Debug, Default)]
pub(super) struct Shared {
    entries: HashMap<(Box<str>, Box<[u8]>), Entry>,
    bytes: usize,
    last_version: u32,
}

#[derive(Debug)]
struct Entry {
    value: Box<[u8]>,
    version: u32,
}

impl Shared {
    /// The process' own.
    pub(super) fn of_process() -> MutexGuard<'static, Self> {
        static SHARED: OnceLock<Mutex<Shared>> = OnceLock::new();
        SHARED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value and its version.
    ///
    /// # Errors
    /// [`Status::NotFound`].
    pub(super) fn value(&self, vm_id: &str, key: &[u8]) -> Result<(Vec<u8>, u32), Status> {
        let entry = self.entries.get(&(vm_id.into(), key.into())).ok_or(Status::NotFound)?;
        Ok((entry.value.to_vec(), entry.version))
    }

    /// Writes the value, if `version` is 0 or that of the value there.
    ///
    /// # Errors
    /// [`Status::CasMismatch`], and [`Status::Internal`] where there is no room.
    pub(super) fn set(
        &mut self,
        vm_id: &str,
        key: &[u8],
        value: &[u8],
        version: u32,
    ) -> Result<(), Status> {
        let name = (Box::from(vm_id), Box::from(key));
        let before = self.entries.get(&name);
        if version != 0 && before.is_none_or(|entry| entry.version != version) {
            return Err(Status::CasMismatch);
        }
        let taken = before.map_or(0, |entry| entry.value.len() + key.len() + ENTRY_BYTES);
        let bytes = self.bytes - taken + value.len() + key.len() + ENTRY_BYTES;
        if bytes > BYTES_MAX {
            return Err(Status::Internal);
        }
        self.bytes = bytes;
        // 0 means that any version will do.
        self.last_version = self.last_version.wrapping_add(1).max(1);
        self.entries.insert(name, Entry { value: value.into(), version: self.last_version });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES_MAX, Shared};
    use crate::wasm::abi::Status;

    #[test]
    fn a_value_is_written_if_nobody_else_wrote_it() {
        let mut shared = Shared::default();
        assert_eq!(shared.value("a", b"k"), Err(Status::NotFound));
        assert_eq!(shared.set("a", b"k", b"1", 7), Err(Status::CasMismatch));
        shared.set("a", b"k", b"1", 0).unwrap();
        let (value, version) = shared.value("a", b"k").unwrap();
        assert_eq!(value, b"1");
        shared.set("a", b"k", b"2", version).unwrap();
        assert_eq!(shared.set("a", b"k", b"3", version), Err(Status::CasMismatch));
        assert_eq!(shared.value("a", b"k").unwrap().0, b"2");
        assert_eq!(shared.value("b", b"k"), Err(Status::NotFound));
    }

    #[test]
    fn there_is_an_end_to_it() {
        let mut shared = Shared::default();
        let half = vec![0; BYTES_MAX / 2];
        shared.set("a", b"1", &half, 0).unwrap();
        assert_eq!(shared.set("a", b"2", &half, 0), Err(Status::Internal));
        shared.set("a", b"1", b"", 0).unwrap();
        shared.set("a", b"2", &half, 0).unwrap();
    }
}
