//! The program: embedded at build time, loaded with its maps pinned.

use std::path::Path;

use aya::programs::{ProgramError, Xdp};
use aya::util::KernelVersion;
use aya::{Ebpf, EbpfError, EbpfLoader};
use classifier_abi::map as name;

use super::error::{KERNEL_MIN, KernelError, in_one_line, is_denied};
use super::syncookies;
use crate::config::Limits;

/// The object that `build.rs` found, or nothing.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/classifier-xdp"));

/// The name of the program in the object.
const PROGRAM: &str = "classify";

/// The object of this build.
pub(super) fn embedded() -> Result<&'static [u8], KernelError> {
    if OBJECT.is_empty() { Err(KernelError::NoProgram) } else { Ok(OBJECT) }
}

/// The program in the kernel. Its maps stay for as long as they are pinned.
#[derive(Debug)]
pub(super) struct Program {
    ebpf: Ebpf,
    /// Whether it answers with SYN cookies.
    cookies: bool,
}

/// The byte in the object that turns SYN cookies on.
const COOKIES: &str = "COOKIES";

impl Program {
    /// Loads the program; maps that are not pinned in `folder` yet are made there.
    ///
    /// With SYN cookies where the kernel takes them: from Linux 6.0 on, if built with them, and where
    /// its own are always on, because only then it takes every segment that returns one.
    pub(super) fn load(bytes: &[u8], folder: &Path, limits: &Limits) -> Result<Self, KernelError> {
        check_kernel()?;
        if syncookies::are_taken() {
            match Self::load_with(bytes, folder, limits, true) {
                Err(KernelError::Load { reason }) => {
                    tracing::info!(reason, "this kernel has no SYN cookies for XDP");
                }
                loaded => return loaded,
            }
        }
        Self::load_with(bytes, folder, limits, false)
    }

    /// Whether the program answers with SYN cookies.
    pub(super) fn has_cookies(&self) -> bool {
        self.cookies
    }

    fn load_with(
        bytes: &[u8],
        folder: &Path,
        limits: &Limits,
        cookies: bool,
    ) -> Result<Self, KernelError> {
        let mut loader = EbpfLoader::new();
        let on = u8::from(cookies);
        loader.override_global(COOKIES, &on, true);
        for map in name::ALL {
            loader.map_pin_path(map, folder.join(map));
        }
        for (map, entries) in limits.maps() {
            loader.map_max_entries(map, entries);
        }
        let mut ebpf = loader.load(bytes).map_err(refused::<EbpfError>)?;
        let absent = || KernelError::Load { reason: format!("the object has no `{PROGRAM}`") };
        let program = ebpf.program_mut(PROGRAM).ok_or_else(absent)?;
        let program: &mut Xdp = program.try_into().map_err(refused::<ProgramError>)?;
        program.load().map_err(refused::<ProgramError>)?;
        Ok(Self { ebpf, cookies })
    }

    pub(super) fn xdp(&mut self) -> Result<&mut Xdp, ProgramError> {
        let program = self.ebpf.program_mut(PROGRAM).ok_or(ProgramError::NotLoaded)?;
        program.try_into()
    }
}

fn check_kernel() -> Result<(), KernelError> {
    let (major, minor) = KERNEL_MIN;
    match KernelVersion::current() {
        Ok(found) if found < KernelVersion::new(major, minor, 0) => {
            Err(KernelError::TooOld { found: found.to_string() })
        }
        // A version that cannot be read is no reason not to try.
        _ => Ok(()),
    }
}

fn refused<E: std::error::Error + 'static>(error: E) -> KernelError {
    if is_denied(&error) {
        return KernelError::Denied { what: "load a BPF program".into() };
    }
    // With the verifier's log, where there is one.
    tracing::debug!(%error, "the program was not taken");
    KernelError::Load { reason: in_one_line(&error) }
}
