//! Links: a program on an interface, for as long as the link is pinned.
//!
//! What was attached may be lost: an interface is deleted, and perhaps made anew; somebody detaches the
//! link. [`Links::look`] finds that out and [`Links::attach_missing`] puts the program back, with a
//! back-off where that fails. Each state of an interface is told once.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use aya::programs::XdpMode;
use aya::programs::links::FdLink;

use super::error::{KernelError, in_one_line, is_denied, os_error};
use super::folder::{attached_names, link_path};
use super::holder::Foreigner;
use super::interface;
use super::object::Program;
use crate::backoff::Backoff;
use crate::config::{Config, Mode};
use crate::pinned::{Link, LinkState};

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
    /// The kernel's number for the program.
    pub program: u32,
}

/// A link that holds the program.
#[derive(Debug)]
struct Held {
    attached: Attached,
    link: Link,
}

/// An interface of the configuration that should have the program and does not.
#[derive(Debug, Default)]
struct Missing {
    /// Its index when attaching was tried; `None` while it does not exist.
    ifindex: Option<u32>,
    backoff: Option<Backoff>,
    /// What the operator was told of it last.
    told: String,
}

/// The program and the interfaces it is on.
#[derive(Debug)]
pub(super) struct Links {
    program: Program,
    folder: PathBuf,
    held: BTreeMap<Box<str>, Held>,
    missing: BTreeMap<Box<str>, Missing>,
}

impl Links {
    pub(super) fn new(program: Program, folder: &Path) -> Self {
        let folder = folder.to_path_buf();
        Self { program, folder, held: BTreeMap::new(), missing: BTreeMap::new() }
    }

    /// Every interface that the program is on.
    pub(super) fn attached(&self) -> Vec<Attached> {
        self.held.values().map(|held| held.attached.clone()).collect()
    }

    /// The index of an interface that has the program and another name by now; `None` where it does not
    /// exist in this network namespace.
    pub(super) fn index_of_renamed(&self, name: &str) -> Option<u32> {
        let ifindex = self.held.get(name)?.attached.ifindex;
        matches!(interface::holder(ifindex), Ok(Some(_))).then_some(ifindex)
    }

    /// Pins maps and links again whose pins are gone; returns the names of these.
    pub(super) fn restore_pins(&self) -> Result<Vec<String>, KernelError> {
        let maps = self.program.restore_pins()?;
        let mut restored: Vec<String> = maps.into_iter().map(str::to_owned).collect();
        for (name, held) in &self.held {
            let path = link_path(&self.folder, name);
            if path.symlink_metadata().is_err() {
                held.link.pin(&path).map_err(|error| KernelError::folder(&path, error))?;
                restored.push(format!("link-{name}"));
            }
        }
        Ok(restored)
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
        let path = link_path(&self.folder, name);
        let fail = |error| KernelError::folder(&path, error);
        let link = Link::open(&path).map_err(fail)?;
        if link.state().map_err(fail)?.ifindex != Some(ifindex) {
            return Ok(false);
        }
        let found = interface::holder(ifindex).ok().flatten();
        let Some(found) = found.filter(|found| found.mode.satisfies(mode)) else {
            return Ok(false);
        };
        match self.program.exchange(&path) {
            Ok(program) => {
                tracing::info!(interface = %name, mode = %found.mode, "taken over");
                self.note(name, ifindex, found.mode, program, link);
                Ok(true)
            }
            // The interface went meanwhile.
            Err(error) if os_error(&error) == Some(libc::ENOLINK) => Ok(false),
            Err(error) => Err(attach_error(name, ifindex, found.mode, &error)),
        }
    }

