//! What the classifier says of a request's connection: asked for once a connection, believed from
//! nobody else, and sent upstream where the configuration says so.

use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Version};
use pingora_proxy::Session;
use sallyport_route::Hints;

use super::context::RequestContext;
use crate::classifier::{Classifier, Known};
use crate::config::HintField;

/// The address at the other end of the connection.
pub(super) fn peer(session: &Session) -> Option<SocketAddr> {
    session.client_addr().and_then(|address| address.as_inet()).copied()
}

/// Finds what is known of the connection, and counts the request under it. An earlier request's
/// hints are kept for as long as there are hints at all.
pub(super) fn find(
    classifier: Option<&Arc<Classifier>>,
    session: &Session,
    ctx: &mut RequestContext,
) {
    let Some(classifier) = classifier else { return };
    if !classifier.is_fresh() {
        ctx.known = None;
    } else if ctx.known.is_none() {
        ctx.known = look_up(classifier, session);
    }
    classifier.count(ctx.known.as_deref());
}

fn look_up(classifier: &Classifier, session: &Session) -> Option<Arc<Known>> {
    let peer = peer(session)?;
    let local = session.server_addr().and_then(|address| address.as_inet()).copied()?;
    if session.req_header().version != Version::HTTP_2 {
        return classifier.connection(peer, local);
    }
    let timing = session.digest().and_then(|digest| digest.timing_digest.first()?.as_ref());
    match timing {
        Some(timing) => classifier.multiplexed(peer, local, timing.established_ts),
        None => classifier.connection(peer, local),
    }
}

/// What the next request of an HTTP/1 connection is handed.
pub(super) fn keep(ctx: &RequestContext) -> Option<Box<dyn Any + Send + Sync>> {
    ctx.known.clone().map(|known| Box::new(known) as _)
}

/// Takes over what the request before had.
pub(super) fn resume(ctx: &mut RequestContext, kept: Box<dyn Any + Send + Sync>) {
    ctx.known = kept.downcast::<Arc<Known>>().ok().map(|known| *known);
}

/// Writes the hints that the configuration wants upstream; those that there are none of are left out.
pub(super) fn write(headers: &mut HeaderMap, hints: &Hints, fields: &[HintField]) {
    for field in fields {
        let (name, value) = match field {
            HintField::Network => ("x-sallyport-network", text(hints.network.as_deref())),
            HintField::Zone => ("x-sallyport-zone", text(hints.zone.as_deref())),
            HintField::Protocol => ("x-sallyport-protocol", text(hints.protocol)),
            HintField::Screens if hints.screens.is_empty() => continue,
            HintField::Screens => ("x-sallyport-screens", text(Some(&hints.screens.join(",")))),
            HintField::SynRate => ("x-sallyport-syn-rate", Some(hints.syn_rate.into())),
        };
        if let Some(value) = value {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// Names are UTF-8 of the operator's own; one that no field can hold is not sent.
fn text(value: Option<&str>) -> Option<HeaderValue> {
    HeaderValue::from_bytes(value?.as_bytes()).ok()
}

/// As a verdict's source: the peer, never a forwarded address.
pub(super) fn peer_address(session: &Session) -> Option<IpAddr> {
    peer(session).map(|peer| peer.ip().to_canonical())
}

#[cfg(test)]
mod tests {
    use super::{HintField, Hints, write};
    use http::HeaderMap;

    #[test]
    fn fields_are_sent_as_configured() {
        let hints = Hints {
            network: Some("office".into()),
            zone: None,
            protocol: Some("tls"),
            screens: Box::new(["land", "port_scan"]),
            syn_rate: 7,
        };
        let mut headers = HeaderMap::new();
        write(&mut headers, &hints, &HintField::ALL);
        let field = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(field("x-sallyport-network"), Some("office"));
        assert_eq!(field("x-sallyport-zone"), None);
        assert_eq!(field("x-sallyport-protocol"), Some("tls"));
        assert_eq!(field("x-sallyport-screens"), Some("land,port_scan"));
        assert_eq!(field("x-sallyport-syn-rate"), Some("7"));
        let mut none = HeaderMap::new();
        write(&mut none, &hints, &[]);
        assert!(none.is_empty());
    }
}
