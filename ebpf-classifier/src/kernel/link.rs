//! Links: a program on an interface, for as long as the link is pinned.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, XdpMode};

use super::error::{KernelError, in_one_line, is_denied, os_error};
use super::folder::{attached_names, link_path};
use super::interface;
use super::object::Program;
use crate::config::{Config, Mode};

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// In the driver.
    Native,
    /// Behind the driver.
    Generic,
}

impl Attachment {
    fn flag(self) -> XdpMode {
        match self {
            Self::Native => XdpMode::Driver,
            Self::Generic => XdpMode::Skb,
        }
    }

    fn satisfies(self, mode: Mode) -> bool {
        match mode {
            Mode::Auto => true,
            Mode::Native => self == Self::Native,
            Mode::Generic => self == Self::Generic,
        }
    }
}

impl fmt::Display for Attachment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

/// An interface with the program on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Its name.
    pub interface: Box<str>,
    /// Its index when the program was attached.
    pub ifindex: u32,
    /// How the program is attached.
    pub mode: Attachment,
}

/// The program and the interfaces it is on.
#[derive(Debug)]
pub(super) struct Links {
    program: Program,
    folder: PathBuf,
    attached: BTreeMap<Box<str>, Attached>,
}

impl Links {
    pub(super) fn new(program: Program, folder: &Path) -> Self {
        Self { program, folder: folder.to_path_buf(), attached: BTreeMap::new() }
    }

    pub(super) fn attached(&self) -> Vec<Attached> {
        self.attached.values().cloned().collect()
    }

    /// Whether one of the interfaces attached to has another index now.
    pub(super) fn is_displaced(&self, ifindex: &BTreeMap<Box<str>, u32>) -> bool {
        let known = |attached: &Attached| ifindex.get(&attached.interface);
        self.attached.values().any(|one| known(one).is_some_and(|now| *now != one.ifindex))
    }

    /// Puts the program behind the links that an earlier process pinned; links of interfaces that
    /// `config` does not have, or that are not the same any more, go.
    pub(super) fn adopt(
        &mut self,
        config: &Config,
        ifindex: &BTreeMap<Box<str>, u32>,
    ) -> Result<(), KernelError> {
        let fail = |error| KernelError::folder(&self.folder, error);
        let modes: BTreeMap<&str, Mode> = config.attachments().collect();
        for name in attached_names(&self.folder).map_err(fail)? {
            let wanted = modes.get(&*name).zip(ifindex.get(&name));
            let adopted = match wanted {
                Some((mode, ifindex)) => self.exchange(&name, *ifindex, *mode)?,
                None => false,
            };
            if !adopted {
                self.unpin(&name);
            }
        }
        Ok(())
    }

    /// Exchanges the program behind a pinned link; returns whether that link is of use.
    fn exchange(&mut self, name: &str, ifindex: u32, mode: Mode) -> Result<bool, KernelError> {
        let refused = |error: &(dyn std::error::Error + 'static)| {
            attach_error(name, Attachment::Native, error)
        };
        let path = link_path(&self.folder, name);
        let link: FdLink = PinnedLink::from_pin(&path).map_err(|error| refused(&error))?.into();
        let id = link.info().map_err(|error| refused(&error))?.id();
        if ifindex_of(id) != Some(ifindex) {
            return Ok(false);
        }
        let found = interface::attachment(ifindex).ok().flatten();
        let Some(found) = found.filter(|found| found.satisfies(mode)) else { return Ok(false) };
        let Ok(link) = XdpLink::try_from(link) else { return Ok(false) };
        let exchanged = self.program.xdp().and_then(|xdp| {
            let id = xdp.attach_to_link(link)?;
            // The pin holds the link; this descriptor need not.
            xdp.take_link(id).map(drop)
        });
        match exchanged {
            Ok(()) => {
                tracing::info!(interface = %name, mode = %found, "taken over");
                self.note(name, ifindex, found);
                Ok(true)
            }
            // The interface went meanwhile.
            Err(error) if os_error(&error) == Some(libc::ENOLINK) => Ok(false),
            Err(error) => Err(attach_error(name, found, &error)),
        }
    }

    /// Attaches the program to every interface of `config` that it is not on, or not as it should
    /// be. Returns those it was not on before; on an error none of these is kept.
    pub(super) fn attach(
        &mut self,
        config: &Config,
        ifindex: &BTreeMap<Box<str>, u32>,
    ) -> Result<Vec<Box<str>>, KernelError> {
        let mut added: Vec<Box<str>> = Vec::new();
        for (name, mode) in config.attachments() {
            let Some(ifindex) = ifindex.get(name) else { continue };
            let result = match self.attached.get(name).cloned() {
                Some(is) if is.ifindex == *ifindex && is.mode.satisfies(mode) => continue,
                Some(is) => {
                    self.reattach(&is, *ifindex, mode, first_choice(config, name, *ifindex))
                }
                None => {
                    let first = first_choice(config, name, *ifindex);
                    self.attach_one(name, *ifindex, mode, first).map(|()| added.push(name.into()))
                }
            };
            if let Err(error) = result {
                added.iter().for_each(|name| self.detach(name));
                return Err(error);
            }
        }
        Ok(added)
    }

