//! Verdicts: sources that are no longer let in, for a time.
//!
//! The gateway's own table is what counts; it is enforced here, before TLS, whether there is a
//! classifier or not. Where its map may be written to, every verdict is also there, and XDP drops the
//! source's packets before they cost a connection. `offences` counts what earns a verdict,
//! [`accept`](crate::accept) turns connections away. It deliberately has no opinion on what an offence is: that is
//! [`proxy`](crate::proxy)'s to say.

mod offences;
mod window;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use ipnet::IpNet;
use sallyport_classifier::pinned::abi::{Verdict, VerdictReason};
use sallyport_classifier::pinned::ktime_ns;
use sallyport_stats::{Registry, VerdictStats};

use crate::classifier::Classifier;
use crate::config::{self, IPV6_PREFIX, Offence};

pub use offences::OffenceSet;
use offences::Offences;

/// Verdicts at once where no configuration says how many.
const ACTIVE_MAX: usize = 10_000;

/// Why a verdict was not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The configuration exempts the source.
    #[error("the source is exempt")]
    Exempt,
    /// The classifier's configuration allows the source's network.
    #[error("the source is of a network marked `allow`")]
    Allowed,
    /// There are as many as there may be.
    #[error("there are as many verdicts as there may be")]
    Full,
}

impl Refusal {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Exempt, Self::Allowed, Self::Full];

    /// Its name in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Exempt => "exempt",
            Self::Allowed => "allowed",
            Self::Full => "full",
        }
    }
}

/// A verdict as a list shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The source.
    pub address: IpNet,
    /// The name of the reason; `unknown` for a number that has none.
    pub reason: &'static str,
    /// How long it still holds.
    pub left: Duration,
}

/// A verdict as one process hands it to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The source.
    pub source: IpNet,
    /// When it ends, by the kernel's clock.
    pub expires_ns: u64,
    /// The number of its reason.
    pub reason: u32,
}

/// The verdicts of one gateway.
#[derive(Debug)]
pub struct Verdicts {
    registry: Arc<Registry>,
    classifier: Option<Arc<Classifier>>,
    table: RwLock<Table>,
    /// As many as the table holds, so that nobody locks it while it is empty.
    active: AtomicUsize,
    /// How much of an IPv6 address a verdict is on.
    ipv6_prefix: AtomicU8,
    offences: Offences,
}

/// A source as verdicts have it: an IPv4 address, or the prefix of an IPv6 one.
#[must_use]
pub fn source(address: IpAddr, ipv6_prefix: u8) -> IpNet {
    match address.to_canonical() {
        IpAddr::V4(address) => IpNet::from(IpAddr::V4(address)),
        address => IpNet::new_assert(address, ipv6_prefix.min(128)).trunc(),
    }
}

#[derive(Debug, Default)]
struct Table {
    rules: Option<config::Verdicts>,
    held: HashMap<IpNet, Verdict>,
    /// The opening of the classifier's maps that has them all.
    written: Option<u64>,
}

impl Verdicts {
    /// None yet; `classifier` is told of those to come.
    #[must_use]
    pub fn new(registry: Arc<Registry>, classifier: Option<Arc<Classifier>>) -> Self {
        Self {
            registry,
            classifier,
            table: RwLock::default(),
            active: AtomicUsize::new(0),
            ipv6_prefix: AtomicU8::new(IPV6_PREFIX),
            offences: Offences::default(),
        }
    }

    /// Applies what the configuration says now. Verdicts in force stay; what was counted towards
    /// others is forgotten where the rules changed.
    pub fn configure(&self, rules: Option<&config::Verdicts>) {
        let mut table = self.lock();
        if table.rules.as_ref() == rules {
            return;
        }
        table.rules = rules.cloned();
        let prefix = rules.map_or(IPV6_PREFIX, |rules| rules.ipv6_prefix);
        if self.ipv6_prefix.swap(prefix, Ordering::Relaxed) != prefix {
            // Those of the other length would never be found again.
            let others: Vec<IpNet> = table
                .held
                .extract_if(|net, _| net.addr().is_ipv6() && net.prefix_len() != prefix)
                .map(|(net, _)| net)
                .collect();
            for net in others {
                self.write(net, None);
            }
            self.count(&table);
        }
        self.offences.forget();
        if rules.is_some() {
            let reasons = Offence::ALL.map(|offence| reason_of(offence).label());
            self.stats().begin(&reasons, &Refusal::ALL.map(Refusal::label));
        }
    }

