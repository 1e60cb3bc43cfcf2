//! `/now` and `/live`: requests, errors and latencies of the last seconds, and of the last hour.
//!
//! Filtered, sorted and cut here, so that a table of 10,000 routes is never sent: who looks gets
//! the rows that are shown.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::watch;

use super::json::Json;
use super::problem::{Parameters, Problem};
use super::query::{Rows, unknown};
use super::readings::{Figures, Reading, STEP_S, Series};
use super::{Admin, heavy};

/// Rows of one answer where nothing is said.
const ROWS: usize = 50;

/// Characters of a search: names may be as long as they like, what is looked for need not.
const SEARCH_MAX: usize = 1_000;

/// What rows are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Hosts,
    Routes,
    Upstreams,
}

/// What rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// The order of the configuration.
    Order,
    Name,
    Requests,
    Errors,
    ClientErrors,
    Active,
    Quantile(usize),
}

/// Which rows are wanted.
#[derive(Clone, Debug)]
struct Wanted {
    of: Of,
    search: String,
    by: By,
    is_descending: bool,
    offset: usize,
    limit: usize,
    /// The one series whose figures are told beside the rows, whether it is a row or not.
    selected: Series,
}

const KNOWN: [&str; 9] =
    ["of", "search", "sort", "order", "offset", "limit", "virtual_host", "route", "upstream"];

impl Wanted {
    fn of(parameters: Parameters) -> Result<Self, Problem> {
        let parameters = parameters.only(&KNOWN)?;
        let of = match parameters.one("of")?.unwrap_or("routes") {
            "virtual_hosts" => Of::Hosts,
            "routes" => Of::Routes,
            "upstreams" => Of::Upstreams,
            other => return Err(unknown("of", other, "virtual_hosts, routes or upstreams")),
        };
        let by = match parameters.one("sort")?.unwrap_or("configuration") {
            "configuration" => By::Order,
            "name" => By::Name,
            "requests" => By::Requests,
            "errors" => By::Errors,
            "client_errors" => By::ClientErrors,
            "active" => By::Active,
            "p50" => By::Quantile(0),
            "p99" => By::Quantile(1),
            "p999" => By::Quantile(2),
            other => {
                let known = "configuration, name, requests, errors, client_errors, active, p50, \
                             p99 or p999";
                return Err(unknown("sort", other, known));
            }
        };
        let is_descending = match parameters.one("order")? {
            None => !matches!(by, By::Order | By::Name),
            Some("asc") => false,
            Some("desc") => true,
            Some(other) => return Err(unknown("order", other, "asc or desc")),
        };
        let Rows { search, offset, limit } = Rows::of(&parameters, ROWS)?;
        if search.chars().count() > SEARCH_MAX {
            let what = format!("search is longer than {SEARCH_MAX} characters");
            return Err(Problem::bad_request(what));
        }
        let selected = named(&parameters)?;
        Ok(Self { of, search, by, is_descending, offset, limit, selected })
    }
}

/// The one thing that a query names; everything, if it names nothing.
fn named(parameters: &Parameters) -> Result<Series, Problem> {
    let one = |name| parameters.one(name);
    match (one("virtual_host")?, one("route")?, one("upstream")?) {
        (None, None, None) => Ok(Series::All),
        (Some(host), None, None) => Ok(Series::Host(host.into())),
        (Some(host), Some(route), None) => Ok(Series::Route(host.into(), route.into())),
        (None, None, Some(upstream)) => Ok(Series::Upstream(upstream.into())),
        _ => {
            let what = "name a virtual_host, a virtual_host and its route, an upstream, or nothing";
            Err(Problem::bad_request(what))
        }
    }
}

#[derive(Serialize)]
struct NowView<'r> {
    at_unix_s: f64,
    /// The version of the configuration in force.
    version: u64,
    /// What the figures are about: that many seconds up to now.
    window_s: f32,
    all: FiguresView,
    /// Those of what the question names; absent where there is no such thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    selected: Option<FiguresView>,
    /// Whether a later configuration was refused.
    refused: bool,
    of: &'static str,
    /// Rows that match the search, of which `rows` shows some.
    found: usize,
    offset: usize,
    rows: Vec<Row<'r>>,
}

