//! `match:` of a route: patterns compiled, names looked up.

use http::{HeaderName, Method};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sallyport_classifier::pinned::abi::Reason;
use sallyport_config::spec::{self, FieldMatch};
use sallyport_config::{Place, Sink};
use sallyport_route::{
    ClientMatch, CookieMatch, HeaderMatch, HintMatch, Match, PathMatch, Patterns, QueryMatch,
    Scheme, ValueMatch, normalise_path,
};

/// What a route takes; `None` if that could not be told. Patterns are compiled by `patterns`.
pub(super) fn matches(
    spec: &spec::Match,
    place: &Place<'_>,
    patterns: &mut Patterns,
    sink: &mut Sink,
) -> Option<Match> {
    let at = |key| Place::Key(place, key);
    let path = spec.path.as_ref().map(|spec| path(spec, &at("path"), patterns, sink));
    let methods = spec.methods.as_ref().map(|spec| methods(spec, &at("methods"), sink));
    let headers = fields(&spec.headers, &at("headers"), sink, |spec, place, sink| {
        let value = value(spec.value(), place, patterns, sink);
        let name = HeaderName::from_bytes(spec.name.as_bytes()).ok();
        Some(HeaderMatch { name: name?, value: value? })
    });
    let query = fields(&spec.query, &at("query"), sink, |spec, place, sink| {
        let value = value(spec.value(), place, patterns, sink)?;
        Some(QueryMatch { name: spec.name.0.clone(), value })
    });
    let cookies = fields(&spec.cookies, &at("cookies"), sink, |spec, place, sink| {
        let value = value(spec.value(), place, patterns, sink)?;
        Some(CookieMatch { name: spec.name.0.clone(), value })
    });
    let hint = spec.hint.as_ref().map(|spec| hint(spec, &at("hint"), sink));
    let client = spec.client_certificate.as_ref();
    let client = client.map(|spec| client_match(spec, &at("client_certificate"), sink));
    // What could not be read must not become what asks less.
    Some(Match {
        path: path.unwrap_or_else(|| Some(PathMatch::default()))?,
        methods: methods.unwrap_or_default(),
        headers,
        query,
        cookies,
        scheme: spec.scheme.map(|scheme| match scheme {
            spec::Scheme::Http => Scheme::Http,
            spec::Scheme::Https => Scheme::Https,
        }),
        hint: match hint {
            Some(hint) => Some(Box::new(hint?)),
            None => None,
        },
        client: match client {
            Some(client) => Some(Box::new(client?)),
            None => None,
        },
    })
}

