//! Why a request goes where it goes: the decision, with what it passed over and why.

use std::fmt;
use std::net::IpAddr;

use http::{HeaderMap, Method};
use sallyport_route::{Hints, Request, Scheme, normalise_host, normalise_path};
use serde::Serialize;

use crate::config::{Action, Certificate, Forward, Listener, Target};
use crate::decide;
use crate::proxy::{forwarded_scheme, hash_key};
use crate::snapshot::{Host, Snapshot};

/// Routes passed over that are listed; a table of 100,000 is not read by anybody.
const PASSED_OVER_MAX: usize = 100;

/// A request to explain.
#[derive(Debug)]
pub struct Question {
    /// The host, with or without port.
    pub host: String,
    /// The path, with its query if it has one.
    pub path: String,
    /// The method.
    pub method: Method,
    /// The header fields.
    pub headers: HeaderMap,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// What the classifier is taken to say of the client.
    pub hints: Option<Hints>,
    /// The name that the client asks for in its TLS handshake.
    pub sni: Option<String>,
    /// The listener's index.
    pub listener: usize,
}

/// What becomes of a request; absent parts are `null` in JSON.
#[derive(Debug, Default, Serialize)]
pub struct Explanation {
    /// The listener that takes the request.
    pub listener: Option<String>,
    /// The certificate that the client is shown: its file, or `self-signed`.
    pub certificate: Option<String>,
    /// The host as it is matched.
    pub host: Option<String>,
    /// The path as it is matched and sent upstream.
    pub path: Option<String>,
    /// The virtual host.
    pub virtual_host: Option<String>,
    /// The route.
    pub route: Option<String>,
    /// `forward`, `redirect` or `respond`.
    pub action: Option<&'static str>,
    /// The filters that run, in the order of their request hooks.
    pub filters: Vec<String>,
    /// The upstream; of a split, the one with the largest share among those that are available.
    pub upstream: Option<String>,
    /// The upstreams of a split and their weights.
    pub split: Vec<(String, u32)>,
    /// The endpoint. Only a hashing policy always chooses the same.
    pub endpoint: Option<String>,
    /// The policy that chose it.
    pub policy: Option<String>,
    /// The status, where the gateway itself answers.
    pub status: Option<u16>,
    /// The `Location` of a redirect.
    pub location: Option<String>,
    /// Why it ends here, if it does.
    pub error: Option<String>,
    /// The routes before the one that matched, and why they did not.
    pub passed_over: Vec<PassedOver>,
    /// How many more were passed over.
    pub passed_over_more: usize,
}

/// A route that did not match.
#[derive(Debug, Serialize)]
pub struct PassedOver {
    /// Its name.
    pub route: String,
    /// What did not fit.
    pub because: String,
}

/// The certificate that a client of `listener` is shown that asks for `name`.
fn shown(snapshot: &Snapshot, listener: usize, name: &str) -> Result<String, String> {
    let tls = snapshot.tls(listener).ok_or("the listener speaks no TLS")?;
    let found = tls.certificate(Some(name));
    let (certificate, _) =
        found.ok_or_else(|| format!("the handshake is refused: no certificate is for {name}"))?;
    Ok(match certificate {
        Certificate::Files { path, .. } => path.display().to_string(),
        Certificate::Acme { account, domains, pair: Some(_) } => {
            account.file(domains).display().to_string()
        }
        Certificate::Acme { .. } => "self-signed, until one is issued".into(),
        Certificate::SelfSigned { .. } => "self-signed".into(),
    })
}

