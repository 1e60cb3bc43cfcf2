//! Data that VMs share with each other, by `vm_id`: it outlives VMs, filters and reloads.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::abi::Status;

/// Bytes of keys and values in the process: a guest that fills it gets errors, the gateway no harm.
const BYTES_MAX: usize = 64 << 20;

/// Of these, of one `vm_id`: entries stay for as long as the process lives, and one guest that keeps
/// something for every client leaves room for the others.
const BYTES_OF_ID_MAX: usize = 16 << 20;

/// What an entry takes besides its bytes, so that empty ones count too.
const ENTRY_BYTES: usize = 128;

/// The shared data of all VMs.
#[derive(Debug, Default)]
pub(super) struct Shared {
    entries: HashMap<(Box<str>, Box<[u8]>), Entry>,
    bytes: usize,
    bytes_of_ids: HashMap<Box<str>, usize>,
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
        let added = value.len() + key.len() + ENTRY_BYTES;
        let bytes = self.bytes - taken + added;
        let of_id = self.bytes_of_ids.get(vm_id).map_or(0, |bytes| *bytes) - taken + added;
        if bytes > BYTES_MAX || of_id > BYTES_OF_ID_MAX {
            return Err(Status::Internal);
        }
        self.bytes = bytes;
        self.bytes_of_ids.insert(vm_id.into(), of_id);
        // 0 means that any version will do.
        self.last_version = self.last_version.wrapping_add(1).max(1);
        self.entries.insert(name, Entry { value: value.into(), version: self.last_version });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES_MAX, BYTES_OF_ID_MAX, Shared};
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
        let half = vec![0; BYTES_OF_ID_MAX / 2];
        shared.set("a", b"1", &half, 0).unwrap();
        assert_eq!(shared.set("a", b"2", &half, 0), Err(Status::Internal));
        shared.set("b", b"2", &half, 0).unwrap();
        shared.set("a", b"1", b"", 0).unwrap();
        shared.set("a", b"2", &half, 0).unwrap();
    }

    #[test]
    fn empty_entries_count_too() {
        let mut shared = Shared::default();
        let mut entries = 0_u32;
        while shared.set("a", &entries.to_le_bytes(), b"", 0).is_ok() {
            entries += 1;
        }
        assert!(entries as usize <= BYTES_OF_ID_MAX / 128, "{entries}");
    }

    #[test]
    fn all_ids_together_hold_no_more_than_the_process_can_spare() {
        let mut shared = Shared::default();
        let whole = vec![0; BYTES_OF_ID_MAX - 1024];
        let set = (0..8).filter(|id| shared.set(&id.to_string(), b"k", &whole, 0).is_ok());
        assert_eq!(set.count(), BYTES_MAX / BYTES_OF_ID_MAX);
    }
}
