//! Distinguished names as text (RFC 4514).

use std::fmt::Write as _;

use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// The short names of attribute types: those of RFC 4514, 3, and three that every other tool writes.
const SHORT_NAMES: [(&str, &str); 12] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.42", "givenName"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// `name` as RFC 4514 writes it: the most specific part first, such as `CN=ann,O=Example,C=DE`.
#[must_use]
pub(crate) fn rfc4514(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in name.iter_rdn() {
        let attributes: Vec<_> = part.iter().map(attribute).collect();
        parts.push(attributes.join("+"));
    }
    parts.reverse();
    parts.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let short = SHORT_NAMES.iter().find(|(known, _)| *known == oid).map(|(_, short)| *short);
    // RFC 4514, 2.4: a type that is written by its number has its value in hexadecimal.
    match (short, text(attribute.attr_value())) {
        (Some(short), Some(text)) => format!("{short}={}", escaped(&text)),
        (short, _) => format!("{}={}", short.unwrap_or(&oid), encoded(attribute.attr_value())),
    }
}

/// The characters of a string of any of X.520's types, if they are characters.
fn text(value: &Any<'_>) -> Option<String> {
    let bytes = value.data;
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString => {
            String::from_utf8(bytes.to_vec()).ok()
        }
        // T.61 as everybody uses it: Latin-1.
        Tag::T61String => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString if bytes.len().is_multiple_of(2) => {
            let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        Tag::UniversalString if bytes.len().is_multiple_of(4) => {
            let units = bytes.chunks_exact(4);
            let units = units.map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]));
            units.map(char::from_u32).collect()
        }
        _ => None,
    }
}

/// RFC 4514, 2.4. Control characters are escaped too: the text goes into logs and header fields.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (index, character) in text.chars().enumerate() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => out.extend(['\\', character]),
            '#' if index == 0 => out.push_str("\\#"),
            ' ' if index == 0 || index == last => out.push_str("\\ "),
            _ if character.is_control() => {
                for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                    // Writing to a string cannot fail.
                    write!(out, "\\{byte:02X}").ok();
                }
            }
            _ => out.push(character),
        }
    }
    out
}

/// `#` and the value's DER in hexadecimal.
fn encoded(value: &Any<'_>) -> String {
    let length = value.data.len();
    let mut der = vec![value.header.raw_tag().and_then(|tag| tag.first().copied()).unwrap_or(0)];
    match u8::try_from(length) {
        Ok(length) if length < 0x80 => der.push(length),
        Ok(length) => der.extend([0x81, length]),
        Err(_) => {
            let length = u16::try_from(length).unwrap_or(u16::MAX);
            der.push(0x82);
            der.extend(length.to_be_bytes());
        }
    }
    der.extend_from_slice(value.data);
    let digits: String = der.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("#{digits}")
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::FromDer as _;

    use super::*;

    /// An attribute: the DER of its OID, the tag and the value.
    type Attribute<'a> = (&'a [u8], u8, &'a [u8]);

    /// A name whose parts each have these attributes.
    fn name(parts: &[&[Attribute<'_>]]) -> String {
        let wrap = |tag: u8, content: &[u8]| {
            let mut der = vec![tag, u8::try_from(content.len()).unwrap()];
            der.extend_from_slice(content);
            der
        };
        let mut sequence = Vec::new();
        for part in parts {
            let mut set = Vec::new();
            for (oid, tag, value) in *part {
                set.extend(wrap(0x30, &[wrap(0x06, oid), wrap(*tag, value)].concat()));
            }
            sequence.extend(wrap(0x31, &set));
        }
        let der = wrap(0x30, &sequence);
        let (_, name) = X509Name::from_der(&der).expect("a name");
        rfc4514(&name)
    }

    const CN: &[u8] = &[0x55, 4, 3];
    const O: &[u8] = &[0x55, 4, 10];
    const C: &[u8] = &[0x55, 4, 6];
    const UTF8: u8 = 12;
    const PRINTABLE: u8 = 19;

    #[test]
    fn the_examples_of_rfc_4514() {
        const UID: &[u8] = &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1];
        const DC: &[u8] = &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25];
        const OU: &[u8] = &[0x55, 4, 11];
        const SN: &[u8] = &[0x55, 4, 4];
        let dc: &[&[Attribute<'_>]] = &[&[(DC, 22, b"net")], &[(DC, 22, b"example")]];
        let below = |part| name(&[dc[0], dc[1], part]);
        assert_eq!(below(&[(UID, UTF8, b"jsmith")]), "UID=jsmith,DC=example,DC=net");
        assert_eq!(
            below(&[(OU, UTF8, b"Sales"), (CN, UTF8, b"J.  Smith")]),
            "OU=Sales+CN=J.  Smith,DC=example,DC=net"
        );
        assert_eq!(
            below(&[(CN, UTF8, b"James \"Jim\" Smith, III")]),
            "CN=James \\\"Jim\\\" Smith\\, III,DC=example,DC=net"
        );
        assert_eq!(below(&[(CN, UTF8, b"Before\rAfter")]), "CN=Before\\0DAfter,DC=example,DC=net");
        let oid: &[u8] = &[0x2b, 6, 1, 4, 1, 0x8b, 0x3a, 0];
        assert_eq!(name(&[&[(oid, 4, &[0x48, 0x69])]]), "1.3.6.1.4.1.1466.0=#04024869");
        assert_eq!(name(&[&[(SN, UTF8, "Lučić".as_bytes())]]), "2.5.4.4=#0c074c75c48d69c487");
    }

    #[test]
    fn values_are_text_whatever_their_type_and_never_break_a_line() {
        assert_eq!(
            name(&[&[(C, PRINTABLE, b"DE")], &[(O, 20, b"M\xfcller")], &[(CN, 30, b"\0a\0n\0n")]]),
            "CN=ann,O=Müller,C=DE"
        );
        assert_eq!(name(&[&[(CN, UTF8, b" #a ")]]), "CN=\\ #a\\ ");
        assert_eq!(name(&[&[(CN, UTF8, b"#a\n\x7f\0")]]), "CN=\\#a\\0A\\7F\\00");
        assert_eq!(name(&[&[(CN, UTF8, b"\xff")]]), "CN=#0c01ff");
        assert_eq!(name(&[&[(CN, 30, b"\0")]]), "CN=#1e0100");
        assert_eq!(name(&[]), "");
    }
}
