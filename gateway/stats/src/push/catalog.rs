//! Which series there are: names and attributes are given once, and a handle is what is left.
//!
//! The number of series is bounded, since attributes may come from outside. What is beyond the
//! bound is counted in one series of its metric, whose only attribute is `overflow="true"`: the
//! metric's sum stays right, and that something was folded together can be seen. Series are never
//! removed, so that a handle is good for as long as its catalogue.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    metric::{MetricBuilder, RegisterError},
    series::{Attribute, Kind, Series, SeriesId},
    unit::Unit,
};

/// How much a catalogue takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatalogLimits {
    /// Series, those of overflow not counted. 10,000 with two attributes of twenty bytes are just
    /// what the default of `bytes` has room for.
    pub series: usize,
    /// Metrics; each may have one series of overflow besides.
    pub metrics: usize,
    /// What names and attributes may take in bytes; beyond it a series counts as overflow.
    pub bytes: usize,
}

impl Default for CatalogLimits {
    fn default() -> Self {
        Self { series: 10_000, metrics: 1_000, bytes: 2_400_000 }
    }
}

/// All series that can be recorded. Shared by whoever makes handles and by the pipeline.
#[derive(Debug)]
pub struct Catalog {
    limits: CatalogLimits,
    hasher: RandomState,
    known: RwLock<Known>,
    overflowed: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    series: Vec<Arc<Series>>,
    /// Places by the hash of name and attributes; where two share one, the second has the next.
    places: HashMap<u64, u32>,
    metrics: HashMap<Arc<str>, Metric>,
    /// Keys repeat from series to series and are kept once.
    keys: HashMap<Arc<str>, ()>,
    overflows: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Metric {
    kind: Kind,
    unit: Unit,
    overflow: Option<u32>,
}

impl Default for Catalog {
    fn default() -> Self {
        Self::new(CatalogLimits::default())
    }
}

impl Catalog {
    /// An empty catalogue. Limits beyond 2^29 are taken as that.
    pub fn new(limits: CatalogLimits) -> Self {
        let most = SeriesId::INDEX_MAX / 2;
        let limits = CatalogLimits {
            series: limits.series.min(most),
            metrics: limits.metrics.min(most),
            ..limits
        };
        Self { limits, hasher: RandomState::new(), known: RwLock::default(), overflowed: 0.into() }
    }

    /// Begins the definition of a metric called `name`.
    ///
    /// ```
    /// use sallyport_stats::push::{Catalog, Unit};
    ///
    /// let catalog = Catalog::default();
    /// let sent = catalog.metric("bytes.sent").unit(Unit::Bytes).attribute("route", "shop");
    /// let sent = sent.counter()?;
    /// # Ok::<(), sallyport_stats::push::RegisterError>(())
    /// ```
    pub fn metric<'a>(&'a self, name: &'a str) -> MetricBuilder<'a> {
        MetricBuilder::new(self, name)
    }

    /// How many series there are, those of overflow included.
    pub fn len(&self) -> usize {
        self.read().series.len()
    }

    /// Whether nothing was registered yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many requests for a handle were answered with one of overflow.
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// What names, attributes and their index take, in bytes, roughly.
    pub fn bytes(&self) -> usize {
        self.read().bytes
    }

    /// One more than the greatest index there can be.
    pub(super) fn series_max(&self) -> usize {
        self.limits.series + self.limits.metrics
    }

    pub(super) fn series(&self, index: usize) -> Option<Arc<Series>> {
        self.read().series.get(index).cloned()
    }

    /// Finds without allocating, so that asking over and over beyond the bound is cheap.
    pub(super) fn register(
        &self,
        name: &str,
        kind: Kind,
        unit: Unit,
        attributes: &[(&str, &str)],
    ) -> Result<SeriesId, RegisterError> {
        let hash = self.hasher.hash_one((name, attributes));
        {
            let known = self.read();
            if let Some(found) = known.find(hash, name, kind, unit, attributes)? {
                return Ok(found);
            }
            if self.is_full(&known, attributes)
                && let Some(overflow) = known.metrics.get(name).and_then(|metric| metric.overflow)
            {
                self.overflowed.fetch_add(1, Ordering::Relaxed);
                return Ok(SeriesId::new(kind, overflow as usize));
            }
        }
        self.insert(hash, name, kind, unit, attributes)
    }