    /// The kernel cannot change a link's mode or interface, so one has to end before the other
    /// begins.
    fn reattach(
        &mut self,
        is: &Attached,
        ifindex: u32,
        mode: Mode,
        first: Attachment,
    ) -> Result<(), KernelError> {
        tracing::warn!(interface = %is.interface, "attached anew: unfiltered for a moment");
        self.detach(&is.interface);
        let result = self.attach_one(&is.interface, ifindex, mode, first);
        if result.is_err() && is.ifindex == ifindex {
            let back = if is.mode == Attachment::Native { Mode::Native } else { Mode::Generic };
            self.attach_one(&is.interface, ifindex, back, first)?;
        }
        result
    }

    /// Attaches in `mode`; where that leaves it open, as `first`, else the other way.
    fn attach_one(
        &mut self,
        name: &str,
        ifindex: u32,
        mode: Mode,
        first: Attachment,
    ) -> Result<(), KernelError> {
        let attached = match mode {
            Mode::Native => self.attach_as(name, ifindex, Attachment::Native),
            Mode::Generic => self.attach_as(name, ifindex, Attachment::Generic),
            Mode::Auto => self.attach_as(name, ifindex, first).or_else(|error| {
                let other = match first {
                    Attachment::Native => Attachment::Generic,
                    Attachment::Generic => Attachment::Native,
                };
                tracing::debug!(%error, "{other} mode is tried");
                self.attach_as(name, ifindex, other)
            }),
        }?;
        tracing::info!(interface = %name, mode = %attached, "attached");
        self.note(name, ifindex, attached);
        Ok(())
    }

    fn attach_as(
        &mut self,
        name: &str,
        ifindex: u32,
        mode: Attachment,
    ) -> Result<Attachment, KernelError> {
        let refused = |error: &(dyn std::error::Error + 'static)| attach_error(name, mode, error);
        let taken = self.program.xdp().and_then(|xdp| {
            let id = xdp.attach_to_if_index(ifindex, mode.flag())?;
            xdp.take_link(id)
        });
        let link: XdpLink = taken.map_err(|error: ProgramError| refused(&error))?;
        let link = FdLink::try_from(link).map_err(|error| refused(&error))?;
        let pinned = link.pin(link_path(&self.folder, name)).map_err(|error| refused(&error))?;
        drop(pinned);
        Ok(mode)
    }

    fn note(&mut self, name: &str, ifindex: u32, mode: Attachment) {
        self.attached.insert(name.into(), Attached { interface: name.into(), ifindex, mode });
    }

    /// Takes the program off the interfaces that `config` does not have.
    pub(super) fn detach_others(&mut self, config: &Config) {
        let kept: BTreeMap<&str, Mode> = config.attachments().collect();
        let gone = self.attached.keys().filter(|name| !kept.contains_key(&***name));
        for name in gone.cloned().collect::<Vec<_>>() {
            self.detach(&name);
        }
    }

    pub(super) fn detach_all(&mut self) {
        for name in self.attached.keys().cloned().collect::<Vec<_>>() {
            self.detach(&name);
        }
    }

    pub(super) fn detach(&mut self, name: &str) {
        self.attached.remove(name);
        self.unpin(name);
    }

    /// Ends a link by its pin. It is opened first, because the kernel ends a link at once when a
    /// descriptor closes, but some time later when a pin goes.
    fn unpin(&self, name: &str) {
        let path = link_path(&self.folder, name);
        let link = PinnedLink::from_pin(&path);
        match std::fs::remove_file(&path) {
            Ok(()) => tracing::info!(interface = %name, "detached"),
            Err(error) => tracing::warn!(interface = %name, %error, "could not be detached"),
        }
        drop(link);
    }
}

/// How `auto` attaches first.
///
/// In the driver, but for veth: there this makes every packet that is not one page into one, which
/// costs two thirds of a path's bytes a second, and the other end has to poll for what the program
/// sends back. Generic mode does not see VLAN tags, so an interface with zones by VLAN is not
/// attached to like that.
fn first_choice(config: &Config, name: &str, ifindex: u32) -> Attachment {
    let mut entries = config.interfaces.iter().filter(|interface| &*interface.name == name);
    let has_vlans = entries.any(|interface| interface.vlan.is_some());
    match interface::is_veth(ifindex) {
        Ok(true) if !has_vlans => Attachment::Generic,
        _ => Attachment::Native,
    }
}

fn attach_error(
    name: &str,
    mode: Attachment,
    error: &(dyn std::error::Error + 'static),
) -> KernelError {
    if is_denied(error) {
        return KernelError::Denied { what: format!("attach a program to interface {name}") };
    }
    KernelError::Attach { interface: name.into(), mode, reason: in_one_line(error) }
}

/// The interface of the link with this id, of which a descriptor must be open here: the kernel
/// shows it beside each descriptor. 0 is an interface that is gone.
fn ifindex_of(link: u32) -> Option<u32> {
    let folder = std::fs::read_dir("/proc/self/fdinfo").ok()?;
    folder.filter_map(Result::ok).find_map(|entry| {
        let text = std::fs::read_to_string(entry.path()).ok()?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.strip_prefix(':')?.trim().parse::<u32>().ok()
        };
        (field("link_id")? == link).then(|| field("ifindex")).flatten()
    })
}
