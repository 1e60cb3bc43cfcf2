//! Answers that say what was wrong with a request, as RFC 9457 has them.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// What was wrong. Its type is `about:blank`: the status says what kind of problem it is.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
}

/// The media type of problems.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(super) fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Unknown"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let fields = [(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))];
        (self.status, fields, format!("{body}\n")).into_response()
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

/// The parameters of a query in their order: some may be repeated.
#[derive(Debug, Default)]
pub(super) struct Parameters(pub(super) Vec<(String, String)>);

impl Parameters {
    /// Refuses those that are not `known`: one that is spelt wrong would be ignored otherwise.
    pub(super) fn only(self, known: &[&str]) -> Result<Self, Problem> {
        match self.0.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            Some((key, _)) if known.is_empty() => {
                Err(Problem::bad_request(format!("unknown parameter {key:?}: there are none here")))
            }
            Some((key, _)) => {
                let known = known.join(", ");
                let detail = format!("unknown parameter {key:?}: those known here are {known}");
                Err(Problem::bad_request(detail))
            }
            None => Ok(self),
        }
    }

    /// Every value of the parameter `name`.
    pub(super) fn all<'p>(&'p self, name: &'p str) -> impl Iterator<Item = &'p str> {
        let named = self.0.iter().filter(move |(key, _)| key == name);
        named.map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that may be given once.
    pub(super) fn one<'p>(&'p self, name: &'p str) -> Result<Option<&'p str>, Problem> {
        let mut all = self.all(name);
        match (all.next(), all.next()) {
            (value, None) => Ok(value),
            _ => Err(Problem::bad_request(format!("parameter {name:?} is there more than once"))),
        }
    }

    /// As [`one`](Self::one), of a parameter that must be given.
    pub(super) fn required<'p>(&'p self, name: &'p str) -> Result<&'p str, Problem> {
        let missing = || Problem::bad_request(format!("parameter {name:?} is missing"));
        self.one(name)?.ok_or_else(missing)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(pairs) =
            <Query<Vec<(String, String)>> as FromRequestParts<S>>::from_request_parts(parts, state)
                .await?;
        Ok(Self(pairs))
    }
}