    /// Attaches the program to every interface of `ifindex` that it is not on, or not as it should be;
    /// interfaces that are tried again by themselves are left to that. Returns those it was not on
    /// before; on an error none of these is kept.
    pub(super) fn attach(
        &mut self,
        config: &Config,
        ifindex: &BTreeMap<Box<str>, u32>,
    ) -> Result<Vec<Box<str>>, KernelError> {
        let mut added: Vec<Box<str>> = Vec::new();
        for (name, mode) in config.attachments() {
            let Some(ifindex) = ifindex.get(name) else { continue };
            if self.missing.contains_key(name) {
                continue;
            }
            let result = match self.held.get(name).map(|held| held.attached.clone()) {
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

    /// Looks whether the program is still where it was attached; returns whether it is not. `present`
    /// has the index of every interface of `config` that exists.
    pub(super) fn look(&mut self, config: &Config, present: &BTreeMap<Box<str>, u32>) -> bool {
        let lost = self.held.iter().filter_map(|(name, held)| {
            let state = held.link.state().ok();
            let why = lost(held, state, present.get(name).copied())?;
            Some((name.clone(), why, state.and_then(|state| state.ifindex)))
        });
        let lost: Vec<_> = lost.collect();
        for (name, why, still_on) in &lost {
            tracing::warn!(interface = %name, "{why}");
            self.held.remove(name);
            // The pin of a link that holds nothing stays until the next one: `status` goes by it.
            if still_on.is_some() {
                self.unpin(name);
            }
            self.missing.insert(name.clone(), Missing::default());
        }
        for (name, _) in config.attachments() {
            if !self.held.contains_key(name) && !present.contains_key(name) {
                let missing = self.missing.entry(name.into()).or_default();
                missing.ifindex = None;
            }
        }
        !lost.is_empty()
    }

    /// Says which interfaces of `config` do not exist; for the start, when nothing was lost yet.
    pub(super) fn tell_absent(&mut self, config: &Config, present: &BTreeMap<Box<str>, u32>) {
        for (name, _) in config.attachments() {
            if !present.contains_key(name) && !self.missing.contains_key(name) {
                let why = "it does not exist: it is attached to when it is there";
                tracing::warn!(interface = %name, "{why}");
                self.missing.insert(name.into(), Missing::default());
            }
        }
    }

    /// Attaches the program to interfaces that should have it and do not; returns whether it was
    /// attached to one.
    pub(super) fn attach_missing(
        &mut self,
        config: &Config,
        present: &BTreeMap<Box<str>, u32>,
        now: Instant,
    ) -> bool {
        let mut any = false;
        for (name, mode) in config.attachments() {
            let Some(&ifindex) = present.get(name) else { continue };
            if !self.missing.get_mut(name).is_some_and(|missing| missing.is_due(ifindex, now)) {
                continue;
            }
            let first = first_choice(config, name, ifindex);
            match self.attach_one(name, ifindex, mode, first) {
                Ok(()) => any = true,
                Err(error) => {
                    if let Some(missing) = self.missing.get_mut(name) {
                        missing.failed(name, &error, now);
                    }
                }
            }
        }
        any
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
        if !interface::has_ethernet(ifindex).unwrap_or(true) {
            return Err(KernelError::NoEthernet { name: name.into() });
        }
        let attached = match mode {
            Mode::Native => self.attach_as(name, ifindex, Attachment::Native),
            Mode::Generic => self.attach_as(name, ifindex, Attachment::Generic),
            Mode::Auto => self.attach_as(name, ifindex, first).or_else(|error| {
                let other = match first {
                    Attachment::Native => Attachment::Generic,
                    Attachment::Generic => Attachment::Native,
                };
                // In either mode.
                if matches!(error, KernelError::Taken(_)) {
                    return Err(error);
                }
                tracing::debug!(%error, "{other} mode is tried");
                self.attach_as(name, ifindex, other)
            }),
        }?;
        tracing::info!(interface = %name, mode = %attached, "attached");
        Ok(())
    }

    fn attach_as(
        &mut self,
        name: &str,
        ifindex: u32,
        mode: Attachment,
    ) -> Result<Attachment, KernelError> {
        let refused =
            |error: &(dyn std::error::Error + 'static)| attach_error(name, ifindex, mode, error);
        let (link, program) =
            self.program.attach(ifindex, mode.flag()).map_err(|error| refused(&error))?;
        let link = FdLink::try_from(link).map_err(|error| refused(&error))?;
        let path = link_path(&self.folder, name);
        // That of a link which holds nothing any more.
        drop(std::fs::remove_file(&path));
        drop(link.pin(&path).map_err(|error| refused(&error))?);
        let link = Link::open(&path).map_err(|error| KernelError::folder(&path, error))?;
        self.note(name, ifindex, mode, program, link);
        Ok(mode)
    }

    fn note(&mut self, name: &str, ifindex: u32, mode: Attachment, program: u32, link: Link) {
        let attached = Attached { interface: name.into(), ifindex, mode, program };
        self.missing.remove(name);
        self.held.insert(name.into(), Held { attached, link });
    }

    /// Takes the program off the interfaces that `config` does not have.
    pub(super) fn detach_others(&mut self, config: &Config) {
        let kept: BTreeMap<&str, Mode> = config.attachments().collect();
        let all = self.held.keys().chain(self.missing.keys());
        let gone = all.filter(|name| !kept.contains_key(&***name));
        for name in gone.cloned().collect::<Vec<_>>() {
            self.detach(&name);
        }
    }

    pub(super) fn detach_all(&mut self) {
        let all: Vec<_> = self.held.keys().chain(self.missing.keys()).cloned().collect();
        for name in all {
            self.detach(&name);
        }
    }

    pub(super) fn detach(&mut self, name: &str) {
        self.missing.remove(name);
        let held = self.held.remove(name);
        self.unpin(name);
        drop(held);
    }

    /// Removes a link's pin. The kernel ends a link at once when its last descriptor closes, but some
    /// time later when its last pin goes: so one is opened first.
    fn unpin(&self, name: &str) {
        let path = link_path(&self.folder, name);
        let link = Link::open(&path);
        match std::fs::remove_file(&path) {
            Ok(()) => tracing::info!(interface = %name, "detached"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(interface = %name, %error, "could not be detached"),
        }
        drop(link);
    }
}

impl Missing {
    /// Whether attaching is to be tried: at once on another interface than was tried before.
    fn is_due(&mut self, ifindex: u32, now: Instant) -> bool {
        if self.ifindex != Some(ifindex) {
            *self = Self { ifindex: Some(ifindex), ..Self::default() };
        }
        self.backoff.is_none_or(|backoff| backoff.is_due(now))
    }

    fn failed(&mut self, name: &str, error: &KernelError, now: Instant) {
        match &mut self.backoff {
            Some(backoff) => backoff.failed(now),
            None => self.backoff = Some(Backoff::begin(now)),
        }
        let said = error.to_string();
        if self.told != said {
            tracing::error!(interface = %name, %error, "not attached: it is tried again and again");
            self.told = said;
        }
    }
}

/// Why the program is not on the interface any more; `None` if it is. `index` is the one that the
/// interface has now: one that was moved to another network namespace has none.
fn lost(held: &Held, state: Option<LinkState>, index: Option<u32>) -> Option<&'static str> {
    let attached = &held.attached;
    if index.is_some_and(|index| index != attached.ifindex) {
        return Some("an interface was made anew: attaching to it");
    }
    match state.filter(|_| index.is_some()) {
        Some(LinkState { ifindex: Some(ifindex), program }) if ifindex == attached.ifindex => {
            (program != attached.program)
                .then_some("another program was put in place of ours: attaching it again")
        }
        _ if index.is_none() => Some("the interface is gone: it is attached to when it is back"),
        _ => Some("the program was taken off the interface: attaching it again"),
    }
}

/// How `auto` attaches first.
///
/// In the driver, but for veth: there this makes every packet that is not one page into one, which
/// costs two thirds of a path's bytes a second, and what the program sends back is lost unless the
/// other end has a program too. Generic mode does not see VLAN tags, so an interface with zones by VLAN is not
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
    ifindex: u32,
    mode: Attachment,
    error: &(dyn std::error::Error + 'static),
) -> KernelError {
    if is_denied(error) {
        return KernelError::Denied { what: format!("attach a program to interface {name}") };
    }
    // `EBUSY` in the same mode, `EEXIST` in the other.
    if matches!(os_error(error), Some(libc::EBUSY | libc::EEXIST))
        && let Some(foreigner) = Foreigner::find(name, ifindex)
    {
        return KernelError::Taken(foreigner);
    }
    KernelError::Attach { interface: name.into(), mode, reason: in_one_line(error) }
}
