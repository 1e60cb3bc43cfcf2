//! What a filter sees of a request, and what it may decide besides the messages themselves.

use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::uri::PathAndQuery;
use http::{StatusCode, Uri, request, response};
use sallyport_route::{ClientCertificate, Hints, PathRegex};

use crate::trace::TraceContext;

/// A filter's state for one request.
pub(crate) type Slot = Option<Box<dyn Any + Send + Sync>>;

/// One request as one filter sees it in one phase.
pub struct Exchange<'a> {
    /// The request's head. Until it has gone upstream, changes take effect there; afterwards they
    /// are seen by later hooks only. The fields that frame the body are not to be changed here: see
    /// [`Marks::request_body_changes`].
    pub request: &'a mut request::Parts,
    /// Where the request comes from and belongs.
    pub about: &'a About<'a>,
    /// What filters decide about it.
    pub marks: &'a mut Marks,
    pub(crate) slot: &'a mut Slot,
}

impl<'a> Exchange<'a> {
    /// This filter's state for this request, made on first use.
    ///
    /// # Panics
    /// If the filter asks for two types.
    pub fn state<T: Default + Send + Sync + 'static>(&mut self) -> &mut T {
        let state = self.slot.get_or_insert_with(|| Box::<T>::default());
        state.downcast_mut().expect("a filter has one type of state")
    }

    /// Keeps `state` for later phases, in place of what was kept before.
    pub fn keep(&mut self, state: impl Send + Sync + 'static) {
        *self.slot = Some(Box::new(state));
    }

    /// Drops what was kept.
    pub fn discard(&mut self) {
        *self.slot = None;
    }

    /// What an earlier phase kept, if it is of this type.
    pub fn kept<T: 'static>(&mut self) -> Option<&mut T> {
        self.slot.as_mut()?.downcast_mut()
    }

    /// The same for a hook that this one calls.
    pub fn reborrow(&mut self) -> Exchange<'_> {
        Exchange { request: self.request, about: self.about, marks: self.marks, slot: self.slot }
    }

    /// The value of a field, where it is there and visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.request.headers.get(name)?.to_str().ok()
    }

    /// The path with its query, as it goes upstream.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        self.request.uri.path_and_query().map_or("/", |path| path.as_str())
    }

    /// Sends the request to another path. `path_and_query` begins with `/`.
    ///
    /// # Errors
    /// If it is no path.
    pub fn set_path_and_query(&mut self, path_and_query: &str) -> Result<(), BadPath> {
        set_path(self.request, self.marks, path_and_query)
    }
}

/// As [`Exchange::set_path_and_query`], where the parts are not in an exchange.
pub(crate) fn set_path(
    request: &mut request::Parts,
    marks: &mut Marks,
    path_and_query: &str,
) -> Result<(), BadPath> {
    if !path_and_query.starts_with('/') {
        return Err(BadPath);
    }
    let parsed = PathAndQuery::try_from(path_and_query).map_err(|_| BadPath)?;
    if marks.client_path.is_none() {
        let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
        marks.client_path = Some(path.into());
    }
    let mut uri = std::mem::take(&mut request.uri).into_parts();
    uri.path_and_query = Some(parsed);
    request.uri = Uri::from_parts(uri).map_err(|_| BadPath)?;
    Ok(())
}

/// A path that cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("not a path")]
pub struct BadPath;

/// Where a request comes from and where it belongs. Names are those of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The listener that took it.
    pub listener: &'a str,
    /// The virtual host; `none` where no route matched.
    pub virtual_host: &'a str,
    /// The route; `none` where none matched.
    pub route: &'a str,
    /// The upstream, once it is chosen: not in [`Filter::request_headers`](crate::Filter::request_headers)
    /// of a route with a split.
    pub upstream: Option<&'a str>,
    /// The endpoint in use, once there is one.
    pub endpoint: Option<SocketAddr>,
    /// The host that the client asked for, with its port if it has one; a filter that changes the
    /// request's host changes only what the origin is asked for.
    pub host: Option<&'a str>,
    /// The client, by the listener's rule for trusted proxies.
    pub client: Option<IpAddr>,
    /// The other end of the connection.
    pub peer: Option<SocketAddr>,
    /// This end of the connection.
    pub local: Option<SocketAddr>,
    /// The scheme that the client used: `http` or `https`.
    pub scheme: &'static str,
    /// Whether the other end is a proxy that the listener trusts.
    pub peer_trusted: bool,
    /// What the classifier says of the connection; `None` where there is none to ask.
    pub hints: Option<&'a Hints>,
    /// What TLS has settled of the client's connection; `None` in clear text.
    pub tls: Option<TlsAbout<'a>>,
    /// The regex that the route matched the path with.
    pub path_regex: Option<&'a PathRegex>,
    /// When the request's head was read.
    pub started: Instant,
    /// Whether the request has no body, by how it is framed; `None` where that is not known.
    pub bodiless: Option<bool>,
    /// When the client's connection was established.
    pub connected: Option<SystemTime>,
    /// This end of the connection to the endpoint; known to filters that
    /// [ask](crate::Filter::asks_of_exchange).
    pub upstream_local: Option<SocketAddr>,
    /// How often an endpoint was chosen for the request.
    pub attempts: u32,
    /// The time from the request's head going upstream to the latest part of the response; known to
    /// filters that [ask](crate::Filter::asks_of_exchange).
    pub backend_latency: Option<Duration>,
    /// The request's trace, and its span in it; `None` where there is no tracing.
    pub trace: Option<TraceContext>,
}

