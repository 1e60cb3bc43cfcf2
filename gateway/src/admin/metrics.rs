//! `/metrics`: everything that is counted, as Prometheus asks for it.
//!
//! With 10,000 busy routes that is 36 MB of text. What bounds the cost is with whoever asks:
//! `?name[]=` for the metrics that are wanted, repeated for more, and gzip, which Prometheus asks
//! for by itself.

use std::collections::HashSet;
use std::io::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use sallyport_stats::{Format, build_info};

use super::problem::Parameters;
use super::{Admin, heavy};
use crate::build;

pub(super) async fn scrape(
    State(admin): State<Arc<Admin>>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Response {
    let (gzip, format) = (accepts_gzip(&headers), format(&headers));
    let names: HashSet<String> = parameters.all("name[]").map(str::to_owned).collect();
    let answer = move |admin: &Admin| answer(render(admin, format, &names), format, gzip);
    heavy(admin, |admin| &admin.scrapes, answer).await
}

/// No names are all of them.
fn render(admin: &Admin, format: Format, names: &HashSet<String>) -> String {
    let mut others = admin.filter_metrics.gather();
    others.extend(admin.process.figures().families());
    others.push(build_info(build::VERSION, build::COMMIT, build::FEATURES));
    others.extend(admin.pushing.families());
    others.extend(admin.reloader.sources().families());
    others.extend(admin.tracing.families());
    admin.registry.render_as(format, others, |name| names.is_empty() || names.contains(name))
}

fn answer(text: String, format: Format, gzip: bool) -> Response {
    let vary = "accept-encoding, accept";
    let fields = [(header::CONTENT_TYPE, format.content_type()), (header::VARY, vary)];
    if !gzip {
        return (fields, text).into_response();
    }
    // The fastest level: lines so much alike shrink to a tenth with any.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Memory takes whatever is written.
    match encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()) {
        Ok(body) => (fields, [(header::CONTENT_ENCODING, "gzip")], body).into_response(),
        Err(_) => (fields, text).into_response(),
    }
}

/// OpenMetrics for who names it and does not like the older format better, as Prometheus does.
fn format(headers: &HeaderMap) -> Format {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<(&str, f32)> = values.flat_map(|list| list.split(',')).map(range).collect();
    let weight_of = |wanted: &str| {
        let named = ranges.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        named.map(|(_, weight)| *weight).fold(0.0, f32::max)
    };
    let weight = weight_of("application/openmetrics-text");
    if weight > 0.0 && weight >= weight_of("text/plain") {
        Format::OpenMetrics
    } else {
        Format::Text
    }
}

/// A media type and its weight, whatever parameters stand between; one that cannot be read is none.
fn range(text: &str) -> (&str, f32) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse().unwrap_or(0.0))
    });
    (name, weight.unwrap_or(1.0))
}

/// RFC 9110, 12.5.3: `gzip` is named, by itself or by `*`, and not with a weight of 0.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().map(HeaderValue::to_str);
    let lists: Vec<&str> = values.filter_map(Result::ok).collect();
    let weight_of = |wanted: &str| {
        let codings = lists.iter().flat_map(|list| list.split(','));
        codings.map(coding).find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|it| it.1)
    };
    weight_of("gzip").or_else(|| weight_of("*")).is_some_and(|weight| weight > 0.0)
}

/// A coding and its weight; one that cannot be read is none.
fn coding(text: &str) -> (&str, f32) {
    let (name, parameters) = text.split_once(';').unwrap_or((text, ""));
    let weight = match parameters.trim().split_once('=') {
        Some((key, weight)) if key.trim().eq_ignore_ascii_case("q") => {
            weight.trim().parse().unwrap_or(0.0)
        }
        _ => 1.0,
    };
    (name.trim(), weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_for_who_prefers_it() {
        const PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0;q=0.5,\
            application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (sent, expected) in [
            (PROMETHEUS, Format::OpenMetrics),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("Application/OpenMetrics-Text; version=1.0.0", Format::OpenMetrics),
            ("text/plain, application/openmetrics-text;q=0.9", Format::Text),
            ("application/openmetrics-text;q=0", Format::Text),
            ("application/openmetrics-text;q=x", Format::Text),
            ("*/*", Format::Text),
            ("", Format::Text),
        ] {
            let mut fields = HeaderMap::new();
            fields.insert(header::ACCEPT, HeaderValue::from_static(sent));
            assert_eq!(format(&fields), expected, "{sent}");
        }
        assert_eq!(format(&HeaderMap::new()), Format::Text);
    }

    #[test]
    fn rfc9110_12_5_3_gzip_is_for_who_accepts_it() {
        for (sent, accepted) in [
            (&["gzip"][..], true),
            (&["deflate, GZIP;q=0.5"], true),
            (&["br", "gzip"], true),
            (&["*"], true),
            (&["gzip;q=0, *"], false),
            (&["gzip ; q=0.0"], false),
            (&["identity"], false),
            (&["gzipped"], false),
            (&["gzip;q=x"], false),
            (&[], false),
        ] {
            let fields =
                sent.iter().map(|value| (header::ACCEPT_ENCODING, HeaderValue::from_static(value)));
            assert_eq!(accepts_gzip(&fields.collect()), accepted, "{sent:?}");
        }
    }
}
