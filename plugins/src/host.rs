//! What the process around them provides for filters.

use std::any::{Any, TypeId};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};
use tokio::sync::mpsc;

pub use self::grpc::{GrpcCall, GrpcEvent, GrpcStatus};
use crate::exchange::Marks;
use crate::filter::BoxFuture;
use crate::trace::TraceContext;

mod grpc;

/// What the process provides.
#[derive(Clone, Debug)]
pub struct Host {
    /// HTTP calls to the configuration's upstreams.
    pub calls: Arc<dyn Calls>,
    /// Counters of filters.
    pub metrics: Metrics,
    /// The runtime for background work; `None` where nothing is served, as in `sallyport check`.
    pub background: Option<tokio::runtime::Handle>,
    /// The number of threads that serve requests.
    pub workers: usize,
    /// Where compiled modules are kept; `None` where they are not.
    pub cache: Option<PathBuf>,
    /// What filters share with one another, such as connections to one server.
    pub shared: Shared,
}

impl Host {
    /// One that serves nothing: for reading a configuration only, and for tests.
    #[must_use]
    pub fn idle() -> Self {
        Self {
            calls: Arc::new(NoCalls),
            metrics: Metrics::default(),
            background: None,
            workers: 1,
            cache: None,
            shared: Shared::default(),
        }
    }
}

/// What the filters of one process share: one value of each type, which each kind of filter has for
/// itself.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<HashMap<TypeId, Box<dyn Any + Send>>>>);

impl fmt::Debug for Shared {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// The value of this type, made on first use.
    ///
    /// # Panics
    /// Never: a value is found by its type.
    #[must_use]
    pub fn of<T: Default + Clone + Send + 'static>(&self) -> T {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let value = values.entry(TypeId::of::<T>()).or_insert_with(|| Box::new(T::default()));
        value.downcast_ref::<T>().expect("it is found by its type").clone()
    }
}

/// HTTP calls that a filter makes, to upstreams by name: they are balanced, pooled and health-checked
/// like any request.
pub trait Calls: Send + Sync + std::fmt::Debug {
    /// Sends `call` to `upstream`, and waits for the whole response no longer than the call's timeout.
    fn call(&self, upstream: &str, call: Call) -> BoxFuture<'static, Result<Reply, CallError>>;

    /// Makes a call of gRPC to `upstream`, which must speak HTTP/2, and says how it ended. What comes
    /// of it before that goes to `events`, as fast as it is taken there. It ends when it is dropped.
    fn grpc(
        &self,
        _upstream: &str,
        _call: GrpcCall,
        _events: mpsc::Sender<GrpcEvent>,
    ) -> BoxFuture<'static, GrpcStatus> {
        let status = GrpcStatus::new(GrpcStatus::UNIMPLEMENTED, "there are no calls of gRPC here");
        Box::pin(std::future::ready(status))
    }
}

/// Makes none.
#[derive(Clone, Copy, Debug)]
pub struct NoCalls;

impl Calls for NoCalls {
    fn call(&self, _upstream: &str, _call: Call) -> BoxFuture<'static, Result<Reply, CallError>> {
        Box::pin(std::future::ready(Err(CallError::NoEndpoint)))
    }
}

/// A request of a filter's own.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// The path and query.
    pub path: String,
    /// The value of `Host`.
    pub authority: String,
    /// The header fields; framing and `Host` are written from the rest.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// How long the whole call may take.
    pub timeout: Duration,
    /// Body bytes of the response that are taken; a longer one is an error.
    pub reply_bytes_max: usize,
    /// The span of the request that it is made for, of which its own is a part. `None` where it is made
    /// for no request, or its header fields say already what it belongs to.
    pub trace: Option<TraceContext>,
}

/// The response to a [`Call`].
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no such upstream.
    #[error("there is no upstream {0:?}")]
    UnknownUpstream(String),
    /// No endpoint may be used.
    #[error("no endpoint is available")]
    NoEndpoint,
    /// It took longer than its timeout.
    #[error("timed out")]
    Timeout,
    /// The response is longer than the caller takes.
    #[error("the response is over {0} bytes")]
    TooLarge(usize),
    /// The connection or the protocol failed.
    #[error("{0}")]
    Failed(String),
}

/// Combinations of route, label and value that are counted one by one; the rest are `other`.
const LABEL_VALUES_MAX: usize = 10_000;

/// Families of metrics by their names.
type Families = HashMap<String, Box<dyn Any + Send>>;