    #[cold]
    fn insert(
        &self,
        hash: u64,
        name: &str,
        kind: Kind,
        unit: Unit,
        attributes: &[(&str, &str)],
    ) -> Result<SeriesId, RegisterError> {
        let mut known = self.write();
        if let Some(found) = known.find(hash, name, kind, unit, attributes)? {
            return Ok(found);
        }
        if !known.metrics.contains_key(name) && known.metrics.len() >= self.limits.metrics {
            return Err(RegisterError::TooManyMetrics);
        }
        let name = known.metric(name, kind, unit);
        if !self.is_full(&known, attributes) {
            return Ok(known.add(hash, name, kind, unit, attributes));
        }
        self.overflowed.fetch_add(1, Ordering::Relaxed);
        if let Some(overflow) = known.metrics.get(&name).and_then(|metric| metric.overflow) {
            return Ok(SeriesId::new(kind, overflow as usize));
        }
        let attributes = [("overflow", "true")];
        let hash = self.hasher.hash_one((&*name, &attributes[..]));
        let id = match known.find(hash, &name, kind, unit, &attributes)? {
            Some(own) => own,
            None => {
                known.overflows += 1;
                known.add(hash, Arc::clone(&name), kind, unit, &attributes)
            }
        };
        if let Some(metric) = known.metrics.get_mut(&name) {
            metric.overflow = Some(id.index() as u32);
        }
        Ok(id)
    }

    fn is_full(&self, known: &Known, attributes: &[(&str, &str)]) -> bool {
        known.series.len() - known.overflows >= self.limits.series
            || known.bytes + known.cost(attributes) > self.limits.bytes
    }

    /// Every change leaves the catalogue whole, so a panic elsewhere is none of its business.
    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn find(
        &self,
        hash: u64,
        name: &str,
        kind: Kind,
        unit: Unit,
        attributes: &[(&str, &str)],
    ) -> Result<Option<SeriesId>, RegisterError> {
        let mut hash = hash;
        while let Some(&place) = self.places.get(&hash) {
            let series = &self.series[place as usize];
            if series.is(name, attributes) {
                let same = series.kind == kind && series.unit == unit;
                let id = SeriesId::new(kind, place as usize);
                return if same { Ok(Some(id)) } else { Err(RegisterError::Conflict) };
            }
            hash = hash.wrapping_add(1);
        }
        match self.metrics.get(name) {
            Some(metric) if metric.kind != kind || metric.unit != unit => {
                Err(RegisterError::Conflict)
            }
            _ => Ok(None),
        }
    }

    fn metric(&mut self, name: &str, kind: Kind, unit: Unit) -> Arc<str> {
        if let Some((name, _)) = self.metrics.get_key_value(name) {
            return Arc::clone(name);
        }
        let name: Arc<str> = name.into();
        self.metrics.insert(Arc::clone(&name), Metric { kind, unit, overflow: None });
        name
    }

    fn add(
        &mut self,
        hash: u64,
        name: Arc<str>,
        kind: Kind,
        unit: Unit,
        attributes: &[(&str, &str)],
    ) -> SeriesId {
        self.bytes += self.cost(attributes);
        let attributes: Box<[Attribute]> =
            attributes.iter().map(|(key, value)| (self.key(key), Arc::from(*value))).collect();
        let place = self.series.len();
        self.series.push(Arc::new(Series { name, kind, unit, attributes }));
        let mut hash = hash;
        while self.places.contains_key(&hash) {
            hash = hash.wrapping_add(1);
        }
        self.places.insert(hash, place as u32);
        SeriesId::new(kind, place)
    }

    /// A series in memory: itself, its places in vector and map, its attributes' text; a key only
    /// if it is a new one.
    fn cost(&self, attributes: &[(&str, &str)]) -> usize {
        const OWN: usize = size_of::<Series>() + 16 + 8 + 24;
        const EACH: usize = size_of::<Attribute>() + 16;
        let text = attributes.iter().map(|(key, value)| match self.keys.contains_key(*key) {
            true => EACH + value.len(),
            false => EACH + value.len() + key.len() + 40,
        });
        OWN + text.sum::<usize>()
    }

    fn key(&mut self, key: &str) -> Arc<str> {
        if let Some((key, ())) = self.keys.get_key_value(key) {
            return Arc::clone(key);
        }
        let key: Arc<str> = key.into();
        self.keys.insert(Arc::clone(&key), ());
        key
    }
}

#[cfg(test)]
mod tests;
