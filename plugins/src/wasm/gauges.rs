//! Metrics that guests define: counters, gauges and histograms, by filter and name.

use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus::{Histogram, IntCounter, IntGauge};

use super::abi::Status;
use crate::host::Metrics;

/// Metrics of one filter, by its name and for as long as the process lives: what has been exposed once
/// stays, and a guest that names metrics after what clients send begins anew with every reload.
const METRICS_MAX: usize = 256;

/// The longest name.
const NAME_BYTES_MAX: usize = 200;

/// The metrics of one filter, whatever VM defined them.
#[derive(Debug, Default)]
pub(super) struct Gauges(Mutex<Vec<(Box<str>, Metric)>>);

#[derive(Clone, Debug)]
enum Metric {
    Counter(IntCounter),
    Gauge(IntGauge),
    Histogram(Histogram),
}

impl Metric {
    fn is(&self, kind: u32) -> bool {
        let own = match self {
            Self::Counter(_) => 0,
            Self::Gauge(_) => 1,
            Self::Histogram(_) => 2,
        };
        kind == own
    }
}

impl Gauges {
    /// The number of the metric with this name; the same for every VM of the filter.
    ///
    /// # Errors
    /// [`Status::BadArgument`] if there is no such kind, the name is too long or no text, or is that
    /// of a metric of another kind; [`Status::Internal`] if there are too many.
    pub(super) fn define(
        &self,
        metrics: &Metrics,
        filter: &str,
        kind: u32,
        name: &[u8],
    ) -> Result<u32, Status> {
        let name = std::str::from_utf8(name).map_err(|_| Status::BadArgument)?;
        if kind > 2 || name.len() > NAME_BYTES_MAX {
            return Err(Status::BadArgument);
        }
        let mut all = self.all();
        if let Some(index) = all.iter().position(|(known, _)| **known == *name) {
            let same = all[index].1.is(kind);
            return if same { Ok(index as u32 + 1) } else { Err(Status::BadArgument) };
        }
        if !metrics.admits_of_guest(filter, kind, name, METRICS_MAX) {
            return Err(Status::Internal);
        }
        all.push((name.into(), make(metrics, filter, kind, name)));
        Ok(all.len() as u32)
    }

    /// Sets the metric, or adds to it what a counter or a histogram can only be added.
    ///
    /// # Errors
    /// [`Status::NotFound`].
    pub(super) fn record(&self, number: u32, value: u64) -> Result<(), Status> {
        match self.find(number)? {
            Metric::Counter(counter) => counter.inc_by(value),
            Metric::Gauge(gauge) => gauge.set(i64::try_from(value).unwrap_or(i64::MAX)),
            Metric::Histogram(histogram) => histogram.observe(value as f64),
        }
        Ok(())
    }

    /// Changes the metric by `offset`.
    ///
    /// # Errors
    /// [`Status::NotFound`], and [`Status::BadArgument`] where the kind does not allow it.
    pub(super) fn increment(&self, number: u32, offset: i64) -> Result<(), Status> {
        match (self.find(number)?, u64::try_from(offset)) {
            (Metric::Counter(counter), Ok(offset)) => counter.inc_by(offset),
            (Metric::Gauge(gauge), _) => gauge.add(offset),
            _ => return Err(Status::BadArgument),
        }
        Ok(())
    }

    /// The metric's value.
    ///
    /// # Errors
    /// [`Status::NotFound`], and [`Status::BadArgument`] for a histogram.
    pub(super) fn value(&self, number: u32) -> Result<u64, Status> {
        match self.find(number)? {
            Metric::Counter(counter) => Ok(counter.get()),
            Metric::Gauge(gauge) => Ok(gauge.get().cast_unsigned()),
            Metric::Histogram(_) => Err(Status::BadArgument),
        }
    }

    fn find(&self, number: u32) -> Result<Metric, Status> {
        let index = (number as usize).checked_sub(1).ok_or(Status::NotFound)?;
        self.all().get(index).map(|(_, gauge)| gauge.clone()).ok_or(Status::NotFound)
    }

    fn all(&self) -> MutexGuard<'_, Vec<(Box<str>, Metric)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make(metrics: &Metrics, filter: &str, kind: u32, name: &str) -> Metric {
    let labels = &["filter", "name"];
    match kind {
        0 => {
            let name_of_all = "sallyport_wasm_counter_total";
            let help = "Counters that WebAssembly filters define.";
            let family = metrics.counters(name_of_all, help, labels);
            Metric::Counter(family.with_label_values(&[filter, name]))
        }
        1 => {
            let help = "Gauges that WebAssembly filters define.";
            let family = metrics.gauges("sallyport_wasm_gauge", help, labels);
            Metric::Gauge(family.with_label_values(&[filter, name]))
        }
        _ => {
            let help = "Histograms that WebAssembly filters define.";
            let family = metrics.histograms("sallyport_wasm_histogram", help, labels);
            Metric::Histogram(family.with_label_values(&[filter, name]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Gauges, METRICS_MAX, NAME_BYTES_MAX};
    use crate::host::Metrics;
    use crate::wasm::abi::Status;

    #[test]
    fn a_filter_defines_so_many_metrics_however_often_it_is_loaded() {
        let metrics = Metrics::default();
        let mut defined = 0;
        for load in 0..4 {
            let gauges = Gauges::default();
            for number in 0..METRICS_MAX {
                let name = format!("{load} {number}");
                defined += usize::from(gauges.define(&metrics, "f", 0, name.as_bytes()).is_ok());
            }
            // One that is exposed already is found again.
            assert!(gauges.define(&metrics, "f", 0, b"0 0").is_ok(), "{load}");
        }
        assert_eq!(defined, METRICS_MAX);
        assert!(Gauges::default().define(&metrics, "other", 0, b"0").is_ok());
    }

    #[test]
    fn names_have_an_end() {
        let (metrics, gauges) = (Metrics::default(), Gauges::default());
        let name = "n".repeat(NAME_BYTES_MAX + 1);
        assert_eq!(gauges.define(&metrics, "f", 0, name.as_bytes()), Err(Status::BadArgument));
    }
}