#[derive(Serialize)]
struct Row<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    virtual_host: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<&'r str>,
    #[serde(flatten)]
    figures: FiguresView,
}

#[derive(Serialize)]
struct FiguresView {
    requests_per_s: f64,
    /// Requests that failed for a reason that is not the client's.
    errors_per_s: f64,
    /// Requests that were answered with 4xx.
    client_errors_per_s: f64,
    active: u64,
    p50_s: Option<f64>,
    p99_s: Option<f64>,
    p999_s: Option<f64>,
}

impl From<&Figures> for FiguresView {
    fn from(figures: &Figures) -> Self {
        Self {
            requests_per_s: figures.rate(figures.requests),
            errors_per_s: figures.rate(figures.errors),
            client_errors_per_s: figures.rate(figures.client_errors),
            active: figures.active,
            p50_s: figures.quantile_s(0),
            p99_s: figures.quantile_s(1),
            p999_s: figures.quantile_s(2),
        }
    }
}

fn view<'r>(reading: &'r Reading, wanted: &Wanted) -> NowView<'r> {
    let is_of = |series: &Series| match series {
        Series::All => false,
        Series::Host(_) => wanted.of == Of::Hosts,
        Series::Route(..) => wanted.of == Of::Routes,
        Series::Upstream(_) => wanted.of == Of::Upstreams,
    };
    let named = reading.names.all().enumerate();
    let found = named.filter(|(_, (series, lower))| {
        is_of(series) && (wanted.search.is_empty() || lower.contains(&*wanted.search))
    });
    let mut found: Vec<usize> = found.map(|(place, _)| place).collect();
    let rows = page(&mut found, reading, wanted);
    let all = reading.figures.first().copied().unwrap_or_default();
    let is_named = wanted.selected != Series::All;
    let selected = is_named.then(|| reading.names.place(&wanted.selected)).flatten();
    let selected = selected.and_then(|place| reading.figures.get(place as usize));
    NowView {
        at_unix_s: reading.at_unix_s,
        version: reading.version,
        window_s: all.seconds,
        all: FiguresView::from(&all),
        selected: selected.map(FiguresView::from),
        refused: reading.is_refused,
        of: match wanted.of {
            Of::Hosts => "virtual_hosts",
            Of::Routes => "routes",
            Of::Upstreams => "upstreams",
        },
        found: found.len(),
        offset: wanted.offset,
        rows: rows.into_iter().filter_map(|place| row(reading, place)).collect(),
    }
}

/// The places of the rows that are wanted, sorted; of the others no more is known than on which
/// side they are.
fn page(found: &mut [usize], reading: &Reading, wanted: &Wanted) -> Vec<usize> {
    let end = wanted.offset.saturating_add(wanted.limit).min(found.len());
    let start = wanted.offset.min(end);
    let figures = |place: usize| reading.figures[place];
    let lower = |place: usize| reading.names.lower_case(place);
    let compare = |one: &usize, other: &usize| {
        let (a, b) = (figures(*one), figures(*other));
        let order = match wanted.by {
            By::Order => std::cmp::Ordering::Equal,
            By::Name => lower(*one).cmp(lower(*other)),
            By::Requests => a.requests.cmp(&b.requests),
            By::Errors => a.errors.cmp(&b.errors),
            By::ClientErrors => a.client_errors.cmp(&b.client_errors),
            By::Active => a.active.cmp(&b.active),
            By::Quantile(index) => {
                a.quantiles.map(|it| it[index]).cmp(&b.quantiles.map(|it| it[index]))
            }
        };
        let order = if wanted.is_descending { order.reverse() } else { order };
        // Rows that are alike stay where they are in the configuration.
        order.then(match wanted.is_descending && wanted.by == By::Order {
            true => other.cmp(one),
            false => one.cmp(other),
        })
    };
    if end < found.len() && end > 0 {
        found.select_nth_unstable_by(end - 1, compare);
    }
    let mut first = found[..end].to_vec();
    first.sort_unstable_by(compare);
    first.split_off(start)
}

