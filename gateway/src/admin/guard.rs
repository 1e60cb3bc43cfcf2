//! Who is answered: what stands before every request of the admin listener.
//!
//! On this machine anybody may connect, and so may every page that a browser on it shows. Such a page
//! cannot choose `Host` and `Origin`, so these tell it from a person: a name that resolves to this
//! machine (DNS rebinding) is no address, and a page of another origin says so. Where others may
//! connect, a token says who they are; one may be for reading only.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use serde::Serialize;

use super::Admin;
use super::json::Json;
use super::page::is_for_page;
use super::problem::{Parameters, Problem};
use crate::config::Admin as Terms;

/// Answers `request` if it may be answered.
pub(super) async fn guard(
    State(admin): State<Arc<Admin>>,
    mut request: Request,
    next: Next,
) -> Response {
    let snapshot = admin.reloader.live().current();
    let admitted = match &snapshot.admin {
        Some(terms) => admit(terms, &request),
        None => Ok(May::Everything),
    };
    drop(snapshot);
    let mut response = match admitted {
        Ok(may) => {
            request.extensions_mut().insert(may);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    };
    // What is shown here is of this moment, and is no page that another may frame or read as one.
    let fields = response.headers_mut();
    fields.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Why a request is not answered.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// It is for nobody, or for more than one.
    Host(String),
    /// It is for a name that is not ours.
    Stranger(String),
    /// A page of somebody else's sent it.
    Origin(String),
    /// It does not show a token, or shows another.
    Unknown,
    /// Its token is for reading.
    ReadOnly,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Host(what) => Problem::bad_request(what).into_response(),
            Self::Stranger(what) => Problem::new(StatusCode::FORBIDDEN, what).into_response(),
            Self::Origin(origin) => {
                let what = format!("a page of {origin:?} may not ask this");
                Problem::new(StatusCode::FORBIDDEN, what).into_response()
            }
            Self::Unknown => {
                let what = "a token is asked for: send `Authorization: Bearer TOKEN`";
                let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"sallyport admin\"")];
                (challenge, Problem::new(StatusCode::UNAUTHORIZED, what)).into_response()
            }
            Self::ReadOnly => {
                let what = "this token is for reading: show the one of `token_file`";
                Problem::new(StatusCode::FORBIDDEN, what).into_response()
            }
        }
    }
}

/// What whoever asks may do.
#[derive(Serialize)]
struct RightsView {
    /// Whether more than reading is allowed.
    change: bool,
}

/// `/rights`.
pub(super) async fn rights(
    Extension(may): Extension<May>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.only(&[])?;
    Ok(Json(RightsView { change: may == May::Everything }).into_response())
}

fn admit<B>(terms: &Terms, request: &axum::http::Request<B>) -> Result<May, Refusal> {
    let host = host(request)?;
    if let Some(host) = &host
        && !is_ours(host, &terms.hosts)
    {
        let name = name_of(host);
        let what = format!(
            "{name:?} is no address, not localhost and not named in `admin.hosts`: ask for the \
             address, or add `hosts: [{name}]`"
        );
        return Err(Refusal::Stranger(what));
    }
    refuse_other_origins(request, host.as_deref())?;
    let may = shown(terms, request.headers());
    match may {
        // It is the same for everybody; what it shows is not.
        May::Nothing if is_for_page(request) => Ok(May::Nothing),
        May::Nothing => Err(Refusal::Unknown),
        May::Read if changes(request.method()) => Err(Refusal::ReadOnly),
        May::Read | May::Everything => Ok(may),
    }
}

/// What the request is for, with the port as it was written. Only HTTP/1.0 knows requests for nobody.
fn host<B>(request: &axum::http::Request<B>) -> Result<Option<String>, Refusal> {
    let mut fields = request.headers().get_all(header::HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(Refusal::Host("there is more than one `Host`".to_owned()));
    }
    let Some(field) = field else {
        return match request.version() {
            Version::HTTP_10 => Ok(None),
            _ => Err(Refusal::Host("there is no `Host`".to_owned())),
        };
    };
    let text = field.to_str().map_err(|_| Refusal::Host("`Host` is no text".to_owned()))?;
    // A target in absolute form says it once more, and must not say something else.
    match request.uri().authority() {
        Some(authority) if !authority.as_str().eq_ignore_ascii_case(text) => {
            Err(Refusal::Host("`Host` and the target differ".to_owned()))
        }
        _ => Ok(Some(text.to_owned())),
    }
}

fn is_ours(host: &str, hosts: &[Box<str>]) -> bool {
    let name = name_of(host);
    let Some(bracketed) = name.strip_prefix('[') else {
        let name = name.strip_suffix('.').unwrap_or(name);
        return name.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4())
            || name.eq_ignore_ascii_case("localhost")
            || hosts.iter().any(|ours| name.eq_ignore_ascii_case(ours));
    };
    bracketed.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

/// Without the port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Browsers name the origin of a page with everything but plain GETs to their own. Those newer than 2023
/// say besides whether the page is of another site; a link on such a page may be followed.
fn refuse_other_origins<B>(
    request: &axum::http::Request<B>,
    host: Option<&str>,
) -> Result<(), Refusal> {
    const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    let fields = request.headers();
    for origin in fields.get_all(header::ORIGIN) {
        let origin = String::from_utf8_lossy(origin.as_bytes());
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        let is_own = authority.zip(host).is_some_and(|(it, host)| it.eq_ignore_ascii_case(host));
        if !is_own {
            return Err(Refusal::Origin(origin.into_owned()));
        }
    }
    match fields.get(SITE).map(HeaderValue::as_bytes) {
        Some(site) if changes(request.method()) && !matches!(site, b"same-origin" | b"none") => {
            Err(Refusal::Origin("another site".to_owned()))
        }
        _ => Ok(()),
    }
}

/// What a request may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum May {
    Nothing,
    Read,
    Everything,
}

fn shown(terms: &Terms, fields: &HeaderMap) -> May {
    let Some(token) = &terms.token else { return May::Everything };
    let mut authorizations = fields.get_all(header::AUTHORIZATION).iter();
    let (Some(field), None) = (authorizations.next(), authorizations.next()) else {
        return May::Nothing;
    };
    let (scheme, shown) = field.as_bytes().split_at(field.len().min("bearer ".len()));
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return May::Nothing;
    }
    let shown = shown.trim_ascii();
    match &terms.read_token {
        _ if token.is(shown) => May::Everything,
        Some(read) if read.is(shown) => May::Read,
        _ => May::Nothing,
    }
}

fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

#[cfg(test)]
mod tests;
