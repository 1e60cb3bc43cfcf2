//! `error_pages:`: what clients read in place of the gateway's own one-line errors.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use sallyport_config::spec;
use sallyport_config::{Place, Sink};
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

/// Reads the files. They are watched with the configuration.
pub(super) fn read(
    spec: &spec::ErrorPages,
    place: &Place<'_>,
    files: &mut Reader<'_>,
    sink: &mut Sink,
) -> ErrorPages {
    let pages = spec.0.iter().filter_map(|(status, file)| {
        let key = status.to_string();
        Some((*status, page(file, &Place::Key(place, &key), files, sink)?))
    });
    ErrorPages(pages.collect())
}

fn page(
    file: &str,
    place: &Place<'_>,
    files: &mut Reader<'_>,
    sink: &mut Sink,
) -> Option<ErrorPage> {
    let (path, bytes) = files.file(file, place, sink)?;
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or("");
    let known = TYPES.iter().find(|(known, _)| ending.eq_ignore_ascii_case(known));
    let Some((_, content_type)) = known else {
        let endings: Vec<_> = TYPES.iter().map(|(ending, _)| format!(".{ending}")).collect();
        let what = format!("{} has no ending that tells its media type", path.display());
        return place.refuse(sink, what, format!("name it with one of {}", endings.join(", ")));
    };
    if bytes.len() > PAGE_BYTES_MAX {
        let what = format!("{} has {} bytes", path.display(), bytes.len());
        return place.refuse(sink, what, "make it at most 1 MiB: pages are kept in memory");
    }
    Some(ErrorPage { content_type: HeaderValue::from_static(content_type), body: bytes.into() })
}
