//! Limits that a service knows: Envoy's rate limit service, by gRPC through one of the gateway's own
//! upstreams. A request is described to it and it says whether the request may pass; which limits there
//! are is its business.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, response};
use sallyport_config::{Place, Sink};

use super::super::buckets::Taken;
use super::super::told::{Told, refusal};
use super::circuit::Circuit;
use super::figures::{Failure, Figures};
use super::spec::ServiceSpec;
use crate::builtin::external_auth::OnFailure;
use crate::exchange::Exchange;
use crate::field_name;
use crate::filter::{Answer, BoxFuture, Filter, Flow, Next, Phases};
use crate::host::{Call, CallError, Calls, Reply};
use crate::kind::Setting;
use crate::template::{Scope, Template};

mod message;

use message::{
    CurrentLimit, Descriptor, DescriptorStatus, Entry, HeaderField, OK, OVER_LIMIT,
    RateLimitRequest, RateLimitResponse, Span,
};

/// The longest answer: some fields, and a page that says why.
const REPLY_BYTES_MAX: usize = 64 << 10;

/// Descriptors of a limit, and entries of a descriptor.
const LIST_MAX: usize = 16;

/// The keys of a descriptor's entries, and what their values are made of.
type DescriptorTemplate = Vec<(Box<str>, Template)>;

/// Refuses requests that a service says are over a limit.
#[derive(Debug)]
pub(super) struct ServiceLimit {
    calls: Arc<dyn Calls>,
    upstream: Box<str>,
    host: String,
    domain: Box<str>,
    descriptors: Vec<DescriptorTemplate>,
    hits: u32,
    deadline: Duration,
    opens_on_failure: bool,
    /// Whether clients are told what they have left.
    tells: bool,
    /// The filter's name.
    name: Box<str>,
    circuit: Circuit,
    figures: Figures,
    /// The zero of the circuit's clock.
    epoch: Instant,
}

/// What the response is to have.
#[derive(Debug, Default)]
struct ForResponse(HeaderMap);

impl ServiceLimit {
    pub(super) fn read(
        spec: &ServiceSpec,
        tells: bool,
        place: &Place<'_>,
        sink: &mut Sink,
        setting: &mut Setting<'_>,
    ) -> Option<Self> {
        let upstream = &*spec.upstream;
        setting.upstream_called(upstream, &Place::Key(place, "upstream"));
        let descriptors = descriptors(spec, &Place::Key(place, "descriptors"), sink)?;
        let host = spec.host.as_deref().unwrap_or(upstream);
        if HeaderValue::from_str(host).is_err() {
            let fix = "write a name such as limits.internal";
            return Place::Key(place, "host").refuse(sink, format!("{host:?} is no host"), fix);
        }
        Some(Self {
            calls: setting.host.calls.clone(),
            upstream: upstream.into(),
            host: host.to_owned(),
            domain: (*spec.domain).into(),
            descriptors,
            // The type bounds it.
            hits: u32::try_from(spec.hits_addend.0).unwrap_or(1),
            deadline: spec.deadline.0,
            opens_on_failure: spec.on_failure == OnFailure::Open,
            tells,
            name: setting.name.into(),
            circuit: Circuit::default(),
            figures: Figures::new(&setting.host.metrics, setting.name),
            epoch: Instant::now(),
        })
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX / 2)
    }

    /// What the service is asked of this request; `None` where no descriptor fits it.
    fn question(&self, x: &Exchange<'_>) -> Option<RateLimitRequest> {
        let described = |entries: &DescriptorTemplate| {
            let entries = entries.iter().map(|(key, value)| {
                let mut text = String::new();
                value.render(x, None, &mut text);
                // A request that lacks what an entry says is not what its descriptor is about.
                (!text.is_empty()).then(|| Entry { key: key.to_string(), value: text })
            });
            entries.collect::<Option<Vec<_>>>().map(|entries| Descriptor { entries })
        };
        let descriptors: Vec<_> = self.descriptors.iter().filter_map(described).collect();
        let domain = self.domain.to_string();
        (!descriptors.is_empty()).then_some(RateLimitRequest {
            domain,
            descriptors,
            hits_addend: self.hits,
        })
    }

    fn call(&self, question: &RateLimitRequest, x: &Exchange<'_>) -> Call {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        let timeout = HeaderValue::from_str(&format!("{}m", self.deadline.as_millis()));
        headers.extend(timeout.ok().map(|value| (HeaderName::from_static("grpc-timeout"), value)));
        Call {
            method: Method::POST,
            path: message::PATH.to_owned(),
            authority: self.host.clone(),
            headers,
            body: message::framed(question),
            timeout: self.deadline,
            reply_bytes_max: REPLY_BYTES_MAX,
            trace: x.about.trace,
        }
    }

    async fn decide(
        &self,
        mut x: Exchange<'_>,
        reply: BoxFuture<'static, Result<Reply, CallError>>,
    ) -> Next {
        let began = Instant::now();
        let answer = answer(reply.await);
        self.figures.trips.observe(began.elapsed());
        self.circuit.record(answer.is_ok(), self.now_ns());
        match answer {
            Ok(answer) => {
                self.figures.trips.ok.inc();
                self.settle(&mut x, answer)
            }
            Err((failure, why)) => {
                let trips = &self.figures.trips;
                match failure {
                    Failure::Deadline => trips.timeout.inc(),
                    // There was nobody to ask.
                    Failure::Away => {}
                    _ => trips.error.inc(),
                }
                tracing::debug!(filter = %self.name, %why, "a limit's service has no answer");
                self.fall_back(failure).map_or(Next::Continue, Next::answer)
            }
        }
    }

    /// Does as the service says.
    fn settle(&self, x: &mut Exchange<'_>, answer: RateLimitResponse) -> Next {
        let mut fields = HeaderMap::new();
        add(&answer.response_headers_to_add, &mut fields);
        if let Some((told, taken)) = self.tells.then(|| self.told(&answer.statuses)).flatten() {
            told.add_to(&mut fields, &taken);
        }
        if !fields.is_empty() {
            x.keep(ForResponse(fields));
        }
        if answer.overall_code != OVER_LIMIT {
            self.figures.admitted.inc();
            add(&answer.request_headers_to_add, &mut x.request.headers);
            return Next::Continue;
        }
        self.figures.refused.inc();
        let over = answer.statuses.iter().filter(|status| status.code == OVER_LIMIT);
        let resets = over.filter_map(|status| status.duration_until_reset).map(Span::ns);
        // Those that are over must all be reset; a service need not say when.
        let wait_s = resets.max().map_or(1, |ns| ns.div_ceil(1_000_000_000).max(1));
        let refusal = refusal(wait_s);
        Next::answer(match answer.raw_body.is_empty() {
            true => refusal,
            false => Answer { body: answer.raw_body, is_plain_error: false, ..refusal },
        })
    }

    /// The limit that the request is closest to.
    fn told(&self, statuses: &[DescriptorStatus]) -> Option<(Told, Taken)> {
        let limits = statuses.iter().filter_map(|status| {
            let CurrentLimit { requests_per_unit, .. } = status.current_limit?;
            Some((status, u64::from(requests_per_unit), status.current_limit?.unit_s()?))
        });
        let (status, requests, per_s) = limits.min_by_key(|(status, ..)| status.limit_remaining)?;
        let wait_ns = status.duration_until_reset.map_or(0, Span::ns);
        let told = Told::new(&self.name, requests, Duration::from_secs(per_s), requests);
        let remaining = status.limit_remaining.into();
        Some((told, Taken { is_admitted: status.code == OK, remaining, wait_ns }))
    }

    /// What becomes of a request without an answer.
    fn fall_back(&self, failure: Failure) -> Option<Answer> {
        self.figures.fell_back(failure);
        if self.opens_on_failure {
            self.figures.fallback_admitted.inc();
            return None;
        }
        self.figures.fallback_refused.inc();
        Some(refusal(1))
    }
}

