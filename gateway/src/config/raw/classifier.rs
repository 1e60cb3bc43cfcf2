//! `classifier:`, and what of its hints a route may ask for.

use std::path::PathBuf;

use sallyport_classifier::pinned::abi::{Protocol, Reason};
use sallyport_config::{Node, Sink};
use sallyport_route::HintMatch;

use super::scalar;
use crate::config::model::{Classifier, HintField};

const PROTOCOLS: [Protocol; 4] = [Protocol::Tls, Protocol::Http1, Protocol::Http2, Protocol::Other];

pub(super) fn classifier(node: Node<'_>, sink: &mut Sink) -> Option<Classifier> {
    node.mapping(sink, |fields, sink| {
        let pin_path = fields.optional(sink, "pin_path", pin_path);
        let required = fields.optional(sink, "required", scalar::flag);
        let upstream_headers = fields
            .optional(sink, "upstream_headers", |node, sink| node.list(sink, hint_field))
            .unwrap_or_default();
        Some(Classifier {
            pin_path: pin_path.unwrap_or_else(|| PathBuf::from("/sys/fs/bpf/sallyport")),
            required: required.unwrap_or(false),
            upstream_headers,
        })
    })
}

fn pin_path(node: Node<'_>, sink: &mut Sink) -> Option<PathBuf> {
    node.parsed(sink, "write the classifier's `pin_path`, such as /sys/fs/bpf/sallyport", |text| {
        if text.starts_with('/') { Ok(text.into()) } else { Err("is not an absolute path") }
    })
}

pub(super) fn hint_field(node: Node<'_>, sink: &mut Sink) -> Option<HintField> {
    node.parsed(sink, "write network, zone, protocol, screens or syn_rate", |text| {
        HintField::ALL.into_iter().find(|field| field.key() == text).ok_or("is no hint")
    })
}

/// `match.hint`.
pub(super) fn hint(node: Node<'_>, sink: &mut Sink) -> Option<HintMatch> {
    node.mapping(sink, |fields, sink| {
        let network = fields.optional(sink, "network", scalar::name);
        let zone = fields.optional(sink, "zone", scalar::name);
        let protocol = fields.optional(sink, "protocol", protocol);
        let screens = fields.optional(sink, "screens", screens);
        let syn_rate_above = fields.optional(sink, "syn_rate", above);
        let ja4 = fields.optional(sink, "ja4", ja4);
        // One that could not be read must not become one that asks less.
        let read = [
            ("network", network.is_some()),
            ("zone", zone.is_some()),
            ("protocol", protocol.is_some()),
            ("screens", screens.is_some()),
            ("syn_rate", syn_rate_above.is_some()),
            ("ja4", ja4.is_some()),
        ];
        if read.iter().any(|(key, read)| fields.has(key) && !read) {
            return None;
        }
        if !read.iter().any(|(_, read)| *read) {
            return fields.node().refuse(
                sink,
                "asks for nothing",
                "write at least one of `network`, `zone`, `protocol`, `screens`, `syn_rate`, `ja4`",
            );
        }
        let screens = screens.unwrap_or_default();
        Some(HintMatch { network, zone, protocol, screens, syn_rate_above, ja4 })
    })
}

/// A whole fingerprint: its three parts have a length each.
fn ja4(node: Node<'_>, sink: &mut Sink) -> Option<Box<str>> {
    let fix = "write one such as t13d1516h2_8daaf6152771_e5627efa2ab1, as `${hint.ja4}` logs it";
    node.parsed(sink, fix, |text| {
        let parts: Vec<usize> = text.split('_').map(str::len).collect();
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let is_one = is_plain && parts == [10, 12, 12];
        is_one.then(|| text.into()).ok_or("is no JA4 fingerprint")
    })
}

fn protocol(node: Node<'_>, sink: &mut Sink) -> Option<Box<str>> {
    node.parsed(sink, "write tls, http1, http2 or other", |text| {
        known_protocol(text).map(Box::from).ok_or("is no protocol that the classifier tells")
    })
}

fn screens(node: Node<'_>, sink: &mut Sink) -> Option<Vec<Box<str>>> {
    let screens = node.whole_list(sink, |node, sink| {
        let known: Vec<_> = screen_labels().collect();
        node.parsed(sink, &format!("write one of {}", known.join(", ")), |text| {
            known_screen(text).map(Box::from).ok_or("is no screen")
        })
    })?;
    if screens.is_empty() {
        return node.refuse(sink, "is empty", "name screens, or remove the key");
    }
    Some(screens)
}

fn above(node: Node<'_>, sink: &mut Sink) -> Option<u32> {
    node.mapping(sink, |fields, sink| {
        let above =
            fields.required(sink, "above", |node, sink| node.number(sink, 0, u32::MAX.into()));
        above.map(|above| above as u32)
    })
}

/// The label of the protocol that is called so.
pub(in crate::config) fn known_protocol(text: &str) -> Option<&'static str> {
    PROTOCOLS.into_iter().map(Protocol::label).find(|label| *label == text)
}

/// The label of the screen that is called so.
pub(in crate::config) fn known_screen(text: &str) -> Option<&'static str> {
    screen_labels().find(|label| *label == text)
}

fn screen_labels() -> impl Iterator<Item = &'static str> {
    Reason::ALL.iter().filter(|reason| reason.screen().is_some()).map(|reason| reason.label())
}
