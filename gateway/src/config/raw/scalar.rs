//! Values that more than one section holds, beyond what any file may: addresses to connect to,
//! unlimited sizes, header fields.

use http::{HeaderName, HeaderValue};

use sallyport_config::units;
use sallyport_config::{Node, Sink};

pub(super) use sallyport_config::scalar::{address, bytes, duration, flag, name, network};

/// A number of bytes, or `unlimited`.
pub(super) fn bytes_or_unlimited(node: Node<'_>, sink: &mut Sink) -> Option<u64> {
    sallyport_config::scalar::refuse_bare_size(node, sink)?;
    node.parsed(sink, "write a size such as 10MiB, or unlimited", |text| match text {
        "unlimited" => Ok(u64::MAX),
        _ => units::bytes(text).ok_or("is not a size"),
    })
}

/// A number of bytes a second, or `off`, which is 0.
pub(super) fn rate_or_off(node: Node<'_>, sink: &mut Sink) -> Option<u64> {
    let fix = "write the bytes of a second, such as 240B, or off";
    node.parsed(sink, fix, |text| match text {
        "off" | "0" => Ok(0),
        _ => units::bytes(text).ok_or("is not such a size"),
    })
}

/// A share in percent, such as `50%`.
pub(super) fn percent(node: Node<'_>, sink: &mut Sink) -> Option<u8> {
    node.parsed(sink, "write a share from 0% to 100%, such as 50%", |text| {
        let number = text.strip_suffix('%').and_then(|number| number.trim().parse().ok());
        number.filter(|percent| *percent <= 100).ok_or("is not a share in percent")
    })
}

/// The name of a header field.
pub(super) fn header_name(node: Node<'_>, sink: &mut Sink) -> Option<HeaderName> {
    node.parsed(sink, "write a field name of letters, digits and hyphens", |text| {
        HeaderName::from_bytes(text.as_bytes())
    })
}

/// The value of a header field.
pub(super) fn header_value(node: Node<'_>, sink: &mut Sink) -> Option<HeaderValue> {
    node.parsed(sink, "write visible characters only", HeaderValue::from_str)
}
