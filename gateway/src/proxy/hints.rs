//! What the classifier says of a request's connection: asked for once a connection, believed from
//! nobody else, and sent upstream where the configuration says so.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use sallyport_route::Hints;

use super::context::RequestContext;
use crate::classifier::Classifier;
use crate::config::HintField;

/// Finds what is known of the connection. An earlier request's hints are kept for as long as there are hints at all.
pub(super) fn find(classifier: Option<&Arc<Classifier>>, ctx: &mut RequestContext) {
    if let Some(classifier) = classifier {
        ask(classifier, ctx);
    }
    ctx.tls_hints = with_tls(ctx);
}

fn ask(classifier: &Classifier, ctx: &mut RequestContext) {
    let connection = ctx.connection().filter(|_| classifier.is_fresh());
    ctx.known = connection.and_then(|connection| {
        connection.known(|| classifier.connection(connection.peer, connection.local))
    });
}

/// Counts the request under what is known of its connection.
pub(super) fn count(classifier: Option<&Classifier>, ctx: &RequestContext) {
    if let Some(classifier) = classifier {
        classifier.count(ctx.known.as_deref());
    }
}

/// What TLS says of the client, and what the classifier says besides.
fn with_tls(ctx: &RequestContext) -> Option<Box<Hints>> {
    let connection = ctx.connection()?;
    let (ja4, client) = (connection.tls.as_ref()?.ja4.clone(), connection.client.clone());
    if ja4.is_none() && client.is_none() {
        return None;
    }
    let known = ctx.hints().cloned().unwrap_or_default();
    Some(Box::new(Hints { ja4, client, ..known }))
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
            ..Hints::default()
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
