//! The configuration of `cors`.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use http::uri::Uri;
use http::{HeaderName, HeaderValue, Method};
use regex::RegexSet;
use sallyport_config::{Node, Sink, scalar};

use super::{Cors, Origins};
use crate::filter::Filter;
use crate::kind::Setting;

/// Names in one list: more is no list that somebody wrote.
const NAMES_MAX: usize = 1000;

pub(super) fn read(
    node: Node<'_>,
    sink: &mut Sink,
    _: &mut Setting<'_>,
) -> Option<Arc<dyn Filter>> {
    node.mapping(sink, |fields, sink| {
        let credentials = fields.optional(sink, "credentials", scalar::flag).unwrap_or(false);
        let list = |of| move |node: Node<'_>, sink: &mut Sink| names(node, sink, credentials, of);
        let origins =
            fields.required(sink, "origins", |node, sink| origins(node, sink, credentials));
        let methods = fields.optional(sink, "methods", list(method));
        let headers = fields.optional(sink, "headers", list(field));
        let expose = fields.optional(sink, "expose", list(field));
        let max_age = fields.optional(sink, "max_age", scalar::duration);
        Some(Arc::new(Cors {
            origins: origins?,
            methods: methods.unwrap_or(HeaderValue::from_static("GET, HEAD, POST")),
            headers,
            expose,
            credentials,
            max_age_s: max_age.map(|age| age.as_secs().max(1).into()),
        }) as Arc<dyn Filter>)
    })
}

fn origins(node: Node<'_>, sink: &mut Sink, credentials: bool) -> Option<Origins> {
    let (mut any, mut exact, mut regexes) = (false, HashSet::new(), Vec::new());
    let origins = node.whole_list(sink, |node, sink| {
        if !node.value.is_string() {
            regexes.push(regex(node, sink)?);
            return Some(());
        }
        match node.text(sink)? {
            "*" if credentials => no_wildcard(node, sink),
            "*" => {
                any = true;
                Some(())
            }
            text => {
                origin(text, node, sink)?;
                exact.insert(text.into());
                Some(())
            }
        }
    })?;
    if origins.is_empty() {
        return node.refuse(sink, "is empty", "name the origins that are allowed");
    }
    if any {
        return Some(Origins::Any);
    }
    match RegexSet::new(regexes) {
        Ok(regexes) => Some(Origins::Some { exact, regexes }),
        Err(error) => node.refuse(sink, error.to_string(), "write fewer or smaller regexes"),
    }
}

/// A regex for a whole origin.
fn regex(node: Node<'_>, sink: &mut Sink) -> Option<String> {
    node.mapping(sink, |fields, sink| {
        fields.required(sink, "regex", |node, sink| {
            node.parsed(sink, "write a regular expression for the whole origin", |text| {
                let whole = format!("^(?:{text})$");
                regex::Regex::new(&whole).map(|_| whole)
            })
        })
    })
}

/// As browsers write it (Fetch, 3.2): `null` is the origin of every sandboxed frame.
fn origin(text: &str, node: Node<'_>, sink: &mut Sink) -> Option<()> {
    const FIX: &str =
        "write scheme://host, with :port unless it is the scheme's own, in lower case";
    let is_origin = text.split_once("://").is_some_and(|(scheme, host)| {
        let default_port = match scheme {
            "https" => ":443",
            "http" => ":80",
            _ => "://",
        };
        let uri = text.parse::<Uri>();
        uri.is_ok_and(|uri| uri.authority().is_some_and(|authority| authority.as_str() == host))
            && !host.contains('@')
            && !host.ends_with(default_port)
            && !text.contains(|letter: char| letter.is_ascii_uppercase())
    });
    if is_origin { Some(()) } else { node.refuse(sink, format!("{text:?} is no origin"), FIX) }
}

fn no_wildcard<T>(node: Node<'_>, sink: &mut Sink) -> Option<T> {
    // Fetch, 3.3.5: browsers refuse the one, and take the others for names.
    node.refuse(sink, "is \"*\", which does nothing with `credentials`", "name each")
}

/// A list as a field has it.
fn names(
    node: Node<'_>,
    sink: &mut Sink,
    credentials: bool,
    is_name: fn(&str) -> bool,
) -> Option<HeaderValue> {
    let names = node.whole_list(sink, |node, sink| match node.text(sink)? {
        "*" if credentials => no_wildcard(node, sink),
        text if text == "*" || is_name(text) => Some(text.to_owned()),
        text => node.refuse(sink, format!("{text:?} is no such name"), "use letters, digits and -"),
    })?;
    if names.is_empty() || names.len() > NAMES_MAX {
        let what = format!("has {} names", names.len());
        return node.refuse(sink, what, "write 1 to 1000, or remove the key");
    }
    HeaderValue::from_maybe_shared(Bytes::from(names.join(", "))).ok()
}

fn method(text: &str) -> bool {
    Method::from_bytes(text.as_bytes()).is_ok()
}

fn field(text: &str) -> bool {
    HeaderName::from_bytes(text.as_bytes()).is_ok()
}