/// What TLS has settled of a client's connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct TlsAbout<'a> {
    /// The version: `1.2` or `1.3`.
    pub version: &'a str,
    /// The name that the client asked for.
    pub sni: Option<&'a str>,
    /// The protocol that was agreed on.
    pub alpn: Option<&'a str>,
    /// The cipher suite.
    pub cipher: &'a str,
    /// The JA4 fingerprint of the client.
    pub ja4: Option<&'a str>,
    /// The certificate that the client has shown.
    pub client: Option<&'a ClientCertificate>,
}

impl About<'static> {
    /// Nothing known: for tests.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            listener: "web",
            virtual_host: "none",
            route: "none",
            upstream: None,
            endpoint: None,
            host: None,
            client: None,
            peer: None,
            local: None,
            scheme: "http",
            peer_trusted: false,
            hints: None,
            tls: None,
            path_regex: None,
            started: Instant::now(),
            bodiless: None,
            connected: None,
            upstream_local: None,
            attempts: 0,
            backend_latency: None,
            trace: None,
        }
    }
}

/// Properties by their path, as bytes.
#[cfg(feature = "wasm")]
pub(crate) type Properties = Vec<(Box<[u8]>, Box<[u8]>)>;

/// What filters decide about a request besides its messages.
#[derive(Debug, Default)]
pub struct Marks {
    /// The endpoint to send it to, if it is one of the upstream's and may be used.
    pub endpoint: Option<SocketAddr>,
    /// The request's body may have another length than it came with: it goes upstream chunked.
    pub request_body_changes: bool,
    /// A verdict on the source of the connection.
    pub verdict: Option<VerdictAsked>,
    /// The path and query that the client sent, once a filter has changed them.
    pub client_path: Option<Box<str>>,
    /// Properties that guests have set, by their path: seen by all guests of the request.
    #[cfg(feature = "wasm")]
    pub(crate) properties: Properties,
    /// Labels for `sallyport_route_labels_total`.
    pub(crate) labels: Vec<(&'static str, Arc<str>)>,
}

/// The longest label value that is kept.
const LABEL_BYTES_MAX: usize = 64;

/// Labels that one request may carry.
const LABELS_MAX: usize = 8;

impl Marks {
    /// Whether the request has a label.
    #[must_use]
    pub fn has_labels(&self) -> bool {
        !self.labels.is_empty()
    }

    /// Counts the request in `sallyport_route_labels_total` under this label and value. The number of
    /// values is bounded for the process: those beyond are counted as `other`. Values are cut at 64
    /// bytes, and a request's labels beyond the eighth are dropped.
    pub fn label(&mut self, name: &'static str, value: &str) {
        if self.labels.len() < LABELS_MAX {
            let end = value.floor_char_boundary(LABEL_BYTES_MAX);
            self.labels.push((name, value[..end].into()));
        }
    }
}

/// A verdict that a filter asks for. Networks that the classifier must always allow, and proxies that
/// the listener trusts, never get one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerdictAsked {
    /// How long the source is shut out.
    pub lasting: Duration,
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The status sent; `None` where no response went out.
    pub status: Option<StatusCode>,
    /// The response that was sent.
    pub response: Option<&'a response::Parts>,
    /// What failed, as in `X-Sallyport-Error`.
    pub cause: Option<&'a str>,
    /// The time from the head's arrival.
    pub duration: Duration,
    /// Body bytes received.
    pub request_bytes: u64,
    /// Body bytes sent.
    pub response_bytes: u64,
}
