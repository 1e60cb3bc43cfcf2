//! Keeping the keys fresh: fetched at the start, every so often, and early when a token names a key
//! that is not known. What cannot be fetched or used leaves the keys as they are.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use prometheus::IntCounterVec;
use tokio::time::sleep;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::Jwt;
use super::keys::{Keys, KeysError};
use crate::host::{Call, CallError, Calls};

/// What forged key ids can make of the issuer's load: a fetch every ten seconds. Also how soon a fetch
/// that failed is tried again.
pub(super) const EARLIEST_AGAIN: Duration = Duration::from_secs(10);

/// While there are no keys at all every request is refused, so the next try is soon.
const AGAIN_WITHOUT_KEYS: Duration = Duration::from_secs(1);

/// A small document from a service that answers at once when it is well.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A hundred RSA keys with certificate chains stay below this.
const REPLY_BYTES_MAX: usize = 1 << 20;

/// Where keys are fetched from.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) place: Place,
    pub(super) refresh: Duration,
    /// The filter's name, for the counters.
    pub(super) filter: Box<str>,
    /// `sallyport_jwks_fetches_total`, by filter and result.
    pub(super) fetches: IntCounterVec,
}

#[derive(Clone, Debug)]
pub(super) enum Place {
    /// By a connection of its own.
    Url(String),
    /// Through the gateway's own upstream.
    Upstream { upstream: Box<str>, path: String, host: String },
}

/// Why no keys came.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Http(#[from] Box<ureq::Error>),
    #[error("the fetch was abandoned")]
    Abandoned,
    #[error("the answer's status is {0}")]
    Status(StatusCode),
    #[error(transparent)]
    Keys(#[from] KeysError),
}

impl FetchError {
    fn label(&self) -> &'static str {
        match self {
            Self::Call(_) | Self::Http(_) | Self::Abandoned => "failed",
            Self::Status(_) => "status",
            Self::Keys(_) => "invalid",
        }
    }
}

/// Fetches keys for `filter` as long as it lives.
pub(super) async fn keep_fresh(filter: Weak<Jwt>, remote: Arc<Remote>, calls: Arc<dyn Calls>) {
    loop {
        let fetched = remote.fetch(&calls).await;
        let Some(filter) = filter.upgrade() else { return };
        let succeeded = filter.take(fetched);
        let pause = pause(succeeded, filter.keys.load().is_some(), remote.refresh);
        let refetch = Arc::clone(&filter.refetch);
        drop(filter);
        tokio::select! {
            () = sleep(pause) => {}
            // What asked while this was under way is answered by the next fetch.
            () = async { sleep(EARLIEST_AGAIN).await; refetch.notified().await } => {}
        }
    }
}

/// How long until the next fetch, unless a token asks for an earlier one.
pub(super) fn pause(succeeded: bool, has_keys: bool, refresh: Duration) -> Duration {
    match (succeeded, has_keys) {
        (true, _) => refresh,
        (false, true) => EARLIEST_AGAIN,
        (false, false) => AGAIN_WITHOUT_KEYS,
    }
}

impl Jwt {
    /// Puts fetched keys in force. Returns whether there were any.
    pub(super) fn take(&self, fetched: Result<Keys, FetchError>) -> bool {
        fetched.map(|keys| self.keys.store(Some(Arc::new(keys)))).is_ok()
    }
}

impl Remote {
    /// Fetches once, and counts it.
    ///
    /// # Errors
    /// If no usable keys came.
    pub(super) async fn fetch(&self, calls: &Arc<dyn Calls>) -> Result<Keys, FetchError> {
        let fetched = self.text(calls).await.and_then(|text| Ok(Keys::parse(&text)?));
        let label = fetched.as_ref().map_or_else(FetchError::label, |_| "ok");
        self.fetches.with_label_values(&[&self.filter, label]).inc();
        if let Err(error) = &fetched {
            tracing::warn!(filter = %self.filter, %error, "keys for tokens cannot be fetched");
        }
        fetched
    }

    async fn text(&self, calls: &Arc<dyn Calls>) -> Result<Bytes, FetchError> {
        match self.place.clone() {
            Place::Url(url) => {
                let read = tokio::task::spawn_blocking(move || read(&url)).await;
                read.map_err(|_| FetchError::Abandoned)?
            }
            Place::Upstream { upstream, path, host } => {
                let reply = calls.call(&upstream, call(path, host)).await?;
                match reply.status {
                    StatusCode::OK => Ok(reply.body),
                    status => Err(FetchError::Status(status)),
                }
            }
        }
    }
}

fn call(path: String, host: String) -> Call {
    Call {
        method: Method::GET,
        path,
        authority: host,
        headers: HeaderMap::new(),
        body: Bytes::new(),
        timeout: TIMEOUT,
        reply_bytes_max: REPLY_BYTES_MAX,
        trace: None,
    }
}

/// Reads `url`, blocking. Redirects are not followed: they would change whom the keys are trusted from.
fn read(url: &str) -> Result<Bytes, FetchError> {
    let mut response = agent(url).get(url).call().map_err(Box::new)?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let body = response.body_mut().with_config().limit(REPLY_BYTES_MAX as u64);
    Ok(body.read_to_vec().map_err(Box::new)?.into())
}

/// A client for one fetch, which so sees the system's present certificates.
fn agent(url: &str) -> Agent {
    let config = Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .max_redirects(0)
        .http_status_as_error(false);
    if !url.starts_with("https:") {
        // On this machine: see the check of `url`.
        return config.proxy(None).build().into();
    }
    let roots = rustls_native_certs::load_native_certs().certs;
    let roots: Vec<_> = roots.iter().map(|root| Certificate::from_der(root).to_owned()).collect();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&roots))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    config.https_only(true).tls_config(tls).build().into()
}
