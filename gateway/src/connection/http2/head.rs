//! The head of an HTTP/2 request, as the phases are to see it.
//!
//! It gets the form that a head of HTTP/1 has: the authority in `Host`, and a target that begins with its path. What
//! the two versions say in different ways is so one thing for whatever reads it behind this.

use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderValue, Method, Request, request};
use pingora_http::RequestHeader;
use sallyport_http1::{Refusal, head};

/// Takes `request` apart. One that is refused has its [`Refusal`] among its extensions.
pub(super) fn admit<B>(request: Request<B>) -> (RequestHeader, B) {
    let (mut parts, body) = request.into_parts();
    if let Err(refusal) = settle(&mut parts) {
        parts.extensions.insert(refusal);
    }
    (parts.into(), body)
}

fn settle(parts: &mut request::Parts) -> Result<(), Refusal> {
    let uri = std::mem::take(&mut parts.uri).into_parts();
    // Where only `Host` is sent, the h2 crate does not say which scheme was.
    let is_https = uri.scheme == Some(Scheme::HTTPS);
    let target = target(&parts.method, uri.path_and_query);
    if let Ok(target) = &target {
        parts.uri = Uri::from(target.clone());
    }
    settle_host(parts, uri.authority.as_ref(), if is_https { 443 } else { 80 })?;
    target.map(drop)
}

/// RFC 9113, 8.3.1: `:path` begins with a slash; only `OPTIONS` may have an asterisk. `CONNECT`, which has none, is
/// refused by name later.
fn target(method: &Method, path: Option<PathAndQuery>) -> Result<PathAndQuery, Refusal> {
    match path {
        None if method == Method::CONNECT => Ok(PathAndQuery::from_static("/")),
        Some(path) if path.as_str().starts_with('/') => Ok(path),
        Some(path) if path == "*" && method == Method::OPTIONS => Ok(path),
        _ => Err(Refusal::Malformed("the request-target is malformed")),
    }
}

/// RFC 9113, 8.3.1: `:authority` is the host; `Host` may stand in its place, or beside it where it says the same.
fn settle_host(
    parts: &mut request::Parts,
    authority: Option<&Authority>,
    default_port: u16,
) -> Result<(), Refusal> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next().map(HeaderValue::as_bytes);
    if hosts.next().is_some() {
        return Err(Refusal::Malformed("Host is repeated"));
    }
    let authority = authority.map(|authority| authority.as_str().as_bytes());
    let Some(named) = authority.or(host) else {
        return Err(Refusal::Malformed("Host is missing"));
    };
    if named.contains(&b'@') {
        return Err(Refusal::Malformed("the host is malformed"));
    }
    match (host, authority) {
        (Some(host), Some(authority)) if host != authority => {
            if !head::is_same_authority(host, authority, default_port)? {
                return Err(Refusal::Malformed(":authority and Host disagree"));
            }
        }
        (None, Some(_)) => {}
        // Already as it is to be.
        (_, _) => return Ok(()),
    }
    let malformed = |_| Refusal::Malformed("the host is malformed");
    let value = HeaderValue::from_bytes(named).map_err(malformed)?;
    parts.headers.insert(HOST, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(method: &str, uri: &str, hosts: &[&str]) -> Result<(String, String), Refusal> {
        let mut request = Request::builder().method(method).uri(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let (head, ()) = admit(request.body(()).unwrap());
        match head.extensions.get::<Refusal>() {
            Some(refusal) => Err(*refusal),
            None => {
                assert_eq!(head.headers.get_all(HOST).iter().count(), 1);
                let host = head.headers[HOST].to_str().unwrap().to_owned();
                Ok((host, head.uri.to_string()))
            }
        }
    }

    #[test]
    fn rfc9113_8_3_1_authority_and_host_are_one() {
        for (uri, hosts, host) in [
            ("http://a.test/x?y", &[][..], "a.test"),
            ("http://a.test/", &["a.test"], "a.test"),
            ("http://a.test/", &["A.TEST"], "a.test"),
            ("http://A.test/", &["a.test:80"], "A.test"),
            ("http://a.test:80/", &["a.test"], "a.test:80"),
            ("https://a.test/", &["a.test:443"], "a.test"),
            ("http://a.test:8080/", &["a.test:8080"], "a.test:8080"),
            ("/", &["a.test"], "a.test"),
        ] {
            assert_eq!(settled("GET", uri, hosts).unwrap().0, host, "{uri} {hosts:?}");
        }
        for (uri, hosts) in [
            ("http://a.test/", &["b.test"][..]),
            ("http://a.test/", &["a.test:8080"]),
            ("http://a.test/", &["a.test:443"]),
            ("https://a.test/", &["a.test:80"]),
            ("http://a.test/", &[""]),
            ("http://a.test/", &["a.test", "a.test"]),
            ("http://user@a.test/", &[]),
            ("/", &["user@a.test"]),
            ("/", &[]),
        ] {
            assert!(settled("GET", uri, hosts).is_err(), "{uri} {hosts:?}");
        }
    }

    #[test]
    fn a_target_is_a_path_or_an_asterisk() {
        let target = |method, uri| settled(method, uri, &["a.test"]).map(|(_, target)| target);
        assert_eq!(target("GET", "http://a.test/x?y").unwrap(), "/x?y");
        assert_eq!(target("CONNECT", "a.test").unwrap(), "/");
        assert!(target("GET", "*").is_err());
        assert_eq!(target("OPTIONS", "*").unwrap(), "*");
    }
}
