//! The program: embedded at build time, loaded with its maps pinned.

use std::io;
use std::path::{Path, PathBuf};

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, Xdp, XdpMode};
use aya::util::KernelVersion;
use aya::{Ebpf, EbpfError, EbpfLoader};
use classifier_abi::map as name;

use super::error::{KERNEL_MIN, KernelError, in_one_line, is_denied, os_error};
use super::syncookies;
use crate::config::Limits;

/// The object that `build.rs` found, or nothing.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/classifier-xdp"));

/// The object of this build.
pub(super) fn embedded() -> Result<&'static [u8], KernelError> {
    if OBJECT.is_empty() { Err(KernelError::NoProgram) } else { Ok(OBJECT) }
}

/// What the program uses of a kernel that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Features {
    /// SYN cookies: from Linux 6.0 on, if built with them.
    cookies: bool,
    /// Frames in several buffers: from Linux 5.18 on.
    frags: bool,
}

/// The bytes in the object that turn features on.
const COOKIES: &str = "COOKIES";
const FRAGS: &str = "FRAGS";

impl Features {
    /// The name of the program in the object.
    fn program(self) -> &'static str {
        if self.frags { "classify" } else { "classify_linear" }
    }
}

/// The object in the kernel. Its maps stay for as long as they are pinned.
#[derive(Debug)]
struct Loaded {
    ebpf: Ebpf,
    features: Features,
    /// The kernel's number for the program.
    id: u32,
}

/// The program in the kernel.
#[derive(Debug)]
pub(super) struct Program {
    main: Loaded,
    /// The same for frames in one buffer, for drivers that refuse the other; loaded when it is needed.
    linear: Option<Loaded>,
    bytes: &'static [u8],
    folder: PathBuf,
    limits: Limits,
}

impl Program {
    /// Loads the program with what the kernel has; maps that are not pinned in `folder` yet are made
    /// there.
    ///
    /// SYN cookies are used where the kernel's own are always on: only then it takes every segment that
    /// returns one.
    pub(super) fn load(
        bytes: &'static [u8],
        folder: &Path,
        limits: &Limits,
    ) -> Result<Self, KernelError> {
        check_kernel()?;
        let wanted = syncookies::are_taken();
        let all = [(true, true), (true, false), (false, true), (false, false)];
        let mut refused = Err(KernelError::NoProgram);
        for (cookies, frags) in all.into_iter().filter(|(cookies, _)| wanted || !cookies) {
            let features = Features { cookies, frags };
            match Loaded::load(bytes, folder, limits, features) {
                Ok(main) => {
                    if refused.is_err_and(|error| matches!(error, KernelError::Load { .. })) {
                        tracing::info!(cookies, frags, "loaded with what this kernel has");
                    }
                    let (folder, limits) = (folder.to_path_buf(), limits.clone());
                    return Ok(Self { main, linear: None, bytes, folder, limits });
                }
                Err(error @ KernelError::Load { .. }) => refused = Err(error),
                Err(error) => return Err(error),
            }
        }
        refused
    }

    /// Whether the program answers with SYN cookies.
    pub(super) fn has_cookies(&self) -> bool {
        self.main.features.cookies
    }

    /// Attaches the program; returns the link and the program's number.
    pub(super) fn attach(
        &mut self,
        ifindex: u32,
        mode: XdpMode,
    ) -> Result<(XdpLink, u32), ProgramError> {
        self.with_either(|loaded| {
            let xdp = loaded.xdp()?;
            let id = xdp.attach_to_if_index(ifindex, mode)?;
            xdp.take_link(id)
        })
    }

    /// Puts the program behind the link pinned at `path`; returns the program's number.
    pub(super) fn exchange(&mut self, path: &Path) -> Result<u32, ProgramError> {
        let exchanged = self.with_either(|loaded| {
            let pinned = PinnedLink::from_pin(path).map_err(|error| os_failure(&error))?;
            let link =
                XdpLink::try_from(FdLink::from(pinned)).map_err(|error| os_failure(&error))?;
            let xdp = loaded.xdp()?;
            let id = xdp.attach_to_link(link)?;
            // The pin holds the link; this descriptor need not.
            xdp.take_link(id).map(drop)
        });
        exchanged.map(|((), id)| id)
    }

    /// Does `action` with the program, or with that for frames in one buffer where the driver refuses.
    fn with_either<T>(
        &mut self,
        mut action: impl FnMut(&mut Loaded) -> Result<T, ProgramError>,
    ) -> Result<(T, u32), ProgramError> {
        let error = match action(&mut self.main) {
            Ok(done) => return Ok((done, self.main.id)),
            Err(error) => error,
        };
        let code = os_error(&error);
        let is_final = is_denied(&error)
            || matches!(code, Some(libc::EBUSY | libc::EEXIST | libc::ENOLINK | libc::ENODEV));
        if is_final || !self.main.features.frags {
            return Err(error);
        }
        tracing::debug!(%error, "the program for frames in one buffer is tried");
        match self.linear() {
            Ok(linear) => match action(linear) {
                Ok(done) => Ok((done, linear.id)),
                Err(_) => Err(error),
            },
            Err(reason) => {
                tracing::debug!(%reason, "it cannot be loaded");
                Err(error)
            }
        }
    }

    fn linear(&mut self) -> Result<&mut Loaded, KernelError> {
        let linear = match self.linear.take() {
            Some(linear) => linear,
            None => {
                let features = Features { frags: false, ..self.main.features };
                Loaded::load(self.bytes, &self.folder, &self.limits, features)?
            }
        };
        Ok(self.linear.insert(linear))
    }

    /// Pins maps again whose pins are gone; returns their names.
    pub(super) fn restore_pins(&self) -> Result<Vec<&'static str>, KernelError> {
        let absent = |map: &&str| self.folder.join(map).symlink_metadata().is_err();
        let absent: Vec<&str> = name::ALL.into_iter().filter(absent).collect();
        for name in &absent {
            let path = self.folder.join(name);
            let Some(map) = self.main.ebpf.map(name) else { continue };
            map.pin(&path).map_err(|error| KernelError::folder(&path, os_failure(&error)))?;
        }
        Ok(absent)
    }
}

impl Loaded {
    fn load(
        bytes: &[u8],
        folder: &Path,
        limits: &Limits,
        features: Features,
    ) -> Result<Self, KernelError> {
        let mut loader = EbpfLoader::new();
        let (cookies, frags) = (u8::from(features.cookies), u8::from(features.frags));
        loader.override_global(COOKIES, &cookies, true);
        loader.override_global(FRAGS, &frags, true);
        for map in name::ALL {
            loader.map_pin_path(map, folder.join(map));
        }
        for (map, entries) in limits.maps() {
            loader.map_max_entries(map, entries);
        }
        let ebpf = loader.load(bytes).map_err(refused::<EbpfError>)?;
        let mut loaded = Self { ebpf, features, id: 0 };
        let program = loaded.xdp().map_err(refused::<ProgramError>)?;
        program.load().map_err(refused::<ProgramError>)?;
        let id = program.info().map_err(refused::<ProgramError>)?.id();
        Ok(Self { id, ..loaded })
    }

    fn xdp(&mut self) -> Result<&mut Xdp, ProgramError> {
        let program = self.ebpf.program_mut(self.features.program());
        program.ok_or(ProgramError::NotLoaded)?.try_into()
    }
}

/// What the kernel said, without what was asked of it.
fn os_failure(error: &(dyn std::error::Error + 'static)) -> io::Error {
    io::Error::from_raw_os_error(os_error(error).unwrap_or(libc::EIO))
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
