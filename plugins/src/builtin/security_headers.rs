#![doc = include_str!("security_headers/README.md")]

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, header, response};
use sallyport_config::{Node, Sink, scalar, schema, units};

use crate::exchange::Exchange;
use crate::filter::{Filter, Flow, Phases};
use crate::kind::{Kind, Setting};

mod spec;

pub use spec::{HstsPolicySpec, HstsSpec, Off, SecurityHeadersSpec};

/// `security_headers:` in `filters:`.
pub const KIND: Kind =
    Kind { name: "security_headers", read, schema: schema::settings::<SecurityHeadersSpec> };

/// A key of the configuration, the field that it writes, and the value where nothing is said.
type Known = (&'static str, HeaderName, Option<&'static str>);

const FIELDS: [Known; 8] = [
    ("content_type_options", header::X_CONTENT_TYPE_OPTIONS, Some("nosniff")),
    ("frame_options", header::X_FRAME_OPTIONS, Some("SAMEORIGIN")),
    ("referrer_policy", header::REFERRER_POLICY, Some("strict-origin-when-cross-origin")),
    (
        "permissions_policy",
        HeaderName::from_static("permissions-policy"),
        Some("camera=(), geolocation=(), microphone=()"),
    ),
    // `same-origin` would break signing in by a window of another site.
    (
        "cross_origin_opener_policy",
        HeaderName::from_static("cross-origin-opener-policy"),
        Some("same-origin-allow-popups"),
    ),
    (
        "cross_origin_resource_policy",
        HeaderName::from_static("cross-origin-resource-policy"),
        Some("same-site"),
    ),
    // It breaks pages that embed anything of another site's.
    ("cross_origin_embedder_policy", HeaderName::from_static("cross-origin-embedder-policy"), None),
    // Only the site knows what it loads.
    ("content_security_policy", header::CONTENT_SECURITY_POLICY, None),
];

/// What browsers demand of a site that wants to be in their lists (hstspreload.org).
const PRELOAD_MIN: Duration = Duration::from_secs(365 * 86_400);

/// Browsers take longer ones for as long.
const MAX_AGE_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Writes the fields that tell browsers to be careful.
#[derive(Debug)]
struct SecurityHeaders {
    fields: Vec<(HeaderName, HeaderValue)>,
    hsts: Option<HeaderValue>,
    overrides: bool,
}

fn read(node: Node<'_>, sink: &mut Sink, _: &mut Setting<'_>) -> Option<Arc<dyn Filter>> {
    node.mapping(sink, |fields, sink| {
        let mut written = Vec::new();
        for (key, name, default) in FIELDS {
            let value = if fields.has(key) {
                fields.optional(sink, key, value).flatten()
            } else {
                // Known, though not written.
                fields.value(key);
                default.map(HeaderValue::from_static)
            };
            written.extend(value.map(|value| (name, value)));
        }
        let hsts = fields.optional(sink, "hsts", hsts).flatten();
        let overrides = fields.optional(sink, "override", scalar::flag).unwrap_or(false);
        Some(Arc::new(SecurityHeaders { fields: written, hsts, overrides }) as Arc<dyn Filter>)
    })
}

/// The value; nothing where it is turned off.
fn value(node: Node<'_>, sink: &mut Sink) -> Option<Option<HeaderValue>> {
    match node.name(sink)?.as_ref() {
        "off" => Some(None),
        text => match HeaderValue::from_str(text) {
            Ok(value) => Some(Some(value)),
            Err(_) => node.refuse(sink, "is no field value", "use visible ASCII and spaces"),
        },
    }
}

/// RFC 6797, 6.1.
fn hsts(node: Node<'_>, sink: &mut Sink) -> Option<Option<HeaderValue>> {
    if node.value.as_str() == Some("off") {
        return Some(None);
    }
    node.mapping(sink, |fields, sink| {
        let max_age = fields.optional(sink, "max_age", max_age);
        let subdomains = fields.optional(sink, "include_subdomains", scalar::flag).unwrap_or(false);
        let preload = fields.optional(sink, "preload", scalar::flag).unwrap_or(false);
        let max_age = max_age.unwrap_or(PRELOAD_MIN);
        if preload && (!subdomains || max_age < PRELOAD_MIN) {
            let fix = "write `include_subdomains: true` and at least `max_age: 8760h` too";
            return node.refuse(sink, "browsers refuse this `preload`", fix);
        }
        let mut text = format!("max-age={}", max_age.as_secs());
        text.push_str(if subdomains { "; includeSubDomains" } else { "" });
        text.push_str(if preload { "; preload" } else { "" });
        HeaderValue::try_from(text).ok().map(Some)
    })
}

/// Zero makes browsers forget.
fn max_age(node: Node<'_>, sink: &mut Sink) -> Option<Duration> {
    node.parsed(sink, "write a time up to 87600h, such as 8760h for a year", |text| {
        let time = units::duration(text).filter(|time| *time <= MAX_AGE_MAX);
        time.ok_or("is not such a time")
    })
}

impl Filter for SecurityHeaders {
    fn phases(&self) -> Phases {
        Phases::RESPONSE_HEADERS
    }

    fn response_headers<'a>(
        &'a self,
        exchange: Exchange<'a>,
        response: &'a mut response::Parts,
    ) -> Flow<'a> {
        let headers = &mut response.headers;
        // RFC 6797, 7.2: never in clear text, where it could be anybody's.
        let hsts = self.hsts.iter().filter(|_| exchange.about.scheme == "https");
        let hsts = hsts.map(|value| (&header::STRICT_TRANSPORT_SECURITY, value));
        for (name, value) in self.fields.iter().map(|(name, value)| (name, value)).chain(hsts) {
            if self.overrides || !headers.contains_key(name) {
                headers.insert(name, value.clone());
            }
        }
        Flow::Continue
    }
}

#[cfg(test)]
mod tests;
