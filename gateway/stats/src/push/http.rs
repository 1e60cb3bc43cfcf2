//! One request after another to one URL, for the exporters that speak HTTP.
//!
//! Blocking, since an exporter has a thread of its own. Connections are kept, and made anew every
//! now and then, since the name may lead elsewhere by then.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig},
};

use super::exporter::ExportError;

/// What is read of an answer.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Where requests go, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// `http://` or `https://`, with its path.
    pub url: String,
    /// Headers of every request, as for authorisation.
    pub headers: Vec<(String, String)>,
    /// How long a request may take, from resolving the name to the answer's end.
    pub deadline: Duration,
    /// How long connections are kept before the name is resolved anew.
    pub resolve_every: Duration,
    /// Certificates, as DER, that a receiver's must descend from; `None` for the system's.
    pub roots: Option<Vec<Vec<u8>>>,
}

impl HttpConfig {
    /// The defaults, and a URL: five seconds a request, connections of at most half a minute.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            headers: Vec::new(),
            deadline: Duration::from_secs(5),
            resolve_every: Duration::from_secs(30),
            roots: None,
        }
    }
}

/// Sends what it is given to one URL.
#[derive(Debug)]
pub(super) struct Http {
    config: HttpConfig,
    tls: Option<TlsConfig>,
    agent: Agent,
    made: Instant,
}

impl Http {
    pub(super) fn new(config: &HttpConfig) -> Result<Self, ExportError> {
        let tls = config.url.starts_with("https:").then(|| tls(config.roots.as_deref()));
        let tls = tls.transpose()?;
        let agent = agent(config, tls.clone());
        Ok(Self { config: config.clone(), tls, agent, made: Instant::now() })
    }

    /// Posts `body` and returns the answer's, where the status is of the 200s. `is_busy` says which
    /// others mean that it may be tried again.
    pub(super) fn post(
        &mut self,
        headers: &[(&str, &str)],
        body: &[u8],
        is_busy: fn(u16) -> bool,
    ) -> Result<Vec<u8>, ExportError> {
        if self.made.elapsed() >= self.config.resolve_every {
            self.renew();
        }
        let mut request = self.agent.post(&self.config.url);
        for (key, value) in headers {
            request = request.header(*key, *value);
        }
        for (key, value) in &self.config.headers {
            request = request.header(key, value);
        }
        let mut answer = request.send(body).map_err(|error| {
            self.renew();
            failure(&self.config.url, error)
        })?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|value| value.trim().parse().ok());
        let limited = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let text = limited.unwrap_or_default();
        match status {
            200..=299 => Ok(text),
            _ if is_busy(status) => {
                let retry_after = retry_after.map(Duration::from_secs);
                Err(ExportError::Busy { status, retry_after })
            }
            _ => {
                let reason = String::from_utf8_lossy(&text);
                let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
                let reason = reason.chars().take(200).collect();
                Err(ExportError::Refused { status, reason })
            }
        }
    }

    fn renew(&mut self) {
        self.agent = agent(&self.config, self.tls.clone());
        self.made = Instant::now();
    }
}

fn agent(config: &HttpConfig, tls: Option<TlsConfig>) -> Agent {
    let builder = Agent::config_builder()
        .timeout_global(Some(config.deadline))
        .max_redirects(0)
        .http_status_as_error(false)
        .user_agent(concat!("sallyport-stats/", env!("CARGO_PKG_VERSION")))
        // What is measured does not leave by a way that somebody's environment names.
        .proxy(None);
    match tls {
        Some(tls) => builder.https_only(true).tls_config(tls).build().into(),
        None => builder.build().into(),
    }
}

fn tls(roots: Option<&[Vec<u8>]>) -> Result<TlsConfig, ExportError> {
    let roots: Vec<Certificate<'static>> = match roots {
        Some(roots) => roots.iter().map(|der| Certificate::from_der(der).to_owned()).collect(),
        None => {
            let found = rustls_native_certs::load_native_certs();
            if found.certs.is_empty() {
                return Err(ExportError::SetUp("the system has no root certificates".into()));
            }
            found.certs.iter().map(|der| Certificate::from_der(der).to_owned()).collect()
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots));
    Ok(builder.unversioned_rustls_crypto_provider(provider).build())
}

/// What happened before anything was sent may be tried again.
fn failure(url: &str, error: ureq::Error) -> ExportError {
    use std::io;
    use ureq::{Error, Timeout};
    let address = || url.to_owned();
    match error {
        Error::HostNotFound => {
            ExportError::Resolve { name: address(), source: io::ErrorKind::NotFound.into() }
        }
        Error::ConnectionFailed | Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            let source = io::ErrorKind::NotConnected.into();
            ExportError::Connect { address: address(), source }
        }
        Error::Io(source) if source.kind() == io::ErrorKind::ConnectionRefused => {
            ExportError::Connect { address: address(), source }
        }
        Error::Io(source) => ExportError::Send(source),
        Error::Timeout(_) => ExportError::Send(io::ErrorKind::TimedOut.into()),
        other => ExportError::Send(io::Error::other(other)),
    }
}

#[cfg(test)]
pub(super) mod tests;
