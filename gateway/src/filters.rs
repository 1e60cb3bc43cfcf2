//! What the gateway lends to filters: the kinds it knows, HTTP calls to its upstreams, counters, and
//! a thread for what is not a request.

mod calls;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use sallyport_plugin::{Host, Instances, Kinds, Metrics, Reader, Shared};

pub use self::calls::UpstreamCalls;
use crate::live::Live;
use crate::trace::SpanQueue;

/// The kinds of filters and what they may use.
#[derive(Clone, Debug)]
pub struct Filters {
    /// The kinds that a configuration may name.
    pub kinds: Kinds,
    /// What filters may use.
    pub host: Arc<Host>,
    /// The calls among it.
    pub calls: UpstreamCalls,
}

/// Where the configuration in force is found, once there is one.
pub type LiveLater = Arc<OnceLock<Arc<Live>>>;

impl Filters {
    /// For reading a configuration that is not served.
    #[must_use]
    pub fn idle(kinds: Kinds) -> Self {
        let host = Host { cache: cache_folder(), ..Host::idle() };
        let calls = UpstreamCalls::new(LiveLater::default(), Arc::default());
        Self { kinds, host: Arc::new(host), calls }
    }

    /// For a gateway of `workers` threads. `live` must be set before the first request; `spans` is where
    /// the spans of calls are put.
    #[must_use]
    pub fn serving(
        kinds: Kinds,
        workers: usize,
        background: tokio::runtime::Handle,
        live: LiveLater,
        spans: Arc<SpanQueue>,
    ) -> Self {
        let calls = UpstreamCalls::new(live, spans);
        let host = Host {
            calls: Arc::new(calls.clone()),
            metrics: Metrics::default(),
            background: Some(background),
            workers,
            cache: cache_folder(),
            shared: Shared::default(),
        };
        Self { kinds, host: Arc::new(host), calls }
    }

    /// Reads the filters of the configuration at `path`; what did not change is taken from `previous`.
    #[must_use]
    pub fn reader<'a>(&'a self, path: &'a Path, previous: &'a Instances) -> Reader<'a> {
        let folder = path.parent().unwrap_or(Path::new(""));
        Reader::new(&self.kinds, &self.host, folder, previous)
    }
}

/// The service manager's folder (`CacheDirectory=` in the unit), or the user's.
fn cache_folder() -> Option<PathBuf> {
    let of = |variable, below: &str| {
        let folder = PathBuf::from(std::env::var_os(variable)?).join(below);
        folder.is_absolute().then_some(folder)
    };
    of("CACHE_DIRECTORY", "")
        .or_else(|| of("XDG_CACHE_HOME", "sallyport"))
        .or_else(|| of("HOME", ".cache/sallyport"))
}