/// The service's answer, or why there is none.
fn answer(reply: Result<Reply, CallError>) -> Result<RateLimitResponse, (Failure, String)> {
    let error = |why: String| (Failure::Error, why);
    let reply = reply.map_err(|why| match why {
        CallError::Timeout => (Failure::Deadline, why.to_string()),
        CallError::NoEndpoint => (Failure::Away, why.to_string()),
        _ => error(why.to_string()),
    })?;
    if reply.status != StatusCode::OK {
        return Err(error(format!("its status is {}", reply.status.as_u16())));
    }
    // An error without a message has its status in the head.
    if let Some(status) = reply.headers.get("grpc-status").filter(|status| *status != "0") {
        return Err(error(format!("its gRPC status is {status:?}")));
    }
    let answer = message::unframed(&reply.body).map_err(|why| error(why.to_string()))?;
    match answer.overall_code {
        OK | OVER_LIMIT => Ok(answer),
        other => Err(error(format!("its code is {other}"))),
    }
}

/// Adds fields of the service's, but for those that frame a message.
fn add(fields: &[HeaderField], headers: &mut HeaderMap) {
    for field in fields {
        let value = match field.raw_value.is_empty() {
            true => Bytes::from(field.value.clone()),
            false => field.raw_value.clone(),
        };
        let name = HeaderName::from_bytes(field.key.as_bytes()).ok();
        let name = name.filter(field_name::may_be_written);
        if let (Some(name), Ok(value)) = (name, HeaderValue::from_maybe_shared(value)) {
            headers.append(name, value);
        }
    }
}

fn descriptors(
    spec: &ServiceSpec,
    place: &Place<'_>,
    sink: &mut Sink,
) -> Option<Vec<DescriptorTemplate>> {
    bounded(spec.descriptors.len(), place, sink)?;
    let mut all = Vec::with_capacity(spec.descriptors.len());
    for (index, entries) in spec.descriptors.iter().enumerate() {
        let place = Place::Item(place, index);
        bounded(entries.len(), &place, sink)?;
        let read = entries.iter().enumerate().map(|(index, entry)| {
            let place = Place::Item(&place, index);
            let place = Place::Key(&place, "value");
            let value = Template::read_at(&entry.value, &place, sink, Scope::Request)?;
            Some(((*entry.key).into(), value))
        });
        // Every problem is told.
        all.push(read.collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>());
    }
    all.into_iter().collect()
}

fn bounded(count: usize, place: &Place<'_>, sink: &mut Sink) -> Option<()> {
    let fix =
        format!("write 1 to {LIST_MAX}, such as [[{{ key: client, value: \"${{client}}\" }}]]");
    match count {
        1..=LIST_MAX => Some(()),
        _ => place.refuse(sink, format!("holds {count}"), fix),
    }
}

impl Filter for ServiceLimit {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS | Phases::RESPONSE_HEADERS
    }

    fn request_headers<'a>(&'a self, x: Exchange<'a>) -> Flow<'a> {
        let Some(question) = self.question(&x) else { return Flow::Continue };
        if !self.circuit.admits(self.now_ns()) {
            return self.fall_back(Failure::Away).map_or(Flow::Continue, Flow::answer);
        }
        let call = self.call(&question, &x);
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

#[cfg(test)]
mod tests;