fn fields<S, T>(
    specs: &[S],
    place: &Place<'_>,
    sink: &mut Sink,
    mut read: impl FnMut(&S, &Place<'_>, &mut Sink) -> Option<T>,
) -> Vec<T> {
    let specs = specs.iter().enumerate();
    specs.filter_map(|(index, spec)| read(spec, &Place::Item(place, index), sink)).collect()
}

fn path(
    spec: &spec::PathMatch,
    place: &Place<'_>,
    patterns: &mut Patterns,
    sink: &mut Sink,
) -> Option<PathMatch> {
    match spec {
        spec::PathMatch::Exact(path) => {
            literal_path(path, &Place::Key(place, "exact"), sink).map(PathMatch::Exact)
        }
        spec::PathMatch::Prefix(path) => {
            literal_path(path, &Place::Key(place, "prefix"), sink).map(PathMatch::Prefix)
        }
        spec::PathMatch::Regex(text) => {
            path_regex(text, &Place::Key(place, "regex"), patterns, sink)
        }
    }
}

fn path_regex(
    text: &str,
    place: &Place<'_>,
    patterns: &mut Patterns,
    sink: &mut Sink,
) -> Option<PathMatch> {
    if let Some(character) = text.chars().find(|character| !character.is_ascii()) {
        let mut bytes = [0; 4];
        let encoded = utf8_percent_encode(character.encode_utf8(&mut bytes), NON_ALPHANUMERIC);
        let what = format!("{text:?} has {character:?}, which no path is matched with");
        let fix = format!("write {encoded}: paths are matched percent-encoded");
        return place.refuse(sink, what, fix);
    }
    let fix = "write a regular expression for the whole path";
    place.parsed(sink, text, fix, |text| patterns.path(text))
}

/// A path as requests are matched: one that normalising would change could never match.
fn literal_path(text: &str, place: &Place<'_>, sink: &mut Sink) -> Option<Box<str>> {
    if text.contains('*') {
        let what = format!("{text:?}: `*` stands for itself here");
        let fix = "write the prefix alone, such as `prefix: /api`, or a `regex`";
        place.warn(sink, what, fix);
    }
    match normalise_path(text.as_bytes()) {
        Ok(path) if path == text => Some(text.into()),
        Ok(path) => place.refuse(
            sink,
            format!("{text:?} is not how requests are matched"),
            format!("write {path:?}"),
        ),
        Err(error) => place.refuse(
            sink,
            format!("{text:?}: {error}"),
            "write a path that begins with / and has no query",
        ),
    }
}

fn methods(specs: &[spec::scalar::Method], place: &Place<'_>, sink: &mut Sink) -> Vec<Method> {
    if specs.is_empty() {
        place.refuse::<()>(sink, "is empty", "name the methods, or remove the key to match all");
    }
    specs.iter().filter_map(|method| Method::from_bytes(method.as_bytes()).ok()).collect()
}

fn value(
    spec: FieldMatch<'_>,
    place: &Place<'_>,
    patterns: &mut Patterns,
    sink: &mut Sink,
) -> Option<ValueMatch> {
    let FieldMatch { exact, prefix, regex, present } = spec;
    place.exactly_one(
        sink,
        &[
            ("exact", exact.is_some()),
            ("prefix", prefix.is_some()),
            ("regex", regex.is_some()),
            ("present", present.is_some()),
        ],
    )?;
    if let Some(text) = regex {
        let fix = "write a regular expression for the whole value";
        return Place::Key(place, "regex").parsed(sink, text, fix, |text| patterns.value(text));
    }
    exact
        .map(|text| ValueMatch::Exact(text.into()))
        .or_else(|| prefix.map(|text| ValueMatch::Prefix(text.into())))
        .or_else(|| present.map(ValueMatch::Present))
}

fn hint(spec: &spec::HintMatch, place: &Place<'_>, sink: &mut Sink) -> Option<HintMatch> {
    let spec::HintMatch { network, zone, protocol, screens, syn_rate, ja4 } = spec;
    if *spec == spec::HintMatch::default() {
        return place.refuse(
            sink,
            "asks for nothing",
            "write at least one of `network`, `zone`, `protocol`, `screens`, `syn_rate`, `ja4`",
        );
    }
    let screens = screens.as_ref().map(|names| {
        let place = Place::Key(place, "screens");
        if names.is_empty() {
            place.refuse::<()>(sink, "is empty", "name screens, or remove the key");
        }
        fields(names, &place, sink, |name, place, sink| screen(name, place, sink))
    });
    let asked = spec.screens.as_ref().map_or(0, Vec::len);
    let screens = screens.unwrap_or_default();
    let ja4 = match ja4 {
        Some(text) => Some(self::ja4(text, &Place::Key(place, "ja4"), sink)?),
        None => None,
    };
    (screens.len() == asked).then(|| HintMatch {
        network: network.as_ref().map(|name| name.0.clone()),
        zone: zone.as_ref().map(|name| name.0.clone()),
        protocol: protocol.map(|protocol| protocol_label(protocol).into()),
        screens,
        syn_rate_above: syn_rate.as_ref().map(|rate| rate.above.0 as u32),
        ja4,
    })
}

/// A whole fingerprint: its three parts have a length each.
fn ja4(text: &str, place: &Place<'_>, sink: &mut Sink) -> Option<Box<str>> {
    let fix = "write one such as t13d1516h2_8daaf6152771_e5627efa2ab1, as `${hint.ja4}` logs it";
    place.parsed(sink, text, fix, |text| {
        let parts: Vec<usize> = text.split('_').map(str::len).collect();
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let is_one = is_plain && parts == [10, 12, 12];
        is_one.then(|| text.into()).ok_or("is no JA4 fingerprint")
    })
}

fn client_match(
    spec: &spec::ClientCertificateMatch,
    place: &Place<'_>,
    sink: &mut Sink,
) -> Option<ClientMatch> {
    let spec::ClientCertificateMatch { verified, subject, san } = spec;
    if *spec == spec::ClientCertificateMatch::default() {
        let fix = "write at least one of `verified`, `subject`, `san`";
        return place.refuse(sink, "asks for nothing", fix);
    }
    if *verified == Some(false) && (subject.is_some() || san.is_some()) {
        let what = "asks for a certificate and for none";
        return place.refuse(sink, what, "remove `verified: false`, or the rest");
    }
    let name = |name: &Option<spec::scalar::Name>| name.as_ref().map(|name| name.0.clone());
    Some(ClientMatch { verified: *verified, subject: name(subject), san: name(san) })
}

fn protocol_label(protocol: spec::Protocol) -> &'static str {
    use sallyport_classifier::pinned::abi::Protocol;
    match protocol {
        spec::Protocol::Tls => Protocol::Tls,
        spec::Protocol::Http1 => Protocol::Http1,
        spec::Protocol::Http2 => Protocol::Http2,
        spec::Protocol::Other => Protocol::Other,
    }
    .label()
}

fn screen(name: &str, place: &Place<'_>, sink: &mut Sink) -> Option<Box<str>> {
    let fix = || format!("write one of {}", screen_labels().collect::<Vec<_>>().join(", "));
    match known_screen(name) {
        Some(label) => Some(label.into()),
        None => place.refuse(sink, format!("{name:?}: is no screen"), fix()),
    }
}

/// The label of the protocol that is called so.
pub(in crate::config) fn known_protocol(text: &str) -> Option<&'static str> {
    use spec::Protocol::{Http1, Http2, Other, Tls};
    [Tls, Http1, Http2, Other].map(protocol_label).into_iter().find(|label| *label == text)
}

/// The label of the screen that is called so.
pub(in crate::config) fn known_screen(text: &str) -> Option<&'static str> {
    screen_labels().find(|label| *label == text)
}

fn screen_labels() -> impl Iterator<Item = &'static str> {
    Reason::ALL.iter().filter(|reason| reason.screen().is_some()).map(|reason| reason.label())
}
