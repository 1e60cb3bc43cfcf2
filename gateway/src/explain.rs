//! Why a request goes where it goes: the decision, with what it passed over and why.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Version, header};
use pingora_http::RequestHeader;
use sallyport_http1::head::{escaped_query, is_refused};
use sallyport_route::{Domain, Hints, PathRegex, Request, normalise_host, normalise_path};
use sallyport_tls::DnsPattern;
use serde::Serialize;

use crate::config::{Action, Certificate, Forward, HashOn, Redirect, Target};
use crate::decide;
use crate::proxy::{Hypothetical, Sender, hash_key};
use crate::snapshot::{Host, PassedOn, Snapshot};

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
    /// The address at the other end of the connection.
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
    /// `forward`, `redirect`, `respond` or `passthrough`.
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

/// Where a connection by `listener` goes whose client asks for `name`, if it is not terminated.
fn passed_on<'s>(snapshot: &'s Snapshot, listener: usize, name: &str) -> Option<&'s PassedOn> {
    let name = match DnsPattern::parse(name) {
        Some(DnsPattern::Exact(name)) => Some(name),
        _ => None,
    };
    snapshot.passed_on(listener, name.as_deref())
}

/// Decides as a request would be decided.
#[must_use]
pub fn explain(snapshot: &Arc<Snapshot>, question: &Question) -> Explanation {
    let mut answer = Explanation {
        listener: snapshot
            .listeners
            .get(question.listener)
            .map(|listener| listener.name.to_string()),
        ..Explanation::default()
    };
    let (head, host) = match head(question) {
        Ok(head) => head,
        Err(why) => return refused(answer, 400, why),
    };
    answer.host = Some(host.to_string());
    if let Some(name) = &question.sni
        && let Some(passed_on) = passed_on(snapshot, question.listener, name)
    {
        pass_on(&mut answer, snapshot, passed_on, question);
        return answer;
    }
    if let Some(name) = &question.sni {
        match shown(snapshot, question.listener, name) {
            Ok(certificate) => answer.certificate = Some(certificate),
            Err(why) => {
                answer.error = Some(why);
                return answer;
            }
        }
    }
    let (listener, peer, hints) = (question.listener, question.client, question.hints.clone());
    let sender = Sender { listener, peer, hints };
    let mut request = Hypothetical::new(Arc::new(snapshot.clone()), head, sender);
    if let Err((status, why)) = request.find() {
        return refused(answer, status, why.to_owned());
    }
    answer.path = Some(request.head().uri.path().to_owned());
    let redirect = snapshot.listeners.get(question.listener).and_then(|it| it.redirect.as_ref());
    if let Some(redirect) = redirect.filter(|_| request.is_redirected()) {
        redirect_to(&mut answer, redirect, question, &request, (None, &[]));
        return answer;
    }
    let Some(host_index) = request.host() else {
        return refused(answer, 404, "no virtual host has this domain".into());
    };
    let found = &snapshot.hosts[host_index];
    answer.virtual_host = Some(found.name.to_string());
    if let (Some(name), Some(tls)) = (&question.sni, snapshot.tls(question.listener)) {
        let asked = snapshot.host(question.listener, &name.to_ascii_lowercase());
        if tls.rules_of(asked) != tls.rules_of(Some(host_index)) {
            let why = format!("{name} and {host} have different rules for client certificates");
            return refused(answer, 421, why);
        }
    }
    let index = request.place().map(|(_, route)| route);
    pass_over(&mut answer, found, &request, index.unwrap_or(found.routes.len()));
    let Some(index) = index else {
        return refused(answer, 404, "no route matches".into());
    };
    let route = &found.routes[index];
    let chain = snapshot.chain(question.listener, Some((host_index, index)));
    answer.filters = chain.map_or_else(Vec::new, |chain| {
        chain.filters().iter().map(|filter| filter.to_string()).collect()
    });
    answer.route = Some(route.name.to_string());
    match &route.action {
        Action::Forward(forward) => forward_to(&mut answer, snapshot, forward, &request),
        Action::Redirect(redirect) => {
            let matched = (found.path_regex(index), &*found.domains);
            redirect_to(&mut answer, redirect, question, &request, matched);
        }
        Action::Respond(respond) => {
            answer.action = Some("respond");
            answer.status = Some(respond.status.as_u16());
        }
    }
    answer
}