/// Decides as the proxy would.
#[must_use]
pub fn explain(snapshot: &Snapshot, question: &Question) -> Explanation {
    let mut answer = Explanation {
        listener: snapshot
            .listeners
            .get(question.listener)
            .map(|listener| listener.name.to_string()),
        ..Explanation::default()
    };
    let (path, query) = match question.path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (question.path.as_str(), None),
    };
    let host = match normalise_host(&question.host) {
        Ok(host) => host,
        Err(error) => return refused(answer, 400, format!("the host is malformed: {error}")),
    };
    let path = match normalise_path(path.as_bytes()) {
        Ok(path) => path,
        Err(error) => return refused(answer, 400, format!("the path is malformed: {error}")),
    };
    answer.host = Some(host.to_string());
    if let Some(name) = &question.sni {
        match shown(snapshot, question.listener, name) {
            Ok(certificate) => answer.certificate = Some(certificate),
            Err(why) => {
                answer.error = Some(why);
                return answer;
            }
        }
    }
    answer.path = Some(path.to_string());
    let scheme = snapshot.listeners.get(question.listener).map_or(Scheme::Http, |listener| {
        let trusts_some = !listener.trusted_proxies.is_empty();
        let forwarded = trusts_some.then(|| forwarded_scheme(&question.headers)).flatten();
        let own = if listener.tls.is_some() { Scheme::Https } else { Scheme::Http };
        forwarded.unwrap_or(own)
    });
    let listener = snapshot.listeners.get(question.listener);
    if let Some(listener) = listener.filter(|it| decide::redirects_all(it, scheme, &path)) {
        redirect_all(&mut answer, listener, question, &path, query);
        return answer;
    }
    let Some(found) = snapshot.host(question.listener, &host) else {
        return refused(answer, 404, "no virtual host has this domain".into());
    };
    let host_index = found;
    let found = &snapshot.hosts[host_index];
    answer.virtual_host = Some(found.name.to_string());
    if let (Some(name), Some(tls)) = (&question.sni, snapshot.tls(question.listener)) {
        let asked = snapshot.host(question.listener, &name.to_ascii_lowercase());
        if tls.rules_of(asked) != tls.rules_of(Some(host_index)) {
            let why = format!("{name} and {host} have different rules for client certificates");
            return refused(answer, 421, why);
        }
    }
    let request = Request {
        method: &question.method,
        path: &path,
        query: query.unwrap_or(""),
        headers: &question.headers,
        scheme,
        hints: question.hints.as_ref(),
    };
    let route = found.table.route(&request);
    pass_over(&mut answer, found, &request, route.unwrap_or(found.routes.len()));
    let Some(index) = route else {
        return refused(answer, 404, "no route matches".into());
    };
    let route = &found.routes[index];
    let chain = snapshot.chain(question.listener, Some((host_index, index)));
    answer.filters = chain.map_or_else(Vec::new, |chain| {
        chain.filters().iter().map(|filter| filter.to_string()).collect()
    });
    answer.route = Some(route.name.to_string());
    match &route.action {
        Action::Forward(forward) => {
            forward_to(&mut answer, snapshot, question, forward, &path, query)
        }
        Action::Redirect(redirect) => {
            answer.action = Some("redirect");
            answer.status = Some(redirect.status.as_u16());
            let path_and_query = match query {
                Some(query) => format!("{path}?{query}"),
                None => path.to_string(),
            };
            let asked = decide::Asked {
                scheme: scheme.as_str(),
                authority: &question.host,
                path: &path,
                path_and_query: &path_and_query,
                regex: found.path_regex(index),
            };
            match decide::location(redirect, &asked) {
                Some(location) => answer.location = Some(location),
                None => {
                    answer.status = Some(400);
                    answer.error = Some("the path makes no host to redirect to".into());
                }
            }
        }
        Action::Respond(respond) => {
            answer.action = Some("respond");
            answer.status = Some(respond.status.as_u16());
        }
    }
    answer
}

fn refused(mut answer: Explanation, status: u16, error: String) -> Explanation {
    answer.status = Some(status);
    answer.error = Some(error);
    answer
}

