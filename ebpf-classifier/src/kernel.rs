//! What holds the program in the kernel: pins, links and maps, from start to end.
//!
//! The maps are made and configured before the program is attached, so that no packet meets a program
//! without a configuration. Links are pinned: they outlive this process, and the next one exchanges the
//! program behind them, so that no packet meets an interface without a program.

mod error;
mod folder;
pub mod interface;
mod link;
mod object;
pub mod syncookies;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::apply::{Heart, Store};
use crate::config::Config;

pub use error::KernelError;
pub use folder::attached_names;
pub use link::{Attached, Attachment};

use folder::PinFolder;
use link::Links;
use object::Program;

/// A classifier at work.
#[derive(Debug)]
pub struct Kernel {
    folder: PinFolder,
    store: Store,
    links: Links,
}

impl Kernel {
    /// Loads the program, puts `config` in force and attaches the program to its interfaces; takes over
    /// what an earlier process left pinned.
    ///
    /// # Errors
    /// If an interface is missing, another process is at work, the kernel refuses, or what is pinned
    /// does not fit. What this call made is removed again then; what it found stays.
    pub fn start(config: &Config) -> Result<Self, KernelError> {
        let bytes = object::embedded()?;
        let ifindex = indices(config)?;
        let folder = PinFolder::open(&config.pin_path)?;
        let fresh = folder.check(&config.limits, config.ipv6_prefix)?;
        let started = Self::start_in(&folder, bytes, config, &ifindex);
        if started.is_err() && fresh {
            folder.clear();
        }
        let (store, links) = started?;
        Ok(Self { folder, store, links })
    }

    fn start_in(
        folder: &PinFolder,
        bytes: &[u8],
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
    /// If an interface is missing or cannot be attached, or a map cannot be written; then the
    /// configuration before holds.
    pub fn apply(&mut self, config: &Config) -> Result<u32, KernelError> {
        let ifindex = indices(config)?;
        let added = self.links.attach(config, &ifindex)?;
        match self.store.apply(config, &ifindex) {
            Ok(generation) => {
                self.links.detach_others(config);
                Ok(generation)
            }
            Err(error) => {
                added.iter().for_each(|name| self.links.detach(name));
                Err(error.into())
            }
        }
    }

    /// Removes what the configuration in force does not have.
    ///
    /// # Errors
    /// If a map cannot be written; packets meet the configuration in force all the same.
    pub fn tidy(&mut self) -> Result<(), KernelError> {
        Ok(self.store.tidy()?)
    }

    /// Whether an interface of `config` is not the one any more that the program was attached to.
    #[must_use]
    pub fn is_displaced(&self, config: &Config) -> bool {
        indices(config).is_ok_and(|ifindex| self.links.is_displaced(&ifindex))
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

/// The index of every interface of `config`.
fn indices(config: &Config) -> Result<BTreeMap<Box<str>, u32>, KernelError> {
    config
        .attachments()
        .map(|(name, _)| match interface::index(name) {
            Ok(Some(index)) => match interface::has_ethernet(index) {
                Ok(true) => Ok((name.into(), index)),
                Ok(false) => Err(KernelError::NoEthernet { name: name.into() }),
                Err(error) => Err(KernelError::Interface { name: name.into(), error }),
            },
            Ok(None) => Err(KernelError::NoInterface { name: name.into() }),
            Err(error) => Err(KernelError::Interface { name: name.into(), error }),
        })
        .collect()
}