/// Counters of filters, all in one registry that the admin listener adds to `/metrics`.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    families: Arc<Mutex<Families>>,
    answers: IntCounterVec,
    labels: IntCounterVec,
    label_values: Arc<Mutex<HashSet<String>>>,
    #[cfg(feature = "wasm")]
    of_guests: Arc<Mutex<GuestMetrics>>,
}

/// The metrics that guests have defined: kind and name, by filter.
#[cfg(feature = "wasm")]
type GuestMetrics = HashMap<Box<str>, HashSet<(u32, Box<str>)>>;

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let families = Arc::default();
        let answers = family(
            &registry,
            &families,
            "sallyport_filter_answers_total",
            "Requests that a filter answered.",
            &["filter", "reason"],
        );
        let labels = family(
            &registry,
            &families,
            "sallyport_route_labels_total",
            "Requests by labels that filters gave them.",
            &["virtual_host", "route", "label", "value"],
        );
        Self {
            registry,
            families,
            answers,
            labels,
            label_values: Arc::default(),
            #[cfg(feature = "wasm")]
            of_guests: Arc::default(),
        }
    }
}

impl Metrics {
    /// The family of counters with this name, made on first use.
    ///
    /// # Panics
    /// If the name or a label is not one of Prometheus, or the name is taken by something else.
    #[must_use]
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        family(&self.registry, &self.families, name, help, labels)
    }

    /// The family of gauges with this name, made on first use.
    ///
    /// # Panics
    /// As [`Metrics::counters`].
    #[must_use]
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let make = || IntGaugeVec::new(Opts::new(name, help), labels);
        family_of(&self.registry, &self.families, name, make)
    }

    /// The family of histograms with this name and Prometheus' default buckets, made on first use.
    ///
    /// # Panics
    /// As [`Metrics::counters`].
    #[must_use]
    pub fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        let make = || HistogramVec::new(HistogramOpts::new(name, help), labels);
        family_of(&self.registry, &self.families, name, make)
    }

    /// As [`Metrics::histograms`], with these buckets.
    ///
    /// # Panics
    /// As [`Metrics::counters`].
    #[must_use]
    pub fn histograms_of(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> HistogramVec {
        let opts = || HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let make = || HistogramVec::new(opts(), labels);
        family_of(&self.registry, &self.families, name, make)
    }

    /// Adds a collector of a filter's own.
    ///
    /// # Errors
    /// If its names are taken or not names.
    pub fn register(&self, collector: impl Collector + 'static) -> Result<(), prometheus::Error> {
        self.registry.register(Box::new(collector))
    }

    /// Everything, for a scrape.
    #[must_use]
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    pub(crate) fn answered(&self, filter: &str, reason: &str) {
        self.answers.with_label_values(&[filter, reason]).inc();
    }

    /// Counts the labels of a request that ended.
    pub(crate) fn count_labels(&self, virtual_host: &str, route: &str, marks: &Marks) {
        for (label, value) in &marks.labels {
            let known = self.admits(format!("{virtual_host}\0{route}\0{label}\0{value}"));
            let value = if known { value } else { "other" };
            self.labels.with_label_values(&[virtual_host, route, label, value]).inc();
        }
    }

    /// Whether a guest of this filter may define this metric: it did so before, or the filter has
    /// defined fewer than `most`.
    #[cfg(feature = "wasm")]
    pub(crate) fn admits_of_guest(&self, filter: &str, kind: u32, name: &str, most: usize) -> bool {
        let mut all = self.of_guests.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(filter.into()).or_default();
        let key = (kind, name.into());
        known.contains(&key) || known.len() < most && known.insert(key)
    }

    fn admits(&self, key: String) -> bool {
        let mut known = self.label_values.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains(&key) || known.len() < LABEL_VALUES_MAX && known.insert(key)
    }
}

fn family(
    registry: &Registry,
    families: &Mutex<Families>,
    name: &str,
    help: &str,
    labels: &[&str],
) -> IntCounterVec {
    family_of(registry, families, name, || IntCounterVec::new(Opts::new(name, help), labels))
}

fn family_of<F: Collector + Clone + 'static>(
    registry: &Registry,
    families: &Mutex<Families>,
    name: &str,
    make: impl FnOnce() -> Result<F, prometheus::Error>,
) -> F {
    let mut families = families.lock().unwrap_or_else(PoisonError::into_inner);
    let made = families.entry(name.to_owned()).or_insert_with(|| {
        let family = make().expect("names and labels are constants of the filter's");
        registry.register(Box::new(family.clone())).expect("a family has its name for itself");
        Box::new(family)
    });
    made.downcast_ref::<F>().expect("a name is of one kind of metric").clone()
}
