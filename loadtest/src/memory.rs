//! Memory of a process, as the kernel counts it.
//!
//! Proportional set size where the kernel offers it, because nginx's master and worker share most of
//! what they have; resident size otherwise. Socket buffers live in the kernel and appear in neither:
//! the figures are what the program itself holds.

use crate::cpu::family;
use anyhow::{Context, Result};
use std::fs;

/// Bytes held by process `id` and its descendants.
///
/// # Errors
/// The process is gone.
pub fn held_bytes(id: u32) -> Result<u64> {
    family(id)?.into_iter().map(process_bytes).sum()
}

fn process_bytes(id: u32) -> Result<u64> {
    if let Ok(rollup) = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))
        && let Some(bytes) = field_bytes(&rollup, "Pss:")
    {
        return Ok(bytes);
    }
    let status = format!("/proc/{id}/status");
    let text = fs::read_to_string(&status).with_context(|| status.clone())?;
    field_bytes(&text, "VmRSS:").context(status)
}

/// The field of that name, which the kernel gives in `kB` and means as KiB.
fn field_bytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Process;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let rollup = "Rss:     5000 kB\nPss:     4321 kB\nPss_Anon:    10 kB\n";
        assert_eq!(field_bytes(rollup, "Pss:"), Some(4321 * 1024));
        assert_eq!(field_bytes(rollup, "Swap:"), None);
    }

    #[test]
    fn a_process_is_counted_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let alone = Process::start("alone", 0, &["sleep", "60"], dir.path()).unwrap();
        assert!(held_bytes(alone.id()).unwrap() > 0);
        let command = ["sh", "-c", "trap 'kill $!; exit' INT; sleep 60 & wait"];
        let parent = Process::start("parent", 0, &command, dir.path()).unwrap();
        while family(parent.id()).unwrap().len() < 2 {
            std::thread::yield_now();
        }
        // Until it runs its own program a child shares its memory with its parent, then has none.
        let child = family(parent.id()).unwrap()[1];
        let name = || fs::read_to_string(format!("/proc/{child}/comm")).unwrap();
        while name() != "sleep\n" || process_bytes(child).unwrap() == 0 {
            std::thread::yield_now();
        }
        assert!(held_bytes(parent.id()).unwrap() > process_bytes(parent.id()).unwrap());
    }
}
