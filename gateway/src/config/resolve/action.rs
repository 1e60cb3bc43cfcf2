//! What becomes of a route's requests: `forward:` and `respond:`.

use http::{HeaderName, HeaderValue, StatusCode};
use sallyport_config::spec;
use sallyport_config::spec::scalar::Name;
use sallyport_config::{Place, Sink};

use crate::config::model::Respond;

/// An upstream's name and its share, with the place of the name.
pub(super) struct NamedTarget<'s> {
    pub(super) upstream: &'s str,
    pub(super) weight: u32,
    /// The index in `split`; `None` for `upstream`.
    pub(super) index: Option<usize>,
}

impl NamedTarget<'_> {
    /// Where its name is written, in what is at `place`.
    pub(super) fn place(&self, place: &Place<'_>) -> String {
        match self.index {
            None => format!("{place}.upstream"),
            Some(index) => format!("{place}.split[{index}].upstream"),
        }
    }
}

/// The upstreams that a route goes to, by name.
pub(super) fn forwarded_to<'s>(
    spec: &'s spec::Forward,
    place: &Place<'_>,
    is_whole: bool,
    sink: &mut Sink,
) -> Vec<NamedTarget<'s>> {
    let spec::Forward { upstream, split, failover, sticky, .. } = spec;
    if sticky.is_some() && split.is_none() {
        place.refuse::<()>(
            sink,
            "`sticky` has no effect without `split`",
            "remove it, or write it in the upstream to keep clients at an endpoint",
        );
    }
    if failover.is_some() && split.is_none() {
        place.refuse::<()>(
            sink,
            "`failover` has no effect without `split`",
            "remove it: there is no other upstream to go to",
        );
    }
    targets((upstream.as_ref(), split.as_deref()), place, is_whole, sink)
}

/// The upstreams of `upstream` or `split`, of which one is written, by name.
pub(super) fn targets<'s>(
    (upstream, split): (Option<&'s Name>, Option<&'s [spec::Target]>),
    place: &Place<'_>,
    is_whole: bool,
    sink: &mut Sink,
) -> Vec<NamedTarget<'s>> {
    place.exactly_one(sink, &[("upstream", upstream.is_some()), ("split", split.is_some())]);
    let weightless = split.is_some_and(|split| split.iter().all(|target| target.weight.0 == 0));
    // A weight that could not be read may be above 0.
    if weightless && is_whole {
        Place::Key(place, "split").refuse::<()>(
            sink,
            "has no weight above 0",
            "give at least one upstream a weight from 1 to 65535",
        );
    }
    let one = upstream.map(|name| NamedTarget { upstream: name, weight: 1, index: None });
    let several = split.into_iter().flatten().enumerate().map(|(index, target)| NamedTarget {
        upstream: &target.upstream,
        weight: target.weight.0 as u32,
        index: Some(index),
    });
    one.into_iter().chain(several).collect()
}

pub(super) fn respond(spec: &spec::Respond, place: &Place<'_>, sink: &mut Sink) -> Option<Respond> {
    let headers_place = Place::Key(place, "headers");
    let headers = spec.headers.0.iter().filter_map(|(name, value)| {
        let place = Place::Key(&headers_place, name);
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            return place.refuse(sink, "is no field name", "write letters, digits and hyphens");
        };
        if matches!(name.as_str(), "content-length" | "transfer-encoding" | "connection") {
            return place.refuse(sink, format!("sets {name}"), "leave framing to the gateway");
        }
        Some((name, HeaderValue::from_str(value).ok()?))
    });
    let headers = headers.collect();
    let status = StatusCode::from_u16(spec.status.0 as u16).ok()?;
    if !spec.body.is_empty() && matches!(status.as_u16(), 204 | 205 | 304) {
        return place.refuse(
            sink,
            format!("has a body with status {}", status.as_u16()),
            "remove the body: such a response has none",
        );
    }
    Some(Respond { status, headers, body: String::from(spec.body.clone()).into() })
}
