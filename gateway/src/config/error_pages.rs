//! `error_pages:`: what clients read in place of the gateway's own one-line errors.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use sallyport_config::{Node, Place, Sink, Value};
use sallyport_plugin::Reader;

/// A page is held in memory and sent as a whole; a larger one is a site, and belongs to an origin.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// The media types of pages, by the ending of their files.
const TYPES: [(&str, &str); 7] = [
    ("html", "text/html; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("txt", "text/plain; charset=utf-8"),
    ("json", "application/json"),
    ("xml", "application/xml"),
    ("svg", "image/svg+xml"),
    ("md", "text/markdown; charset=utf-8"),
];

/// Pages by the status that they stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorPages(BTreeMap<u16, ErrorPage>);

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// Its media type.
    pub content_type: HeaderValue,
    /// Its content.
    pub body: Bytes,
}

impl ErrorPages {
    /// The page for errors of `status`, if one is configured.
    #[must_use]
    pub fn page(&self, status: StatusCode) -> Option<&ErrorPage> {
        self.0.get(&status.as_u16())
    }

    /// Whether no page is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Reads `{ STATUS: FILE }`. The files are watched with the configuration.
pub(super) fn read(node: Node<'_>, files: &mut Reader<'_>, sink: &mut Sink) -> Option<ErrorPages> {
    let Value::Mapping(mapping) = node.value else {
        let fix = "write a mapping of statuses and files, such as { 502: /etc/sallyport/502.html }";
        return node.refuse(sink, "is no mapping", fix);
    };
    let mut pages = BTreeMap::new();
    for (key, value) in mapping.iter() {
        let key = match key {
            Value::Number(text) | Value::String(text) => text,
            _ => {
                node.refuse::<()>(sink, "has a key that is no status", "write one such as 502");
                continue;
            }
        };
        let entry = Node { value, place: Place::Key(&node.place, key) };
        let status = key.parse::<u16>().ok().filter(|status| (400..600).contains(status));
        let Some(status) = status else {
            let what = format!("{key:?} is no status of an error");
            entry.refuse::<()>(sink, what, "write one from 400 to 599");
            continue;
        };
        if let Some(page) = page(entry, files, sink) {
            pages.insert(status, page);
        }
    }
    Some(ErrorPages(pages))
}

fn page(node: Node<'_>, files: &mut Reader<'_>, sink: &mut Sink) -> Option<ErrorPage> {
    let (path, bytes) = files.file(node, sink)?;
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or("");
    let known = TYPES.iter().find(|(known, _)| ending.eq_ignore_ascii_case(known));
    let Some((_, content_type)) = known else {
        let endings: Vec<_> = TYPES.iter().map(|(ending, _)| format!(".{ending}")).collect();
        let what = format!("{} has no ending that tells its media type", path.display());
        return node.refuse(sink, what, format!("name it with one of {}", endings.join(", ")));
    };
    if bytes.len() > PAGE_BYTES_MAX {
        let what = format!("{} has {} bytes", path.display(), bytes.len());
        return node.refuse(sink, what, "make it at most 1 MiB: pages are kept in memory");
    }
    Some(ErrorPage { content_type: HeaderValue::from_static(content_type), body: bytes.into() })
}
