//! The page at `/`, for people: a static bundle in the binary.
//!
//! There is nothing in it that is not the same for everybody, so it is answered without a token;
//! what it shows it asks for with the token that it is given. `/` is the page for who accepts HTML,
//! and a line for each thing there is for everybody else.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, Method, Request, header};
use axum::response::{IntoResponse, Response};

use super::openapi;
use super::problem::Problem;

/// No script, style or connection but our own, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page.
struct Asset {
    name: &'static str,
    media: &'static str,
    bytes: &'static [u8],
}

macro_rules! asset {
    ($name:literal, $media:literal) => {
        Asset { name: $name, media: $media, bytes: include_bytes!(concat!("page/", $name)) }
    };
}

const INDEX: Asset = asset!("index.html", "text/html; charset=utf-8");

const ASSETS: &[Asset] = &[
    asset!("page.css", "text/css; charset=utf-8"),
    asset!("page.js", "text/javascript; charset=utf-8"),
    asset!("ask.js", "text/javascript; charset=utf-8"),
    asset!("dom.js", "text/javascript; charset=utf-8"),
    asset!("chart.js", "text/javascript; charset=utf-8"),
    asset!("metrics.js", "text/javascript; charset=utf-8"),
    asset!("now.js", "text/javascript; charset=utf-8"),
    asset!("origins.js", "text/javascript; charset=utf-8"),
    asset!("connections.js", "text/javascript; charset=utf-8"),
    asset!("configuration.js", "text/javascript; charset=utf-8"),
    asset!("explain.js", "text/javascript; charset=utf-8"),
    asset!("door.js", "text/javascript; charset=utf-8"),
    asset!("icon.svg", "image/svg+xml"),
    asset!("uplot/uPlot.esm.js", "text/javascript; charset=utf-8"),
    asset!("uplot/uPlot.min.css", "text/css; charset=utf-8"),
    asset!("uplot/LICENSE", "text/plain; charset=utf-8"),
];

/// Whether `request` is for the page itself, which is the same for everybody.
pub(super) fn is_for_page<B>(request: &Request<B>) -> bool {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let path = request.uri().path();
    is_read && (path.starts_with("/page/") || path == "/" && accepts_html(request.headers()))
}

/// Browsers name HTML; programs that take anything do not.
fn accepts_html(fields: &HeaderMap) -> bool {
    let values = fields.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut ranges = values.flat_map(|value| value.split(','));
    ranges
        .any(|range| range.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("text/html"))
}

/// `/`.
pub(super) async fn index(fields: HeaderMap) -> Response {
    if accepts_html(&fields) {
        return answer(&INDEX);
    }
    ([(header::VARY, "accept")], openapi::lines()).into_response()
}

/// `/page/NAME`.
pub(super) async fn asset(Path(name): Path<String>) -> Response {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => answer(asset),
        None => Problem::not_found("the page has no such file").into_response(),
    }
}

fn answer(asset: &Asset) -> Response {
    let fields = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.media)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::VARY, HeaderValue::from_static("accept")),
    ];
    (fields, Body::from(asset.bytes)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_the_page_and_programs_the_list() {
        for (accept, is_page) in [
            ("text/html,application/xhtml+xml,*/*;q=0.8", true),
            ("application/json, TEXT/HTML;q=0.1", true),
            ("*/*", false),
            ("text/plain", false),
            ("text/htmlx", false),
        ] {
            let request = Request::builder().uri("/").header("accept", accept).body(()).unwrap();
            assert_eq!(is_for_page(&request), is_page, "{accept}");
        }
        let change = Request::builder().method("POST").uri("/page/page.js").body(()).unwrap();
        assert!(!is_for_page(&change));
    }
}
