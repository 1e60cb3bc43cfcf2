//! What holds the program in the kernel: pins, links and maps, from start to end.
//!
//! The maps are made and configured before the program is attached, so that no packet meets a program
//! without a configuration. Links are pinned: they outlive this process, and the next one exchanges the
//! program behind them, so that no packet meets an interface without a program. [`Kernel::mend`] puts
//! back what others took away.

mod error;
mod folder;
mod holder;
pub mod interface;
mod link;
mod notices;
mod object;
pub mod syncookies;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::apply::{Heart, Store};
use crate::backoff::Backoff;
use crate::config::{Config, Mode};

pub use error::KernelError;
pub use folder::{attached_names, link_path};
pub use holder::Foreigner;
pub use link::{Attached, Attachment};
pub use notices::Notices;

use folder::PinFolder;
use link::Links;
use object::Program;

/// A classifier at work.
#[derive(Debug)]
pub struct Kernel {
    folder: PinFolder,
    store: Store,
    links: Links,
    /// The interfaces of the configuration in force that exist, as its zones are written for.
    ifindex: BTreeMap<Box<str>, u32>,
    /// How pins that are gone are made again after that failed, and what was told of it.
    unpinned: Option<(Backoff, String)>,
    /// When zones are written again for interfaces that are back, after that failed.
    zones_due: Option<Backoff>,
}

impl Kernel {
    /// Loads the program, puts `config` in force and attaches the program to its interfaces; takes over
    /// what an earlier process left pinned.
    ///
    /// # Errors
    /// If none of the interfaces exists, another process is at work, the kernel refuses, or what is
    /// pinned does not fit. What this call made is removed again then; what it found stays. Where only
    /// some interfaces exist, the others are waited for: some are better than none.
    pub fn start(config: &Config) -> Result<Self, KernelError> {
        let bytes = object::embedded()?;
        let ifindex = present(config);
        if ifindex.is_empty()
            && let Some((name, _)) = config.attachments().next()
        {
            return Err(KernelError::NoInterface { name: name.into() });
        }
        check_ethernet(&ifindex)?;
        let folder = PinFolder::open(&config.pin_path)?;
        let fresh = folder.check(&config.limits, config.ipv6_prefix)?;
        let started = Self::start_in(&folder, bytes, config, &ifindex);
        if started.is_err() && fresh {
            folder.clear();
        }
        let (store, mut links) = started?;
        links.tell_absent(config, &ifindex);
        let kernel = Self { folder, store, links, ifindex, unpinned: None, zones_due: None };
        kernel.note_interfaces(config);
        Ok(kernel)
    }

    fn start_in(
        folder: &PinFolder,
        bytes: &'static [u8],
        config: &Config,
        ifindex: &BTreeMap<Box<str>, u32>,
    ) -> Result<(Store, Links), KernelError> {
        let program = Program::load(bytes, folder.path(), &config.limits)?;
        folder.grant()?;
        let mut store = Store::open(folder.path(), config.ipv6_prefix, program.has_cookies())?;
        let asks = config.zones.iter().any(|zone| zone.rules.has(classifier_abi::Zone::COOKIES));
        if asks && !program.has_cookies() {
            tracing::warn!("{}", syncookies::HINT);
        }
        store.apply(config, ifindex)?;
        store.heart().beat().map_err(|error| KernelError::folder(folder.path(), error))?;
        let mut links = Links::new(program, folder.path());
        links.adopt(config, ifindex)?;
        links.attach(config, ifindex)?;
        Ok((store, links))
    }

    /// The word that says which generation holds and that a loader is at work.
    #[must_use]
    pub fn heart(&self) -> &Arc<Heart> {
        self.store.heart()
    }