fn row(reading: &Reading, place: usize) -> Option<Row<'_>> {
    let figures = FiguresView::from(reading.figures.get(place)?);
    let (virtual_host, route, upstream) = match reading.names.series(place)? {
        Series::All => (None, None, None),
        Series::Host(host) => (Some(&**host), None, None),
        Series::Route(host, route) => (Some(&**host), Some(&**route), None),
        Series::Upstream(upstream) => (None, None, Some(&**upstream)),
    };
    Some(Row { virtual_host, route, upstream, figures })
}

type Latest = watch::Receiver<Option<Arc<Reading>>>;

fn follow(admin: &Arc<Admin>) -> Result<Latest, Problem> {
    let failed = |error| Problem::internal(format!("readings cannot be taken: {error}"));
    admin.readings.follow(admin).map_err(failed)
}

/// The first reading there is, waiting for it if need be.
async fn first(latest: &mut Latest) -> Option<Arc<Reading>> {
    latest.wait_for(Option::is_some).await.ok()?.clone()
}

/// The figures as they are now.
pub(super) async fn now(
    State(admin): State<Arc<Admin>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let wanted = Wanted::of(parameters)?;
    let reading = first(&mut follow(&admin)?).await;
    let reading = reading.ok_or_else(|| Problem::internal("there are no readings"))?;
    Ok(Json(view(&reading, &wanted)).into_response())
}

/// The same, once a second, as server-sent events.
pub(super) async fn live(
    State(admin): State<Arc<Admin>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let wanted = Wanted::of(parameters)?;
    let latest = follow(&admin)?;
    let Some(viewer) = admin.readings.viewer() else {
        let what = format!(
            "{} pages are open already: close one, or ask /now for a single reading",
            super::readings::VIEWERS_MAX
        );
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, what));
    };
    drop(admin);
    let events = futures::stream::unfold((latest, viewer, true), move |state| {
        let wanted = wanted.clone();
        async move {
            let (mut latest, viewer, is_first) = state;
            if !is_first {
                latest.changed().await.ok()?;
            }
            let reading = first(&mut latest).await?;
            latest.mark_unchanged();
            let data = serde_json::to_string(&view(&reading, &wanted)).ok()?;
            Some((Ok::<_, Infallible>(Event::default().data(data)), (latest, viewer, false)))
        }
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::default()).into_response();
    // A proxy in between is not to collect them.
    response.headers_mut().insert("x-accel-buffering", header::HeaderValue::from_static("no"));
    Ok(response)
}

#[derive(Serialize)]
struct HistoryView {
    /// Seconds from one point to the next.
    step_s: u64,
    at_unix_s: Vec<u64>,
    requests_per_s: Vec<f64>,
    errors_per_s: Vec<f64>,
    p50_s: Vec<Option<f64>>,
    p99_s: Vec<Option<f64>>,
    p999_s: Vec<Option<f64>>,
}

/// The last hour of one thing.
pub(super) async fn history(
    State(admin): State<Arc<Admin>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let parameters = parameters.only(&["virtual_host", "route", "upstream"])?;
    let series = named(&parameters)?;
    let reading = first(&mut follow(&admin)?).await;
    let is_there = reading.is_some_and(|reading| reading.names.place(&series).is_some());
    if !is_there {
        return Err(Problem::not_found("there is nothing of that name: /now lists what there is"));
    }
    Ok(heavy(admin, |admin| &admin.views, move |admin| hour(admin, &series)).await)
}

fn hour(admin: &Admin, series: &Series) -> Response {
    let points = admin.readings.history().of(series);
    let quantile = |index: usize| points.iter().map(|it| it.quantiles_s[index]).collect();
    Json(HistoryView {
        step_s: if *series == Series::All { 1 } else { STEP_S },
        at_unix_s: points.iter().map(|it| it.at_unix_s).collect(),
        requests_per_s: points.iter().map(|it| it.requests_per_s).collect(),
        errors_per_s: points.iter().map(|it| it.errors_per_s).collect(),
        p50_s: quantile(0),
        p99_s: quantile(1),
        p999_s: quantile(2),
    })
    .into_response()
}
