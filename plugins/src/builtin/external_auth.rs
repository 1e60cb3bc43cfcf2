#![doc = include_str!("external_auth/README.md")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request, response,
};
use prometheus::IntCounterVec;

use sallyport_config::schema;

use crate::exchange::{About, Exchange};
use crate::filter::{Answer, BoxFuture, Filter, Flow, Next, Phases};
use crate::host::{Call, CallError, Calls, Reply};
use crate::kind::Kind;

mod config;
mod spec;

pub use spec::{AskMethod, ExternalAuthSpec, OnFailure};

/// `external_auth:` in `filters:`.
pub const KIND: Kind = Kind {
    name: "external_auth",
    read: config::read,
    schema: schema::settings::<ExternalAuthSpec>,
};

/// The longest answer that is passed on: a page that says why, not a download.
const REPLY_BYTES_MAX: usize = 64 << 10;

/// Asks a service whether a request may pass.
#[derive(Debug)]
struct ExternalAuth {
    calls: Arc<dyn Calls>,
    upstream: Box<str>,
    path: String,
    host: String,
    method: Method,
    timeout: Duration,
    request_headers: Vec<HeaderName>,
    upstream_headers: Vec<HeaderName>,
    response_headers: Vec<HeaderName>,
    client_headers: Vec<HeaderName>,
    opens_on_failure: bool,
    /// The filter's name, for the counter.
    name: Box<str>,
    /// `sallyport_external_auth_total`, by filter and result.
    results: IntCounterVec,
}

/// Fields of the service's reply that the client's response is to have.
struct ForResponse(Vec<(HeaderName, HeaderValue)>);

impl Filter for ExternalAuth {
    fn phases(&self) -> Phases {
        match self.response_headers.is_empty() {
            true => Phases::REQUEST_HEADERS,
            false => Phases::REQUEST_HEADERS | Phases::RESPONSE_HEADERS,
        }
    }

    fn request_headers<'a>(&'a self, x: Exchange<'a>) -> Flow<'a> {
        let call = self.call(x.request, x.about);
        for name in &self.upstream_headers {
            x.request.headers.remove(name);
        }
        let reply = self.calls.call(&self.upstream, call);
        Flow::wait(self.decide(x, reply))
    }

    fn response_headers<'a>(
        &'a self,
        mut x: Exchange<'a>,
        response: &'a mut response::Parts,
    ) -> Flow<'a> {
        if let Some(ForResponse(fields)) = x.kept() {
            // They stay: this response may be replaced by another.
            for (name, value) in fields.iter() {
                response.headers.append(name.clone(), value.clone());
            }
        }
        Flow::Continue
    }
}

impl ExternalAuth {
    async fn decide(
        &self,
        mut x: Exchange<'_>,
        reply: BoxFuture<'static, Result<Reply, CallError>>,
    ) -> Next {
        match reply.await {
            Ok(reply) if reply.status.is_success() => {
                self.count("allowed");
                self.admit(&mut x, &reply.headers);
                Next::Continue
            }
            Ok(reply) if is_verdict(reply.status) => {
                self.count("refused");
                Next::answer(self.refused(reply))
            }
            Ok(reply) => self.failed(&format_args!("its status is {}", reply.status.as_u16())),
            Err(error) => self.failed(&error),
        }
    }

    fn admit(&self, x: &mut Exchange<'_>, reply: &HeaderMap) {
        for (name, value) in chosen(&self.upstream_headers, reply) {
            x.request.headers.append(name, value);
        }
        let for_response: Vec<_> = chosen(&self.response_headers, reply).collect();
        if !for_response.is_empty() {
            x.keep(ForResponse(for_response));
        }
    }

    fn refused(&self, reply: Reply) -> Answer {
        let mut headers: Vec<_> = chosen(&self.client_headers, &reply.headers).collect();
        headers.extend(chosen(&[header::CONTENT_TYPE], &reply.headers));
        // A cache that kept a refusal would show it to those who may pass.
        headers.push((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
        Answer {
            status: reply.status,
            headers,
            body: reply.body,
            reason: "external_auth",
            is_plain_error: false,
        }
    }

    fn failed(&self, why: &dyn std::fmt::Display) -> Next {
        tracing::warn!(filter = %self.name, upstream = %self.upstream, %why, "cannot ask for access");
        if self.opens_on_failure {
            self.count("failed_open");
            return Next::Continue;
        }
        self.count("failed_closed");
        let text = "whether this may pass cannot be found out";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Next::answer(Answer::error(status, "external_auth_failed", text))
    }

    fn count(&self, result: &str) {
        self.results.with_label_values(&[&self.name, result]).inc();
    }

    fn call(&self, request: &request::Parts, about: &About<'_>) -> Call {
        let mut headers: HeaderMap = HeaderMap::new();
        for (name, value) in chosen(&self.request_headers, &request.headers) {
            headers.append(name, value);
        }
        for (name, value) in forwarded(request, about) {
            headers.insert(name, value);
        }
        Call {
            method: self.method.clone(),
            path: self.path.clone(),
            authority: self.host.clone(),
            headers,
            body: Bytes::new(),
            timeout: self.timeout,
            reply_bytes_max: REPLY_BYTES_MAX,
            trace: about.trace,
        }
    }
}

/// What the service is told of the request. Whatever the client sent under these names does not count.
fn forwarded<'r>(
    request: &'r request::Parts,
    about: &'r About<'_>,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> + 'r {
    let uri = request.uri.path_and_query().map_or("/", |path| path.as_str());
    // What the client asked for: the service judges the client's request, not what the origin gets.
    let asked = about.host.map(str::as_bytes);
    let host = asked.or_else(|| request.headers.get(header::HOST).map(HeaderValue::as_bytes));
    let authority = || request.uri.authority().map(|authority| authority.as_str().as_bytes());
    let client = about.client.map(|client| client.to_string());
    let method = Some(request.method.as_str().as_bytes().to_vec());
    let fields = [
        ("x-forwarded-method", method),
        ("x-forwarded-uri", Some(uri.as_bytes().to_vec())),
        ("x-forwarded-host", host.or_else(authority).map(<[u8]>::to_vec)),
        ("x-forwarded-for", client.map(String::into_bytes)),
    ];
    fields.into_iter().filter_map(|(name, value)| {
        let value = HeaderValue::from_maybe_shared(Bytes::from(value?)).ok()?;
        Some((HeaderName::from_static(name), value))
    })
}

/// Whether an answer that is no 2xx is the service's decision: 1xx and 5xx say that it has none.
fn is_verdict(status: StatusCode) -> bool {
    status.is_redirection() || status.is_client_error()
}

/// The fields of these names, all of each.
fn chosen<'h>(
    names: &'h [HeaderName],
    headers: &'h HeaderMap,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> + 'h {
    let values =
        |name: &'h HeaderName| headers.get_all(name).iter().map(move |value| (name, value));
    names.iter().flat_map(values).map(|(name, value)| (name.clone(), value.clone()))
}

/// A path that can be asked for.
fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.parse::<Uri>().is_ok()
}

#[cfg(test)]
mod tests;