/// The head of the request, and the host that it is for.
fn head(question: &Question) -> Result<(RequestHeader, Cow<'_, str>), String> {
    let host = normalise_host(&question.host)
        .map_err(|error| format!("the host is malformed: {error}"))?;
    let (path, query) = match question.path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (&*question.path, None),
    };
    if is_refused(question.path.as_bytes()) {
        return Err("the path is malformed".to_owned());
    }
    // As the check of a request's head writes what came, where that is not in normal form.
    let mut target = normalise_path(path.as_bytes())
        .map_err(|error| format!("the path is malformed: {error}"))?
        .into_owned();
    if let Some(query) = query {
        target.push('?');
        target.push_str(escaped_query(query).as_deref().unwrap_or(query));
    }
    let head = RequestHeader::build_no_case(question.method.clone(), target.as_bytes(), None);
    let mut head = head.map_err(|_| "the path is malformed".to_owned())?;
    head.set_version(Version::HTTP_11);
    let named = HeaderValue::from_str(&question.host);
    let named = named.map_err(|error| format!("the host is malformed: {error}"))?;
    // A `Host` among the fields would be a second one.
    let others = question.headers.iter().filter(|(name, _)| **name != header::HOST);
    for (name, value) in [(&header::HOST, &named)].into_iter().chain(others) {
        head.append_header(name, value).map_err(|_| format!("{name} is malformed"))?;
    }
    Ok((head, host))
}

fn refused(mut answer: Explanation, status: u16, error: String) -> Explanation {
    answer.status = Some(status);
    answer.error = Some(error);
    answer
}

/// Where a redirect sends the request.
fn redirect_to(
    answer: &mut Explanation,
    redirect: &Redirect,
    question: &Question,
    request: &Hypothetical,
    (regex, domains): (Option<&PathRegex>, &[Domain]),
) {
    let uri = &request.head().uri;
    let variables = request.variables(redirect);
    let asked = decide::Asked {
        scheme: request.scheme().as_str(),
        authority: &question.host,
        path: uri.path(),
        path_and_query: uri.path_and_query().map_or("/", |path| path.as_str()),
        regex,
        domains,
        variables: &variables,
    };
    answer.action = Some("redirect");
    answer.status = Some(redirect.status.as_u16());
    match decide::location(redirect, &asked) {
        Some(location) => answer.location = Some(location),
        None => {
            answer.status = Some(400);
            answer.error = Some("the path makes no host to redirect to".into());
        }
    }
}

/// Where a connection is passed on to: nothing of it is seen but the name.
fn pass_on(
    answer: &mut Explanation,
    snapshot: &Snapshot,
    passed_on: &PassedOn,
    question: &Question,
) {
    answer.action = Some("passthrough");
    // A key that hashes on what requests have.
    let client = question.client.map(|client| client.to_canonical());
    let key = |hash_on: &HashOn| {
        let hash_on = match hash_on {
            HashOn::Hint(_) | HashOn::Ja4 => hash_on,
            _ => &HashOn::SourceIp,
        };
        hash_key(hash_on, client, "", None, &HeaderMap::new(), question.hints.as_ref())
    };
    choose(answer, snapshot, &passed_on.targets, |_| true, key);
}

fn pass_over(answer: &mut Explanation, host: &Host, request: &Hypothetical, until: usize) {
    let head = request.head();
    let request = Request {
        method: &head.method,
        path: head.uri.path(),
        query: head.uri.query().unwrap_or(""),
        headers: &head.headers,
        scheme: request.scheme(),
        hints: request.hints(),
    };
    let passed = host.table.matches()[..until].iter().zip(&host.routes);
    answer.passed_over = passed
        .take(PASSED_OVER_MAX)
        .filter_map(|(matches, route)| {
            let because = matches.mismatch(&request)?.to_string();
            Some(PassedOver { route: route.name.to_string(), because })
        })
        .collect();
    answer.passed_over_more = until.saturating_sub(PASSED_OVER_MAX);
}

fn forward_to(
    answer: &mut Explanation,
    snapshot: &Snapshot,
    forward: &Forward,
    request: &Hypothetical,
) {
    answer.action = Some("forward");
    let is_available =
        |target: &Target| !forward.failover || snapshot.upstreams[target.upstream].is_available();
    let head = request.head();
    let key = |hash_on: &HashOn| {
        hash_key(
            hash_on,
            request.client(),
            head.uri.path(),
            head.uri.query(),
            &head.headers,
            request.hints(),
        )
    };
    choose(answer, snapshot, &forward.targets, is_available, key);
}

/// The upstream with the largest share of those that may be used, and its endpoint for the hash that
/// `key` makes.
fn choose(
    answer: &mut Explanation,
    snapshot: &Snapshot,
    targets: &[Target],
    may_use: impl Fn(&Target) -> bool,
    key: impl Fn(&HashOn) -> u64,
) {
    let name = |index: usize| snapshot.upstreams[index].spec.name.to_string();
    if targets.len() > 1 {
        answer.split =
            targets.iter().map(|target| (name(target.upstream), target.weight)).collect();
    }
    // The first of the largest share.
    let target = targets
        .iter()
        .rev()
        .max_by_key(|target| (target.weight > 0 && may_use(target), target.weight));
    let Some(target) = target else { return };
    let upstream = &snapshot.upstreams[target.upstream];
    answer.upstream = Some(name(target.upstream));
    answer.policy = Some(format!("{:?}", upstream.spec.policy));
    let endpoints = upstream.endpoints();
    match endpoints.peek(key(&upstream.spec.hash_on)) {
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