    /// Removes verdicts that have expired.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn sweep_verdicts(&self) -> std::io::Result<()> {
        self.store.sweep_verdicts()
    }

    /// What the program is attached to.
    #[must_use]
    pub fn attached(&self) -> Vec<Attached> {
        self.links.attached()
    }

    /// Puts `config` in force and returns its generation. Interfaces that it adds are attached before,
    /// those that it does not have are detached after.
    ///
    /// # Errors
    /// If an interface that it adds is missing or cannot be attached, or a map cannot be written; then
    /// the configuration before holds. What is amiss with interfaces of the configuration before is no
    /// reason to refuse: [`Kernel::mend`] sees to them.
    pub fn apply(&mut self, config: &Config, before: &Config) -> Result<u32, KernelError> {
        let ifindex = self.present(config);
        let known: BTreeMap<&str, Mode> = before.attachments().collect();
        let mut new = config.attachments().filter(|(name, _)| !known.contains_key(name));
        if let Some((name, _)) = new.find(|(name, _)| !ifindex.contains_key(*name)) {
            return Err(KernelError::NoInterface { name: name.into() });
        }
        let added = self.links.attach(config, &ifindex)?;
        match self.store.apply(config, &ifindex) {
            Ok(generation) => {
                self.links.detach_others(config);
                self.ifindex = ifindex;
                self.note_interfaces(config);
                Ok(generation)
            }
            Err(error) => {
                added.iter().for_each(|name| self.links.detach(name));
                Err(error.into())
            }
        }
    }

    /// Looks whether the program is on every interface of `config`, which is in force, and whether
    /// everything is pinned, and puts back what is not. Returns whether anything changed.
    ///
    /// Each failure is told once and tried again with a back-off.
    pub fn mend(&mut self, config: &Config) -> bool {
        let now = Instant::now();
        self.restore_pins(now);
        let present = self.present(config);
        let lost = self.links.look(config, &present);
        // Zones first: a packet that comes before would be of none.
        self.write_zones(config, &present, now);
        let is_back = self.links.attach_missing(config, &present, now);
        if lost || is_back {
            self.note_interfaces(config);
        }
        lost || is_back
    }

    /// As [`present`], and interfaces that were renamed under the program: they keep it, and so they
    /// keep their zone until an interface of the old name is there.
    fn present(&self, config: &Config) -> BTreeMap<Box<str>, u32> {
        let mut present = present(config);
        for (name, _) in config.attachments() {
            if !present.contains_key(name)
                && let Some(index) = self.links.index_of_renamed(name)
            {
                present.insert(name.into(), index);
            }
        }
        present
    }

    /// Writes zones for the index that an interface has now.
    fn write_zones(&mut self, config: &Config, present: &BTreeMap<Box<str>, u32>, now: Instant) {
        let is_known = |(name, index)| self.ifindex.get(name) == Some(index);
        if present.iter().all(is_known) || self.zones_due.is_some_and(|due| !due.is_due(now)) {
            return;
        }
        match self.store.apply(config, present).and_then(|_| self.store.tidy()) {
            Ok(()) => {
                self.ifindex.clone_from(present);
                self.zones_due = None;
            }
            Err(error) => {
                tracing::error!(%error, "zones of an interface could not be written");
                self.zones_due.get_or_insert(Backoff::begin(now)).failed(now);
            }
        }
    }

    /// Pins again what somebody removed: readers find the maps by their pins, and the next loader takes
    /// over what is pinned.
    fn restore_pins(&mut self, now: Instant) {
        if self.unpinned.as_ref().is_some_and(|(backoff, _)| !backoff.is_due(now)) {
            return;
        }
        match self.try_to_restore_pins() {
            Ok(restored) => {
                self.unpinned = None;
                if !restored.is_empty() {
                    let pins = restored.join(" ");
                    tracing::warn!(pins, "pins were removed: made again");
                }
            }
            Err(error) => {
                let said = error.to_string();
                let (mut backoff, told) = match self.unpinned.take() {
                    Some((backoff, told)) => (backoff, told),
                    None => (Backoff::begin(now), String::new()),
                };
                backoff.failed(now);
                if told != said {
                    tracing::error!(%error, "pins were removed and cannot be made again");
                }
                self.unpinned = Some((backoff, said));
            }
        }
    }

    fn try_to_restore_pins(&mut self) -> Result<Vec<String>, KernelError> {
        if !self.folder.path().is_dir() {
            self.folder = PinFolder::open(self.folder.path())?;
        }
        let restored = self.links.restore_pins()?;
        if !restored.is_empty() {
            self.folder.grant()?;
        }
        Ok(restored)
    }

    fn note_interfaces(&self, config: &Config) {
        let (attached, all) = (self.links.attached().len(), config.attachments().count());
        if let Err(error) = self.heart().note_interfaces(attached, all) {
            tracing::error!(%error, "the number of interfaces could not be written");
        }
    }

    /// Removes what the configuration in force does not have.
    ///
    /// # Errors
    /// If a map cannot be written; packets meet the configuration in force all the same.
    pub fn tidy(&mut self) -> Result<(), KernelError> {
        Ok(self.store.tidy()?)
    }

    /// Ends: detaches and removes the pins, or with `keep` leaves everything in place and only says that
    /// no loader is at work.
    ///
    /// # Errors
    /// If that could not be said.
    pub fn end(mut self, keep: bool) -> Result<(), KernelError> {
        if !keep {
            self.links.detach_all();
        }
        let said = self.heart().end();
        if !keep {
            self.folder.clear();
        }
        said.map_err(|error| KernelError::folder(self.folder.path(), error))
    }
}

/// The index of every interface of `config` that exists.
fn present(config: &Config) -> BTreeMap<Box<str>, u32> {
    let index = |name: &str| match interface::index(name) {
        Ok(index) => index,
        Err(error) => {
            tracing::debug!(%error, name, "the interface cannot be looked up");
            None
        }
    };
    let names = config.attachments().map(|(name, _)| name);
    names.filter_map(|name| Some((name.into(), index(name)?))).collect()
}

fn check_ethernet(ifindex: &BTreeMap<Box<str>, u32>) -> Result<(), KernelError> {
    for (name, index) in ifindex {
        match interface::has_ethernet(*index) {
            Ok(true) => {}
            Ok(false) => return Err(KernelError::NoEthernet { name: name.clone() }),
            Err(error) => return Err(KernelError::Interface { name: name.clone(), error }),
        }
    }
    Ok(())
}