    /// Whether `address` is under a verdict. One relaxed load while nobody is.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        self.active.load(Ordering::Relaxed) != 0 && self.is_held(self.source(address))
    }

    /// Asks for a verdict on `address` that holds for `lasting`. One in force is only ever made longer.
    ///
    /// # Errors
    /// If the source is exempt or allowed, or there are too many verdicts.
    pub fn ask(
        &self,
        address: IpAddr,
        reason: VerdictReason,
        lasting: Duration,
    ) -> Result<(), Refusal> {
        let address = address.to_canonical();
        let given = self.give(address, reason, lasting);
        match given {
            Ok(true) => {
                self.stats().given(reason.label());
                tracing::warn!(%address, reason = reason.label(), r#for = ?lasting, "verdict");
            }
            Ok(false) => {}
            Err(refusal) => {
                self.stats().refused(refusal.label());
                tracing::debug!(%address, reason = reason.label(), %refusal, "no verdict");
            }
        }
        given.map(|_| ())
    }

    /// Counts what `peer` did, by `rules`, and gives the verdict it has earned, if it has.
    pub fn note(&self, peer: IpAddr, did: OffenceSet, rules: &config::Verdicts) {
        let counted = self.source(peer).addr();
        if let Some(rule) = self.offences.note(counted, did, &rules.rules, ktime_ns()) {
            // A refusal is counted and logged where it is made.
            self.ask(peer, reason_of(rule.on), rule.lasting).ok();
        }
    }

    /// How much of an IPv6 address a verdict is on, in bits.
    #[must_use]
    pub fn ipv6_prefix(&self) -> u8 {
        self.ipv6_prefix.load(Ordering::Relaxed)
    }

    /// Counts a connection that is closed because of a verdict.
    pub fn refuse_connection(&self) {
        self.stats().connection_refused();
    }

    /// Lifts the verdict on `address`, whoever gave it. Returns whether there was one.
    ///
    /// # Errors
    /// If the classifier's map has one and it cannot be removed.
    pub fn lift(&self, address: IpNet) -> std::io::Result<bool> {
        let address = if address.prefix_len() == address.max_prefix_len() {
            self.source(address.addr())
        } else {
            address.trunc()
        };
        let own = {
            let mut table = self.lock();
            let own = table.held.remove(&address);
            self.count(&table);
            own.is_some_and(|verdict| verdict.expires_ns > ktime_ns())
        };
        let Some(classifier) = &self.classifier else { return Ok(own) };
        let pinned = classifier.verdict(address)?;
        if pinned.is_none() {
            return Ok(own);
        }
        if classifier.writable().is_none() {
            return Err(std::io::ErrorKind::PermissionDenied.into());
        }
        classifier.set_verdict(address, None)?;
        Ok(own || pinned.is_some_and(|verdict| verdict.expires_ns > ktime_ns()))
    }

    /// Every verdict in force: the gateway's, and those in the classifier's map that others gave.
    ///
    /// # Errors
    /// If that map cannot be read.
    pub fn list(&self) -> std::io::Result<Vec<Listed>> {
        let pinned = self.classifier.as_ref().map(|classifier| classifier.verdicts());
        let mut all: HashMap<IpNet, Verdict> =
            pinned.transpose()?.unwrap_or_default().into_iter().collect();
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        all.extend(table.held.iter().map(|(address, verdict)| (*address, *verdict)));
        drop(table);
        let now_ns = ktime_ns();
        let listed = all.into_iter().filter(|(_, verdict)| verdict.expires_ns > now_ns);
        let mut listed: Vec<_> = listed
            .map(|(address, verdict)| Listed {
                address,
                reason: VerdictReason::from_number(verdict.reason)
                    .map_or("unknown", VerdictReason::label),
                left: Duration::from_nanos(verdict.expires_ns - now_ns),
            })
            .collect();
        listed.sort_by_key(|listed| listed.address);
        Ok(listed)
    }

    /// The gateway's own verdicts, for the process that replaces this one.
    #[must_use]
    pub fn held(&self) -> Vec<Held> {
        let now_ns = ktime_ns();
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let held = table.held.iter().filter(|(_, verdict)| verdict.expires_ns > now_ns);
        let held = held.map(|(source, verdict)| {
            let Verdict { expires_ns, reason, .. } = *verdict;
            Held { source: *source, expires_ns, reason }
        });
        held.collect()
    }

    /// Goes on with verdicts of a process that this one replaces, as far as the configuration lets
    /// them be. They were counted and logged there.
    pub fn take_over(&self, verdicts: impl IntoIterator<Item = Held>) {
        let (now_ns, prefix) = (ktime_ns(), self.ipv6_prefix());
        let mut table = self.lock();
        let max = table.rules.as_ref().map_or(ACTIVE_MAX, |rules| rules.max);
        for Held { source, expires_ns, reason } in verdicts {
            let rules = table.rules.as_ref();
            let exempt = |net: &IpNet| net.contains(&source);
            let is_exempt = rules.is_some_and(|rules| rules.exempt.iter().any(exempt));
            // One of another length would never be found again.
            let is_found = source == self::source(source.addr(), prefix);
            if is_exempt || !is_found || expires_ns <= now_ns || table.held.len() >= max {
                continue;
            }
            let verdict = Verdict { expires_ns, reason, ..Verdict::default() };
            table.held.insert(source, verdict);
            self.write(source, Some(verdict));
        }
        self.count(&table);
    }

    /// Drops what has expired, and writes what holds into maps that were opened since.
    pub fn tick(&self) {
        let writable = self.classifier.as_ref().and_then(|classifier| classifier.writable());
        let idle = self.active.load(Ordering::Relaxed) == 0;
        if idle && writable.is_none() {
            return;
        }
        let mut table = self.lock();
        let expired = drop_expired(&mut table, ktime_ns());
        self.count(&table);
        for address in expired {
            self.unwrite(address);
        }
        if writable.is_some() && table.written != writable {
            for (address, verdict) in &table.held {
                self.write(*address, Some(*verdict));
            }
            table.written = writable;
        }
    }

    fn give(
        &self,
        address: IpAddr,
        reason: VerdictReason,
        lasting: Duration,
    ) -> Result<bool, Refusal> {
        // Before the lock: it asks the kernel.
        let allowed = self.classifier.as_ref().is_some_and(|classifier| classifier.allows(address));
        let now_ns = ktime_ns();
        let expires_ns = now_ns.saturating_add(lasting.as_nanos() as u64);
        let verdict = Verdict { expires_ns, reason: reason as u32, ..Verdict::default() };
        let source = self.source(address);
        let mut table = self.lock();
        let rules = table.rules.as_ref();
        if rules.is_some_and(|rules| rules.exempt.iter().any(|net| net.contains(&address))) {
            return Err(Refusal::Exempt);
        }
        if allowed {
            return Err(Refusal::Allowed);
        }
        let max = rules.map_or(ACTIVE_MAX, |rules| rules.max);
        let before = table.held.get(&source).copied();
        let held = before.is_some_and(|before| before.expires_ns > now_ns);
        if before.is_some_and(|before| before.expires_ns >= expires_ns) {
            return Ok(false);
        }
        if before.is_none() && table.held.len() >= max {
            for address in drop_expired(&mut table, now_ns) {
                self.unwrite(address);
            }
            if table.held.len() >= max {
                return Err(Refusal::Full);
            }
        }
        table.held.insert(source, verdict);
        self.count(&table);
        self.write(source, Some(verdict));
        Ok(!held)
    }

    fn source(&self, address: IpAddr) -> IpNet {
        source(address, self.ipv6_prefix())
    }

    fn is_held(&self, address: IpNet) -> bool {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.held.get(&address).is_some_and(|verdict| verdict.expires_ns > ktime_ns())
    }

    fn write(&self, address: IpNet, verdict: Option<Verdict>) {
        let Some(classifier) = &self.classifier else { return };
        if let Err(error) = classifier.set_verdict(address, verdict) {
            tracing::warn!(%address, %error, "verdict: the classifier's map was not written");
        }
    }

    /// Removes a verdict that has expired from the classifier's map, unless somebody renewed it there.
    /// It would do no harm, but it would take a place.
    fn unwrite(&self, address: IpNet) {
        let Some(classifier) = &self.classifier else { return };
        let pinned = classifier.verdict(address).ok().flatten();
        if pinned.is_some_and(|verdict| verdict.expires_ns <= ktime_ns())
            && let Err(error) = classifier.set_verdict(address, None)
        {
            tracing::debug!(%address, %error, "verdict: an expired one stays in the map");
        }
    }

    fn count(&self, table: &Table) {
        let active = table.held.len();
        if self.active.swap(active, Ordering::Relaxed) != active {
            self.stats().set_active(active);
        }
    }

    fn stats(&self) -> &VerdictStats {
        self.registry.verdicts()
    }

    /// Every change is one insertion or removal, so a panic elsewhere cannot have left it half done.
    fn lock(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the sources whose verdicts are dropped.
fn drop_expired(table: &mut Table, now_ns: u64) -> Vec<IpNet> {
    let expired = table.held.extract_if(|_, verdict| verdict.expires_ns <= now_ns);
    expired.map(|(address, _)| address).collect()
}

fn reason_of(offence: Offence) -> VerdictReason {
    match offence {
        Offence::ClientError => VerdictReason::ClientError,
        Offence::Refused => VerdictReason::Refused,
        Offence::Limit => VerdictReason::Limit,
    }
}

#[cfg(test)]
mod tests;
