//! Which requests a rule takes, and which rule is asked first.

use std::cmp::Reverse;

use sallyport_config::spec::scalar::Method;
use sallyport_config::spec::{HeaderMatch, Match, PathMatch, QueryMatch};

use super::ingress::trimmed;
use crate::objects::{FieldMatch, GrpcMethod, MethodMatch, RouteKind, RouteMatch};

/// Smaller is asked first: exact paths, regular expressions, prefixes by their length; then what
/// names a method, more fields, more parameters.
pub(super) type Rank = (u8, Reverse<usize>, Reverse<bool>, Reverse<usize>, Reverse<usize>);

/// A match as the gateway has it.
///
/// # Errors
/// What of it is not supported.
pub(super) fn translate(kind: RouteKind, from: &RouteMatch) -> Result<(Match, Rank), String> {
    let (path, methods) = match kind {
        RouteKind::Http => (http_path(from)?, http_method(from)?),
        RouteKind::Grpc => (grpc_path(from)?, None),
        // Of what it passes on nothing is seen but the name.
        RouteKind::Tls => (None, None),
    };
    let headers = distinct(&from.headers, true).map(header).collect::<Result<Vec<_>, _>>()?;
    let query = distinct(&from.query_params, false).map(query).collect::<Result<Vec<_>, _>>()?;
    let (class, length) = match &path {
        None => (2, 1),
        Some(PathMatch::Exact(path)) => (0, path.len()),
        Some(PathMatch::Regex(regex)) => (1, regex.len()),
        Some(PathMatch::Prefix(path)) => (2, path.len()),
    };
    let rank = (
        class,
        Reverse(length),
        Reverse(methods.is_some()),
        Reverse(headers.len()),
        Reverse(query.len()),
    );
    let methods = methods.map(|method: String| vec![Method(method.into())]);
    Ok((Match { path, methods, headers, query, ..Match::default() }, rank))
}

fn http_path(from: &RouteMatch) -> Result<Option<PathMatch>, String> {
    let Some(path) = &from.path else { return Ok(None) };
    let value = path.value.as_deref().unwrap_or("/");
    match path.kind.as_deref().unwrap_or("PathPrefix") {
        "Exact" => Ok(Some(PathMatch::Exact(value.into()))),
        "PathPrefix" if trimmed(value) == "/" => Ok(None),
        "PathPrefix" => Ok(Some(PathMatch::Prefix(trimmed(value).into()))),
        "RegularExpression" => Ok(Some(PathMatch::Regex(value.into()))),
        other => Err(format!("paths are not matched by {other:?}")),
    }
}

fn http_method(from: &RouteMatch) -> Result<Option<String>, String> {
    match &from.method {
        None => Ok(None),
        Some(MethodMatch::Http(method)) => Ok(Some(method.clone())),
        Some(MethodMatch::Grpc(_)) => Err("a method is no word".to_owned()),
    }
}

fn grpc_path(from: &RouteMatch) -> Result<Option<PathMatch>, String> {
    let Some(MethodMatch::Grpc(method)) = &from.method else { return Ok(None) };
    let GrpcMethod { kind, service, method } = method;
    let part = |part: &Option<String>| part.clone().filter(|part| !part.is_empty());
    let (service, method) = (part(service), part(method));
    let path = match (kind.as_deref().unwrap_or("Exact"), service, method) {
        (_, None, None) => return Ok(None),
        ("Exact", Some(service), Some(method)) => {
            PathMatch::Exact(format!("/{service}/{method}").as_str().into())
        }
        ("Exact", Some(service), None) => PathMatch::Prefix(format!("/{service}").as_str().into()),
        ("Exact", None, Some(method)) => {
            PathMatch::Regex(format!("/[^/]+/{}", escaped(&method)).as_str().into())
        }
        ("RegularExpression", service, method) => {
            let any = || "[^/]+".to_owned();
            let (service, method) = (service.unwrap_or_else(any), method.unwrap_or_else(any));
            PathMatch::Regex(format!("/(?:{service})/(?:{method})").as_str().into())
        }
        (other, ..) => return Err(format!("methods are not matched by {other:?}")),
    };
    Ok(Some(path))
}

/// A text as a regular expression of it alone.
fn escaped(text: &str) -> String {
    let escape = |letter: char| match letter.is_ascii_alphanumeric() || letter == '_' {
        true => letter.to_string(),
        false => format!("\\{letter}"),
    };
    text.chars().map(escape).collect()
}

/// Of several with one name only the first counts.
fn distinct(fields: &[FieldMatch], ignores_case: bool) -> impl Iterator<Item = &FieldMatch> {
    fields.iter().enumerate().filter_map(move |(index, field)| {
        let is_same = |before: &&FieldMatch| match ignores_case {
            true => before.name.eq_ignore_ascii_case(&field.name),
            false => before.name == field.name,
        };
        let is_first = !fields[..index].iter().any(|before| is_same(&before));
        is_first.then_some(field)
    })
}

fn header(from: &FieldMatch) -> Result<HeaderMatch, String> {
    let mut to = HeaderMatch {
        name: sallyport_config::spec::scalar::HeaderName(from.name.to_ascii_lowercase().into()),
        exact: None,
        prefix: None,
        regex: None,
        present: None,
    };
    match from.kind.as_deref().unwrap_or("Exact") {
        "Exact" => to.exact = Some(from.value.as_str().into()),
        "RegularExpression" => to.regex = Some(from.value.as_str().into()),
        other => return Err(format!("header fields are not matched by {other:?}")),
    }
    Ok(to)
}

fn query(from: &FieldMatch) -> Result<QueryMatch, String> {
    let mut to = QueryMatch {
        name: from.name.as_str().into(),
        exact: None,
        prefix: None,
        regex: None,
        present: None,
    };
    match from.kind.as_deref().unwrap_or("Exact") {
        "Exact" => to.exact = Some(from.value.as_str().into()),
        "RegularExpression" => to.regex = Some(from.value.as_str().into()),
        other => return Err(format!("query parameters are not matched by {other:?}")),
    }
    Ok(to)
}