/// What a listener answers that sends everything elsewhere.
fn redirect_all(
    answer: &mut Explanation,
    listener: &Listener,
    question: &Question,
    path: &str,
    query: Option<&str>,
) {
    let Some(redirect) = &listener.redirect else { return };
    let path_and_query = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let asked = decide::Asked {
        scheme: Scheme::Http.as_str(),
        authority: &question.host,
        path,
        path_and_query: &path_and_query,
        regex: None,
    };
    answer.action = Some("redirect");
    answer.status = Some(redirect.status.as_u16());
    answer.location = decide::location(redirect, &asked);
}

fn pass_over(answer: &mut Explanation, host: &Host, request: &Request<'_>, until: usize) {
    let passed = host.table.matches()[..until].iter().zip(&host.routes);
    answer.passed_over = passed
        .take(PASSED_OVER_MAX)
        .filter_map(|(matches, route)| {
            let because = matches.mismatch(request)?.to_string();
            Some(PassedOver { route: route.name.to_string(), because })
        })
        .collect();
    answer.passed_over_more = until.saturating_sub(PASSED_OVER_MAX);
}

fn forward_to(
    answer: &mut Explanation,
    snapshot: &Snapshot,
    question: &Question,
    forward: &Forward,
    path: &str,
    query: Option<&str>,
) {
    answer.action = Some("forward");
    let name = |index: usize| snapshot.upstreams[index].spec.name.to_string();
    if forward.targets.len() > 1 {
        answer.split =
            forward.targets.iter().map(|target| (name(target.upstream), target.weight)).collect();
    }
    let is_available =
        |target: &Target| !forward.failover || snapshot.upstreams[target.upstream].is_available();
    // The first of the largest share.
    let target = forward
        .targets
        .iter()
        .rev()
        .max_by_key(|target| (target.weight > 0 && is_available(target), target.weight));
    let Some(target) = target else { return };
    let upstream = &snapshot.upstreams[target.upstream];
    let key = hash_key(
        &upstream.spec.hash_on,
        question.client,
        path,
        query,
        &question.headers,
        question.hints.as_ref(),
    );
    answer.upstream = Some(name(target.upstream));
    answer.policy = Some(format!("{:?}", upstream.spec.policy));
    let endpoints = upstream.endpoints();
    match endpoints.peek(key) {
        Some(endpoint) => answer.endpoint = Some(endpoints.endpoint(endpoint).address.to_string()),
        None => {
            answer.status = Some(503);
            answer.error = Some("no endpoint is available".into());
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: Option<&dyn fmt::Display>| match value {
            Some(value) => writeln!(out, "{name:<13} {value}"),
            None => Ok(()),
        };
        fn show<T: fmt::Display>(value: Option<&T>) -> Option<&dyn fmt::Display> {
            value.map(|value| value as &dyn fmt::Display)
        }
        line("listener", show(self.listener.as_ref()))?;
        line("certificate", show(self.certificate.as_ref()))?;
        line("host", show(self.host.as_ref()))?;
        line("path", show(self.path.as_ref()))?;
        line("virtual host", show(self.virtual_host.as_ref()))?;
        line("route", show(self.route.as_ref()))?;
        for filter in &self.filters {
            line("filter", Some(filter))?;
        }
        line("action", show(self.action.as_ref()))?;
        for (upstream, weight) in &self.split {
            line("split", Some(&format!("{upstream}, weight {weight}")))?;
        }
        line("upstream", show(self.upstream.as_ref()))?;
        line("policy", show(self.policy.as_ref()))?;
        line("endpoint", show(self.endpoint.as_ref()))?;
        line("status", show(self.status.as_ref()))?;
        line("location", show(self.location.as_ref()))?;
        line("error", show(self.error.as_ref()))?;
        for passed in &self.passed_over {
            line("passed over", Some(&format!("{}: {}", passed.route, passed.because)))?;
        }
        if self.passed_over_more > 0 {
            line("passed over", Some(&format!("and {} more", self.passed_over_more)))?;
        }
        Ok(())
    }
}
