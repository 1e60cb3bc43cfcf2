#![doc = include_str!("cors/README.md")]

use std::collections::HashSet;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, response};
use regex::RegexSet;

use sallyport_config::schema;

use crate::exchange::Exchange;
use crate::filter::{Answer, Filter, Flow, Phases};
use crate::kind::Kind;

mod read;
mod spec;

pub use spec::{CorsSpec, OriginRegexSpec, OriginSpec};

/// `cors:` in `filters:`.
pub const KIND: Kind =
    Kind { name: "cors", read: read::read, schema: schema::settings::<CorsSpec> };

/// The fields of the protocol that a response may have. An origin's own would contradict these.
const OURS: [HeaderName; 6] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];

/// Tells browsers which other sites may use this one.
#[derive(Debug)]
struct Cors {
    origins: Origins,
    methods: HeaderValue,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    credentials: bool,
    max_age_s: Option<HeaderValue>,
}

#[derive(Debug)]
enum Origins {
    Any,
    Some { exact: HashSet<Box<str>>, regexes: RegexSet },
}

impl Origins {
    fn allow(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Some { exact, regexes } => exact.contains(origin) || regexes.is_match(origin),
        }
    }
}

impl Cors {
    /// What `Access-Control-Allow-Origin` says to a request; `None` where it is not to be written.
    fn allowed_origin(&self, request: &HeaderMap) -> Option<HeaderValue> {
        if matches!(self.origins, Origins::Any) {
            return Some(HeaderValue::from_static("*"));
        }
        let origin = request.get(header::ORIGIN)?;
        self.origins.allow(origin.to_str().ok()?).then(|| origin.clone())
    }

    /// Writes what every answer to this request has.
    fn write(&self, request: &HeaderMap, headers: &mut HeaderMap) {
        // Caches must not give one site what was said to another, or to nobody.
        if !matches!(self.origins, Origins::Any) {
            vary(headers);
        }
        let Some(origin) = self.allowed_origin(request) else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            let yes = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
    }

    fn preflight(&self, request: &HeaderMap) -> Answer {
        if self.allowed_origin(request).is_none() {
            let text = "the origin is not allowed";
            return Answer::error(StatusCode::FORBIDDEN, "cors_origin", text);
        }
        let mut answer = Answer {
            status: StatusCode::NO_CONTENT,
            headers: vec![(header::ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone())],
            body: Bytes::new(),
            reason: "cors_preflight",
            is_plain_error: false,
        };
        let mut add = |name, value: &Option<HeaderValue>| {
            answer.headers.extend(value.clone().map(|value| (name, value)));
        };
        add(header::ACCESS_CONTROL_ALLOW_HEADERS, &self.headers);
        add(header::ACCESS_CONTROL_MAX_AGE, &self.max_age_s);
        answer
    }
}

/// Adds `Origin` to `Vary`, where it is not.
fn vary(headers: &mut HeaderMap) {
    let names = |value: &HeaderValue| {
        let covers = |name: &str| name.eq_ignore_ascii_case("origin") || name == "*";
        value.to_str().is_ok_and(|value| value.split(',').map(str::trim).any(covers))
    };
    if !headers.get_all(header::VARY).iter().any(names) {
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
}

/// Fetch, 3.3.2: what tells a preflight from another `OPTIONS`.
fn is_preflight(x: &Exchange<'_>) -> bool {
    let headers = &x.request.headers;
    x.request.method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

impl Filter for Cors {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS | Phases::RESPONSE_HEADERS
    }

    fn request_headers<'a>(&'a self, x: Exchange<'a>) -> Flow<'a> {
        if is_preflight(&x) {
            return Flow::answer(self.preflight(&x.request.headers));
        }
        Flow::Continue
    }

    fn response_headers<'a>(
        &'a self,
        x: Exchange<'a>,
        response: &'a mut response::Parts,
    ) -> Flow<'a> {
        let (request, headers) = (&x.request.headers, &mut response.headers);
        if is_preflight(&x) {
            self.write(request, headers);
            return Flow::Continue;
        }
        for name in &OURS {
            headers.remove(name);
        }
        self.write(request, headers);
        if let Some(expose) = &self.expose
            && headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN)
        {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
        Flow::Continue
    }
}

#[cfg(test)]
mod tests;
